"""Prompts from templates, texts beyond the context, files that are gone on with."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import tiny_models
from tokenizers.processors import TemplateProcessing

from hfkit.errors import DataError, ResourceError, UsageError
from hfkit.recipe.keys import Generate
from hfkit.recipe.overrides import split_override
from hfkit.verbs.generate import generate
from hfkit.verbs.generate.context import encode, fitted
from hfkit.verbs.generate.output import Output
from hfkit.verbs.generate.template import Template

KEYS = ["generate.max_new_tokens=5", "generate.dtype=float32", "generate.temperature=0"]


@pytest.fixture
def model(made: Path) -> str:
    return str(made / "7-lm" / "model")


def rows_of(finish, model: str, texts=(), *, keys=(), **options) -> list[dict]:
    found, _ = finish(generate(model, list(texts), cpu=True, overrides=[*KEYS, *keys], **options))
    return found["predictions"]


# ---- templates


def test_a_template_is_filled_with_columns_of_any_name() -> None:
    template = Template(r"{{Q}}: {the question}\n{a.b}\t{c[0]} \\n {the question}")
    assert template.fields == ("the question", "a.b", "c[0]")
    row = {"id": "7", "the question": "why {x}?", "a.b": 3, "c[0]": ["x", None]}
    assert template.fill(row) == '{Q}: why {x}?\n3\t["x", null] \\n why {x}?'
    with pytest.raises(DataError, match=r"row '7': a\.b is null"):
        template.fill({**row, "a.b": None})
    assert Template("Q: {q}\nA:").fill_one("ok") == "Q: ok\nA:"
    with pytest.raises(UsageError, match="columns a, b"):
        Template("{a}{b}").fill_one("x")


@pytest.mark.parametrize("text", ["{", "a}", "{}", "{a!r}", "{a:>3}", "none", "{a.b!s}", "{a{b}}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"generate\.template"):
        Template(text)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("Q: {q}", "Q: {q}"), (r"Q: {q}\nA:", r"Q: {q}\nA:"), ('"Q: {q}\\nA:"', "Q: {q}\nA:"), ("'# {q}'", "# {q}"),
        ("# {q}", "# {q}"), ("{q}", "{q}"), ("null", None), ("", None),
    ],
)  # fmt: skip
def test_a_template_on_the_command_line_is_text(typed: str, value: str | None) -> None:
    assert split_override(f"generate.template={typed}") == ("generate.template", value)


def test_rows_of_every_form_become_prompts(finish, runs: Path, model: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"key": "a", "river": "the river", "n": 1}, {"key": "b", "river": "a boat", "n": 2}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "p.csv").write_text("key,river,n\na,the river,1\nb,a boat,2\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    keys = [r"generate.template=Q{n}: {water}\nA:", "data.columns.id=key", "data.columns.water=river"]
    for name in ("p.jsonl", "p.csv", "p.parquet"):
        found = rows_of(finish, model, prompts_file=str(tmp_path / name), keys=keys)
        assert [(row["id"], row["prompt"]) for row in found] == [("a", "Q1: the river\nA:"), ("b", "Q2: a boat\nA:")]
    (tmp_path / "p.txt").write_text("the river\na boat\n", encoding="utf-8")
    for template in ("<{text}>", "<{prompt}>"):  # a .txt is a row a line
        keys = [f"generate.template={template}"]
        found = rows_of(finish, model, prompts_file=str(tmp_path / "p.txt"), keys=keys)
        assert [row["prompt"] for row in found] == ["<the river>", "<a boat>"]
    assert rows_of(finish, model, ["salt"], keys=["generate.template=the {x} of"])[0]["prompt"] == "the salt of"
    with pytest.raises(DataError, match=r"no column for rivr[\s\S]*columns: key, river, n") as caught:
        rows_of(finish, model, prompts_file=str(tmp_path / "p.jsonl"), keys=["generate.template={rivr}"])
    assert "data.columns.rivr=river" in str(caught.value.hint)


# ---- overflow


def test_the_rules_of_overflow() -> None:
    ids = list(range(100, 130))

    def cut(rule: str, limit: int, new: int = 10, begin: int | None = None) -> tuple[list[int], int]:
        found = fitted(ids, Generate(overflow=rule, max_new_tokens=new), limit, begin)
        return found.ids, found.cut

    assert cut("error", 20) == cut("truncate", 40) == cut("slide", 31) == (ids, 0)
    assert cut("truncate", 36) == (ids[4:], 4)
    assert cut("truncate", 20, new=500) == (ids[20:], 20)  # half the context is kept for the prompt
    assert cut("truncate", 36, begin=100) == ([100, *ids[5:]], 4)
    assert cut("slide", 30) == (ids[15:], 15)


@pytest.mark.parametrize("rule", ["truncate", "slide"])
def test_a_begin_token_that_the_tokenizer_adds_stays(rule: str) -> None:
    tokenizer = tiny_models.gpt2()
    settings = Generate(overflow=rule, max_new_tokens=10)
    plain = tokenizer("the mill stands still " * 9)["input_ids"]
    (cut,) = encode(["the mill stands still " * 9], tokenizer, settings, 20)
    assert cut.ids == plain[-10:]
    begin = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    (cut,) = encode(["the mill stands still " * 9], tokenizer, settings, 20)
    assert cut.ids == [begin[1], *plain[-9:]] and cut.cut == len(plain) + 1 - 10


def test_prompts_beyond_the_context(finish, runs: Path, model: str) -> None:
    long = "the river " * 150
    with pytest.raises(UsageError, match="context is 128"):
        rows_of(finish, model, ["the", long])
    short, cut = rows_of(finish, model, ["the", long], keys=["generate.overflow=truncate"])
    assert cut["truncated"] and "truncated" not in short and cut["prompt"] == long and cut["tokens"] == 5
    again = rows_of(finish, model, ["the river " * 100], keys=["generate.overflow=truncate"])
    assert again[0]["completion"] == cut["completion"]  # both read the same last tokens


def test_prompts_are_measured_some_at_a_time(finish, model, tmp_path, monkeypatch) -> None:
    """What is counted holds for all of them, and how far it is is shown."""
    monkeypatch.setattr("hfkit.verbs.generate.ready.AT_ONCE", 3)
    texts = ["the river " * (150 if number in (1, 5, 6) else 1) for number in range(7)]
    (tmp_path / "p.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    keys = [*KEYS, "generate.overflow=truncate"]
    _, events = finish(generate(model, [], prompts_file=str(tmp_path / "p.txt"), cpu=True, overrides=keys))
    said = [event.fields["text"] for event in events if event.kind == "note"]
    assert any(text.startswith("3 of 7 prompts are cut") for text in said)
    bars = [event.fields for event in events if event.kind == "progress"]
    assert [bar["done"] for bar in bars if bar["stage"] == "encoding"] == [3, 6, 7]


def test_a_window_slides_over_what_the_model_has_said(finish, runs: Path, model: str) -> None:
    """What comes after a slide is what the model says to the last half of the context."""
    keys = ["generate.overflow=slide", "generate.max_new_tokens=120"]
    prompts = ["the river runs", "bread and salt " * 12]
    found = rows_of(finish, model, prompts, keys=keys)
    alone = [rows_of(finish, model, [prompt], keys=keys)[0] for prompt in prompts]
    assert [row["completion"] for row in found] == [row["completion"] for row in alone]
    free = [row for row in found if row["finish_reason"] == "length"]
    assert free and all(row["tokens"] == 120 for row in free)
    stopped = rows_of(finish, model, prompts, keys=["generate.max_new_tokens=120"])
    for row, short in zip(found, stopped, strict=True):
        assert row["completion"].startswith(short["completion"])
    with pytest.raises(UsageError, match="slide"):
        rows_of(finish, model, ["a"], keys=["generate.overflow=slide", "generate.num_beams=2"])


def test_what_a_generation_config_asks_for_is_said_where_it_is_not_done(finish, model, tmp_path) -> None:
    """Beam search does it, greedy decoding does not."""
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / "generation_config.json").write_text('{"repetition_penalty": 9.0}', encoding="utf-8")

    def made(name: str, *keys: str) -> tuple[str, bool]:
        found, events = finish(generate(name, ["the river"], cpu=True, overrides=[*KEYS, *keys]))
        said = [event.fields["text"] for event in events if event.kind == "note"]
        return found["predictions"][0]["completion"], any("repetition_penalty=9.0, which is not" in t for t in said)

    plain, asked, beams = model, str(tmp_path / "model"), "generate.num_beams=2"
    assert made(asked) == (made(plain)[0], True)
    penalised, said = made(asked, beams)
    assert penalised != made(plain, beams)[0] and not said


# ---- files that are gone on with


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    text = "the small river runs behind the old mill and the boat carries bread"
    lines = [text[n % 17 : n % 17 + 3 + 5 * (n % 7)] for n in range(40)]
    (tmp_path / "prompts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(tmp_path / "prompts.txt")


def write(finish, model: str, prompts: str, target: Path, *keys: str, size: int = 1, **options):
    overrides = ["generate.max_new_tokens=4", "generate.dtype=float32", f"generate.batch_size={size}", *keys]
    return finish(generate(model, [], prompts_file=prompts, output=target, cpu=True, overrides=overrides, **options))


def test_a_stopped_job_goes_on_and_gives_the_same_bytes(finish, runs, model, prompts, tmp_path, monkeypatch) -> None:
    whole, target = tmp_path / "whole.jsonl", tmp_path / "texts.jsonl"
    first, _ = write(finish, model, prompts, whole, "generate.logprobs=true")
    kept = Output.add

    def full_disk(self: Output, lines) -> None:
        if self.rows == 16:
            raise ResourceError("no space left on the disk")
        kept(self, lines)

    with monkeypatch.context() as patch, pytest.raises(ResourceError):
        patch.setattr(Output, "add", full_disk)
        write(finish, model, prompts, target, "generate.logprobs=true")
    partial = target.with_name("texts.jsonl.partial")
    assert len(partial.read_bytes().splitlines()) == 16 and not target.exists()
    with pytest.raises(UsageError, match="was stopped") as caught:
        write(finish, model, prompts, target)
    assert "--resume" in str(caught.value.hint)
    with open(partial, "ab") as handle:  # half a window, and a torn line
        handle.write(whole.read_bytes().splitlines(keepends=True)[16] + b'{"id": "17", "pro')
    for key in ("generate.seed=1", "generate.stop=[x]", "data.limit=30"):
        with pytest.raises(UsageError, match="begun with something else"):
            write(finish, model, prompts, target, "generate.logprobs=true", key, resume=True)
    result, events = write(finish, model, prompts, target, "generate.logprobs=true", resume=True)
    assert any("16 of 40 prompts are done" in e.fields.get("text", "") for e in events)
    assert target.read_bytes() == whole.read_bytes() and not partial.exists()
    assert result["rows"] == 40 and result["finish_reasons"] == first["finish_reasons"]
    assert [e.fields["done"] for e in events if e.kind == "progress"] == list(range(17, 41))
    again, events = write(finish, model, prompts, target, "generate.logprobs=true", resume=True)
    assert again == result and any("finished" in e.fields.get("text", "") for e in events)


def test_a_job_is_not_gone_on_with_by_another_generation_config(finish, runs, model, prompts, tmp_path) -> None:
    copy, target = tmp_path / "model", tmp_path / "texts.jsonl"
    shutil.copytree(model, copy)
    (copy / "generation_config.json").write_text('{"eos_token_id": 3}', encoding="utf-8")
    write(finish, str(copy), prompts, target)
    assert write(finish, str(copy), prompts, target, resume=True)[0]["rows"] == 40
    (copy / "generation_config.json").write_text('{"eos_token_id": 4}', encoding="utf-8")
    with pytest.raises(UsageError, match="the generation config: generation_config.json"):
        write(finish, str(copy), prompts, target, resume=True)


def test_what_cannot_be_gone_on_with(finish, runs, model, prompts, tmp_path) -> None:
    target = tmp_path / "texts.jsonl"
    with pytest.raises(UsageError, match="none is named"):
        list(generate(model, ["a"], resume=True))
    with pytest.raises(UsageError, match="together"):
        list(generate(model, ["a"], output=target, resume=True, overwrite=True))
    target.write_text("mine\n", encoding="utf-8")
    with pytest.raises(UsageError, match="which says what made it"):
        write(finish, model, prompts, target, resume=True)
    assert target.read_text(encoding="utf-8") == "mine\n"
    write(finish, model, prompts, target, size=32, overwrite=True)
    record = json.loads((tmp_path / ".texts.jsonl.job.json").read_text(encoding="utf-8"))
    assert record["result"]["rows"] == 40
    changed = tmp_path / "prompts.txt"
    changed.write_text(changed.read_text(encoding="utf-8").replace("the", "The", 1), encoding="utf-8")
    with pytest.raises(UsageError, match="the prompts: "):
        write(finish, model, prompts, target, size=32, resume=True)


def test_two_jobs_on_one_file_are_found_out(tmp_path: Path) -> None:
    outputs = [Output(tmp_path / "texts.jsonl", resume=False) for _ in range(2)]
    for output in outputs:
        output.begin({"rows": 4}, 2)
    outputs[0].add([{"finish_reason": "eos"}])
    with pytest.raises(UsageError, match="another process"):
        outputs[1].add([{"finish_reason": "eos"}])


PLACES = {"unlink": "pathlib.Path", "write_json": "hfkit.verbs.generate.output"}
LINES = [{"id": str(number), "finish_reason": "eos"} for number in range(4)]


def begun(target: Path, *, resume: bool = False) -> Output:
    output = Output(target, resume=resume)
    output.begin({"rows": 4}, 2)
    return output


@pytest.mark.parametrize("deed", ["unlink", "write_json"])
def test_starting_over_leaves_no_record_of_the_old_job(tmp_path: Path, monkeypatch, deed: str) -> None:
    """Killed before the old lines are removed, or before the new record is there."""
    target = tmp_path / "texts.jsonl"
    output = begun(target)
    for start in (0, 2):
        output.add(LINES[start : start + 2])
    output.finish({"rows": 4})
    output.partial.write_bytes(b"older\n")
    honest = Path.unlink

    def killed(path: Path, *_: object, **__: object) -> None:
        if deed == "write_json" or path == output.partial:
            raise KeyboardInterrupt
        honest(path, missing_ok=True)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"{PLACES[deed]}.{deed}", killed)
        begun(target)
    with pytest.raises(UsageError, match=r"which says what made it, does not"):
        begun(target, resume=True)


def test_a_line_without_its_end_is_not_whole(tmp_path: Path) -> None:
    target = tmp_path / "texts.jsonl"
    begun(target).add(LINES[:2])
    partial = tmp_path / "texts.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-1])
    output = begun(target, resume=True)
    assert output.rows == 0
    for start in (0, 2):
        output.add(LINES[start : start + 2])
    assert [json.loads(line) for line in partial.read_text(encoding="utf-8").splitlines()] == LINES


def test_a_job_killed_before_its_file_took_its_name_is_finished(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "texts.jsonl"
    target.write_text("old\n", encoding="utf-8")
    output = begun(target)
    for start in (0, 2):
        output.add(LINES[start : start + 2])
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr("os.replace", replaced_but_for(output.partial))
        output.finish({"rows": 4})
    assert target.read_text(encoding="utf-8") == "old\n"
    assert begun(target, resume=True).finished == {"rows": 4} and not output.partial.exists()
    assert [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()] == LINES
    assert begun(target, resume=True).finished == {"rows": 4}


def replaced_but_for(kept: Path):
    """os.replace, with a kill when it comes to this file."""
    honest = os.replace

    def replace(source, place) -> None:
        if Path(source) == kept:
            raise KeyboardInterrupt
        honest(source, place)

    return replace


def test_a_record_that_lacks_something_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "texts.jsonl"
    target.write_text("mine\n", encoding="utf-8")
    (tmp_path / ".texts.jsonl.job.json").write_text('{"window": 2}', encoding="utf-8")
    with pytest.raises(UsageError, match="lacks identity, result"):
        begun(target, resume=True)
