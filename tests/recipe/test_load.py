"""Reading recipes: YAML 1.2, every problem at once, overrides, the way back to YAML, what a run is known by."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from hfkit.errors import UsageError
from hfkit.recipe import Data, Generate, Recipe, Scratch, Train
from hfkit.recipe.describe import describe
from hfkit.recipe.load import as_dict, as_known, build, differences, dump, identity, load
from hfkit.recipe.overrides import (
    check_override_sections,
    check_scoring_keys,
    override_settings,
    section_from_overrides,
    split_override,
)
from hfkit.recipe.yaml import dump as dump_yaml
from hfkit.recipe.yaml import parse
from hfkit.tasks import TASKS, task_class


def problems(text: str, tmp_path: Path, *overrides: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load(str(path), overrides)
    assert caught.value.code == 2
    return caught.value.message.replace(str(path), "mine.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        (".5", 0.5),
        ("1.", 1.0),
        ("017", 17),
        ("0o17", 15),
        ("0x1f", 31),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("2024-01-02", "2024-01-02"),
        ("~", None),
        ("", None),
        ("null", None),
        ("'1'", "1"),
        ("[1, a, null]", [1, "a", None]),
        ("{0: entailment, no: x}", {0: "entailment", "no": "x"}),
    ],
)
def test_scalars_are_those_of_yaml_1_2_and_come_back(text: str, value: Any) -> None:
    assert parse(text) == value and type(parse(text)) is type(value)
    again = parse(dump_yaml({"key": value}))["key"]
    assert again == value and type(again) is type(value)


def test_all_problems_are_said_at_once_with_the_nearest_key(tmp_path: Path) -> None:
    text = "task: qa\nqa: {max_lenght: 100, stride: -3}\ntrain:\n  learningrate: 1\n  epochs: many\n  epoch: 3\n"
    text += "scrach: {}\nnli: {labels: null}\n"
    message = problems(text, tmp_path)
    for line in (
        "mine.yaml: unknown key 'qa.max_lenght'; did you mean 'qa.max_length'?",
        "mine.yaml: qa.stride = -3: ",
        "mine.yaml: train.epochs = 'many': ",
        "mine.yaml: unknown key 'train.epoch'; did you mean 'train.epochs'?",
        "mine.yaml: unknown key 'scrach'; did you mean 'scratch'?",
        "mine.yaml: 'nli' holds keys of another task; this recipe's task is qa",
    ):
        assert line in message
    assert "train.learningrate" in message
    assert len(message.splitlines()) == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: qa\ntrain: {epochs: 1}\ntrain: {lr: 1}\n", r"mine.yaml:3:1: the key 'train' is given twice"),
        ("task: qa\ntrain:\n  lr: 1\n  lr: 2\n", r"mine.yaml:4:3: the key 'lr' is given twice"),
        ("task: qa\n  x: 1\n", r"mine.yaml:2:"),
        ("task: qa\ntrain: [1\n", r"mine.yaml:3:1"),
        ("- task\n", r"a recipe is a mapping"),
        ("", r"a recipe is a mapping"),
        ("model: starter\n", r"'task' is missing"),
        ("task: qa\nname: x\n", r"unknown key 'name'"),
        ("task: qa\ntrain: 3\n", r"train"),
        ("task: qa\nqa: 3\n", r"'qa' is a section of keys"),
        ("task: !!python/object/apply:os.system [true]\n", r"mine.yaml:1:7"),
        ("task: qa\ntrain: {lr: .nan}\n", r"train.lr"),
        ("task: qa\ntrain: {batch_size: 1.5}\n", r"train.batch_size = 1.5"),
        ("task: qa\ntrain: {schedule: liner}\n", r"train.schedule = 'liner'"),
        ("task: qa\ntrain: {lr: -1}\n", r"train.lr = -1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    import re

    assert re.search(said, problems(text, tmp_path))


def test_an_unknown_task_and_recipe(tmp_path: Path) -> None:
    assert "qaa" in problems("task: qaa\n", tmp_path)
    with pytest.raises(UsageError, match="no recipe named 'clasify'") as caught:
        load("clasify")
    assert "classify" in str(caught.value.hint) and "`hfkit recipes list`" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"no recipe file './none.yaml'"):
        load("./none.yaml")


def test_big_files_and_alias_bombs_are_refused_fast(tmp_path: Path) -> None:
    begun = time.process_time()
    bomb = "a: &a [x, x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "aliases" in problems(bomb, tmp_path)
    assert "larger than" in problems("task: qa\n" + "#" * 60_000, tmp_path)
    assert "nested more than 20" in problems("task: " + "[" * 5000, tmp_path)
    assert "nested more than 20" in problems("task:\n" + "".join(" " * i + "- x:\n" for i in range(1, 60)), tmp_path)
    (tmp_path / "mine.yaml").write_bytes(b"task: \xff\xfe\n")
    with pytest.raises(UsageError):
        load(str(tmp_path / "mine.yaml"))
    assert time.process_time() - begun < 3


def test_overrides_are_checked_as_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: qa\ntrain: {lr: 1e-3, epochs: 4}\ndata: {columns: {question: q}}\n", encoding="utf-8")
    given = [
        "train.lr=2e-5",
        "data.columns.context=text",
        "model=scratch:bert-mini",
        "max_length=200",
        "train.trackers=[a, b]",
    ]
    recipe = load(str(path), given)
    assert (recipe.train.lr, recipe.train.epochs, recipe.model) == (2e-5, 4, "scratch:bert-mini")
    assert recipe.data.columns == {"question": "q", "context": "text"}
    assert recipe.settings.max_length == 200  # type: ignore[attr-defined]
    assert recipe.train.trackers == ["a", "b"]
    assert load(str(path), ["task=lm", "max_length=64"]).settings.block_size == 64  # type: ignore[attr-defined]
    for override, said in {
        "train.lrr=1": "unknown key 'train.lrr'; did you mean 'train.lr'?",
        "train.lr.x=1": "'lr' in 'train.lr.x' is not a section",
        "train.epochs=0": "train.epochs = 0",
    }.items():
        with pytest.raises(UsageError) as caught:
            load(str(path), [override])
        assert said in caught.value.message
    with pytest.raises(UsageError, match="is not KEY=VALUE"):
        load(str(path), ["train.lr"])


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("seq2seq.source_prefix=translate English to German: ", "translate English to German: "),
        ("choice.template=Q: {question}", "Q: {question}"),
        ("choice.template={question}", "{question}"),
        ("choice.template=# {question}", "# {question}"),
        ("generate.template={a: b}", "{a: b}"),
        ("choice.separator= ", " "),
        (r"choice.separator=\n", r"\n"),
        (r'choice.separator="\n"', "\n"),
        ("seq2seq.source_prefix='it''s: '", "it's: "),
        ("seq2seq.source_prefix= 'a: '", "a: "),
        ("seq2seq.source_prefix=", None),
        ("choice.template=null", None),
        ("data.group=no: yes", "no: yes"),
        ("data.fold_column=3", "3"),
        ("model_revision=1234567", "1234567"),
        ("train.lr=1e-3", 1e-3),
        ("train.trackers=[a, b]", ["a", "b"]),
        ("generate.stop=[a]", ["a"]),
        ("data.columns.id={a: b}", {"a": "b"}),
        ("data.train=[a, b]", ["a", "b"]),
        ("qa={stride: 3}", {"stride": 3}),
        ("nowhere.at.all=3", 3),
    ],
)
def test_the_value_of_a_key_that_is_text_is_the_words_as_typed(typed: str, value: Any) -> None:
    assert split_override(typed) == (typed.partition("=")[0], value)


def test_a_prefix_with_a_colon_is_read_from_the_command_line() -> None:
    given = ["seq2seq.source_prefix=translate English to German: "]
    assert load("seq2seq", given).settings.source_prefix == "translate English to German: "  # type: ignore[attr-defined]


def test_keys_that_a_command_does_not_use_are_refused() -> None:
    check_override_sections(["qa.n_best=3", "data.columns.question=q", "data.limit=5"], ("qa", "data"))
    for override in ("train.lr=1", "data.folds=3", "data.train=a.json", "dropout=0.1"):
        with pytest.raises(UsageError, match=r"has no effect on this command"):
            check_override_sections([override], ("qa", "data"))


@pytest.mark.parametrize(
    ("task", "acting", "idle"),
    [
        ("qa", ["qa.scorer=cmrc", "qa.null_threshold=1"], ["qa.length_penalty=0.1", "qa.answer_by=score"]),
        ("qa-generation", ["qa-generation.scorer=cmrc"], ["qa-generation.stride=3"]),
        ("nli", ["nli.labels.0=entailment", "nli.hypothesis_only=true"], ["nli.max_length=99"]),
        ("classify", ["classify.target=multi"], ["classify.max_length=99"]),
        ("seq2seq", [], ["seq2seq.max_target_length=9"]),
        ("lm", ["lm.objective=masked", "lm.block_size=99"], []),
    ],
)
def test_keys_that_do_nothing_to_answers_given_before_are_refused(
    task: str, acting: list[str], idle: list[str]
) -> None:
    kind = task_class(task)
    assert kind.Settings.of_scoring is None or kind.Settings.of_scoring <= set(kind.Settings.model_fields)
    check_scoring_keys([*acting, "data.limit=5", "data.group=title"], task, kind.Settings)
    for word in idle:
        with pytest.raises(UsageError, match="acts where a model answers") as caught:
            check_scoring_keys([word], task, kind.Settings)
        assert "hfkit eval" in str(caught.value.hint)


def test_settings_of_a_saved_model_are_overridden() -> None:
    settings = task_class("qa").Settings(max_length=200, stride=50)
    again = override_settings(settings, "qa", ["qa.stride=60", "train.lr=1"])
    assert (again.max_length, again.stride) == (200, 60)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"did you mean 'qa.stride'"):
        override_settings(settings, "qa", ["qa.strid=60"])


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_dumped_recipe_loads_to_an_equal_one(task: str, tmp_path: Path) -> None:
    values = {
        "task": task,
        "data": {"train": ["a.jsonl", "no", "1e-5"], "columns": {"id": "007"}, "names": ["null", "x: y"], "limit": 7},
        "train": {"lr": 3e-5, "warmup": 100, "time": "1h30m", "save_minutes": 0.5},
        "generate": {"stop": ["\n\n", "###", " "], "top_p": 0.9},
    }
    recipe = build(values, name="mine")
    text = dump(recipe)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    again = load(str(tmp_path / "mine.yaml"))
    assert again == recipe
    assert dump(again) == text
    assert differences(as_dict(recipe), tmp_path / "mine.yaml") == ([], [])


def test_identity_ignores_cadence_and_nothing_else() -> None:
    values: dict[str, Any] = {"task": "qa"}
    base = identity(build(values))
    assert len(base) == 8 and int(base, 16) >= 0
    assert identity(build(values, name="other")) == base
    for same in (
        "train.save_steps=5",
        "train.save_minutes=1",
        "train.keep_checkpoints=9",
        "train.trackers=[tensorboard]",
    ):
        assert identity(build(values, [same])) == base
    changes = [
        "train.seed=1",
        "train.lr=1e-4",
        "train.batch_size=8",
        "qa.stride=100",
        "model=scratch:bert-mini",
        "data.train=x",
        "dropout=0.2",
        "train.eval_steps=7",
    ]
    found = {identity(build(values, [other])) for other in changes}
    assert len(found) == len(changes) and base not in found


def test_differences_name_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(dump(build({"task": "qa"})), encoding="utf-8")
    given = ["train.lr=1e-4", "train.save_steps=3", "data.columns={question: q}", "train.eval_steps=9", "train.time=1h"]
    hard, mild = differences(as_dict(build({"task": "qa"}, given)), path)
    assert sorted(hard) == [
        "data.columns.question: None -> 'q'",
        "data.columns: {} -> None",
        "train.lr: 'auto' -> 0.0001",
    ]
    assert mild == ["train.eval_steps: 'auto' -> 9", "train.time: None -> '1h'"]


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_key_has_a_type_a_default_and_help(task: str) -> None:
    settings = task_class(task).Settings
    listed = {key.key: (key.type, key.help) for key in [*describe(Recipe), *describe(settings, f"{task}.")]}
    values = as_dict(build({"task": task}))
    flat = {
        f"{k}.{inner}" if isinstance(v, dict) else k
        for k, v in values.items()
        for inner in (v if isinstance(v, dict) else [""])
    }
    assert flat == set(listed)
    for key, (kind, text) in listed.items():
        assert kind and len(text) > 3 and "\n" not in text, key


def test_the_keys_of_the_contract_are_there() -> None:
    expected = {
        Data: "train validation columns names encoding limit validation_share folds fold group on_bad_row max_bad_rows "
        "max_overlap",
        Train: (
            "epochs max_steps batch_size micro_batch_size lr schedule warmup weight_decay max_grad_norm precision "
            "metric reset_head eval_steps save_steps save_minutes keep_checkpoints patience time distributed "
            "deterministic seed trackers"
        ),
        Generate: "max_new_tokens temperature top_p top_k samples num_beams logprobs batch_size dtype stop seed",
        Scratch: "vocab_size lowercase",
    }
    for section, keys in expected.items():
        assert set(keys.split()) <= set(section.model_fields), section
    train = Train()
    assert (train.epochs, train.batch_size, train.warmup, train.seed, train.keep_checkpoints) == (2, 16, 0.06, 42, 2)


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        build({"task": "qa"}).train.lr = 1.0  # type: ignore[misc]


def test_a_file_older_than_a_key_means_its_default(tmp_path: Path) -> None:
    values = as_dict(build({"task": "nli"}))
    older = {name: value for name, value in values.items() if name != "tricks"}
    (tmp_path / "recipe.yaml").write_text(dump_yaml(older), encoding="utf-8")
    assert differences(values, tmp_path / "recipe.yaml") == ([], [])
    values["tricks"]["r_drop"] = 1.0
    assert differences(values, tmp_path / "recipe.yaml") == (["tricks.r_drop: 0.0 -> 1.0"], [])


def test_a_default_that_changed_since_counts_only_where_it_is_at_work(tmp_path: Path) -> None:
    path, recipe = tmp_path / "recipe.yaml", build({"task": "nli"})
    values = as_dict(recipe)
    path.write_text(dump_yaml({**values, "tricks": {**values["tricks"], "adversarial_lr": 1.0}}), encoding="utf-8")
    assert differences(values, path) == ([], [])
    then = as_known(recipe, path)
    assert then is not None and then["tricks"]["adversarial_lr"] == 1.0, "as the run's identity was made"
    awp = build({"task": "nli", "tricks": {"adversarial": "awp"}})
    path.write_text(dump_yaml(as_dict(build(as_dict(awp), ["tricks.adversarial_lr=1"]))), encoding="utf-8")
    assert differences(as_dict(awp), path)[0] == ["tricks.adversarial_lr: 1.0 -> 0.001"]


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        (
            "lm",
            ["lm.block_size=128", "lm.stride=200"],
            "lm.stride, lm.block_size: stride 200 is larger than block_size 128",
        ),
        (
            "choice",
            ["choice.shots=4"],
            "choice.shots, choice.shots_data: shots needs shots_data, the training data that examples are drawn from",
        ),
        (
            "lm",
            ["generate.samples=2", "generate.num_beams=2"],
            "generate.samples, generate.num_beams, generate.temperature: samples above 1 would be the same text: "
            "num_beams above 1 and temperature=0 are greedy",
        ),
        ("choice", ["choice.template=x"], "choice.template = 'x': it names no column: write for example {question}"),
    ],
)
def test_keys_that_do_not_go_together_are_named_without_their_section(task: str, given: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        build({"task": task}, given)
    assert caught.value.message == f"command line: {said}"
    section = said.partition(".")[0]
    with pytest.raises(UsageError) as caught:
        section_from_overrides(Generate if section == "generate" else task_class(task).Settings, section, given)
    assert caught.value.message == f"command line: {said}"


def test_a_text_where_a_list_of_texts_is_asked_for_is_shown_as_one(tmp_path: Path) -> None:
    wrong = "input should be a valid list"
    with pytest.raises(UsageError) as caught:
        build({"task": "lm"}, ["generate.stop=THE 'END'", "lora.targets=query", "generate.seed=[1]"])
    targets, stop, seed = caught.value.message.splitlines()
    assert targets.endswith("""'auto', or a valid list; write lora.targets='["query"]'""")
    assert "generate.seed" in seed and "write" not in seed
    word = shlex.split(stop.partition("; write ")[2])[0]
    assert build({"task": "lm"}, [word]).generate.stop == ["THE 'END'"]
    said = problems("task: lm\ngenerate: {stop: END}\n", tmp_path)
    assert said == f"""mine.yaml: generate.stop = 'END': {wrong}; write ["END"]"""


def test_a_typo_in_the_middle_of_a_typed_key_is_put_to_the_command_line() -> None:
    with pytest.raises(UsageError) as caught:
        load("classify", ["data.column.text=body"])
    assert caught.value.message == "command line: unknown key 'data.column'; did you mean 'data.columns'?"
