"""`data check`: every planted fault is found in one pass, sound data raises no alarm, repairs are said row by row."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from faulty_data import faulty_pairs, faulty_questions, jsonl, sound

from hfkit.cli import main
from hfkit.errors import DataError, UsageError
from hfkit.verbs.data.check import check

SMALL = ["qa.max_length=64", "qa.stride=16", "qa.max_question_length=16"]
FAULTS = {"qa": faulty_questions, "nli": faulty_pairs}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("bert", tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def found(result: dict[str, Any]) -> dict[str, int]:
    """code -> count of all failures and warnings."""
    return {finding["code"]: finding["count"] for finding in [*result["failures"], *result["warnings"]]}


def put(name: str, rows: list[Any]) -> str:
    Path(name).write_text(jsonl(rows), encoding="utf-8")
    return name


@pytest.mark.parametrize("task", ["qa", "nli"])
def test_one_pass_finds_every_planted_fault_and_nothing_else(task: str, bert: Path, finish: Any) -> None:
    rows, validation, planted = FAULTS[task]()
    assert len(rows) == 1000
    assert len(planted) >= 12
    keys = SMALL if task == "qa" else []
    data, other = put("train.jsonl", rows), put("dev.jsonl", validation)
    result, _ = finish(check(data, task=task, model=str(bert), validation=other, overrides=keys))
    assert found(result) == planted
    assert result["error"]["code"] == 3
    assert all(finding["ids"] for finding in result["warnings"])


@pytest.mark.parametrize("task", ["qa", "nli"])
def test_sound_rows_raise_no_alarm(task: str, bert: Path, finish: Any) -> None:
    keys = SMALL if task == "qa" else []
    data, other = put("train.jsonl", sound(task)), put("dev.jsonl", sound(task, seed=2)[:100])
    result, events = finish(check(data, task=task, model=str(bert), validation=other, overrides=keys))
    assert found(result) == {}
    assert "error" not in result
    assert {"null_text", "duplicate_ids", "repeated_rows", "overlap"} <= {part["code"] for part in result["passed"]}
    assert events[-2].fields["commands"] == [" ".join([f"hfkit finetune {task} --train train.jsonl", *keys])]


def test_the_unit_of_offsets_and_the_counts_are_said(bert: Path, finish: Any) -> None:
    rows, _, _ = faulty_questions()
    result, _ = finish(check(put("train.jsonl", rows), task="qa", model=str(bert), overrides=SMALL))
    line = next(part["message"] for part in result["warnings"] if part["code"] == "answers_not_located")
    assert "6 offset in UTF-16 units, 5 offset in bytes, 7 found once elsewhere" in line
    counts = result["counts"]
    assert counts["answers"]["nowhere"] == 8
    assert counts["rows"] == 997
    assert counts["tokens"]["most"] == 64
    assert 0 < counts["padding_share"]["to_longest_of_16"] < counts["padding_share"]["to_max_length"] < 1


def test_fix_writes_rows_without_faults_and_says_what_it_did_to_each(bert: Path, finish: Any) -> None:
    rows, validation, planted = faulty_questions()
    data, other = put("train.jsonl", rows), put("dev.jsonl", validation)
    result, events = finish(check(data, task="qa", validation=other, fix=Path("good.jsonl")))
    fixed = result["fixed"]
    left_out = 4 + 5 + 2 + 3 + 6 + 10 + 8 + 7
    assert (fixed["rows"], fixed["left_out"]) == (997 - left_out, left_out + 3)
    assert fixed["what"]["left out: unreadable_rows"] == 3
    assert fixed["changed"] == 7 + 6 + 5 + 4  # offsets and ids
    changes = [json.loads(line) for line in Path(fixed["changes"]).read_text(encoding="utf-8").splitlines()]
    assert {change["row"] for change in changes if change["code"] == "answers_not_located"} and len(changes) == sum(
        fixed["what"].values()
    )
    assert any(change["what"] == "the answer 'the end' starts at 3, not at 5" for change in changes)
    assert events[-2].fields["commands"] == ["hfkit finetune qa --train good.jsonl"]
    again, _ = finish(check("good.jsonl", task="qa", model=str(bert), validation=other, overrides=SMALL))
    rest = {"answers_cut", "unknown_tokens", "language_mix", "broken_characters", "shared_groups"}
    assert found(again) == {code: count for code, count in planted.items() if code in rest} | {"shared_groups": 1}
    with pytest.raises(UsageError, match="there already"):
        finish(check(data, task="qa", fix=Path("good.jsonl")))


def test_fix_of_pairs_and_as_json(finish: Any) -> None:
    rows, validation, _ = faulty_pairs()
    data, other = put("train.jsonl", rows), put("dev.jsonl", validation)
    result, _ = finish(check(data, task="nli", validation=other, fix=Path("good.json")))
    kept = json.loads(Path("good.json").read_text(encoding="utf-8"))
    assert len(kept) == result["fixed"]["rows"] == 997 - (4 + 5 + 2 + 6 + 6 + 10 + 7)
    assert {row["label"] for row in kept} == {"entailment", "neutral", "contradiction"}
    assert len({row["id"] for row in kept}) == len(kept)
    assert result["fixed"]["what"]["left out: unknown_labels"] == 6
    with pytest.raises(UsageError, match=r"\.jsonl or \.json"):
        finish(check(data, task="nli", fix=Path("good.csv")))


def test_labels_of_classify(finish: Any) -> None:
    rows = [{"text": f"word {number}", "label": ("good", "bad")[number % 2]} for number in range(300)]
    rows[7]["label"] = "goood"
    result, _ = finish(check(put("c.jsonl", rows), task="classify", validation=put("v.jsonl", [
        {"text": "a", "label": "good"}, {"text": "b", "label": "bad"}, {"text": "c", "label": "ugly"}])))  # fmt: skip
    assert found(result) == {"rare_labels": 1, "unseen_labels": 1}
    assert "goood 1 (a slip for good?)" in result["warnings"][0]["message"]
    assert result["counts"]["labels"]["good"] == 150


def test_tokens_are_skipped_and_it_is_said_why(finish: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = put("train.jsonl", sound("nli"))
    for model, why in ((None, "no model is given"), ("scratch:bert-mini", "no tokenizer before it is trained")):
        result, _ = finish(check(data, task="nli", model=model))
        assert any(part["code"] == "tokens_skipped" and why in part["message"] for part in result["passed"])
        assert "tokens" not in result["counts"]


def test_data_without_gold_and_data_that_cannot_be_read(finish: Any) -> None:
    rows = [{key: value for key, value in row.items() if key != "label"} for row in sound("nli")]
    result, _ = finish(check(put("test.jsonl", rows), task="nli"))
    assert found(result) == {"no_gold_column": 0}
    with pytest.raises(DataError):
        finish(check(put("broken.jsonl", ["{", "{"]), task="nli"))
    with pytest.raises(UsageError, match="no effect"):
        finish(check("test.jsonl", task="nli", overrides=["train.lr=1"]))


def test_a_folder_is_compared_with_its_own_validation_part(finish: Any) -> None:
    Path("set").mkdir()
    rows = sound("nli")
    put("set/train.jsonl", rows)
    put("set/validation.jsonl", rows[:50])
    result, _ = finish(check("set", task="nli"))
    assert found(result) == {"overlap": 50, "shared_groups": 50}
    assert result["counts"]["validation_rows"] == 50


def test_the_command_ends_with_3_and_prints_lines_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows, _, _ = faulty_questions()
    put("train.jsonl", rows)
    assert main(["data", "check", "train.jsonl", "--task", "qa"]) == 3
    shown = capsys.readouterr()
    assert "FAIL  question is null in 4 rows" in shown.out
    assert "5 failures" in shown.out.splitlines()[-1] or "failures" in shown.out.splitlines()[-1]
    assert "hfkit data check train.jsonl --task qa --fix repaired.jsonl" in shown.err
    assert main(["data", "check", "train.jsonl", "--task", "qa", "--json"]) == 3
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is False
    assert {"failures", "warnings", "counts", "fixed"} <= set(result)
    put("good.jsonl", sound("qa"))
    assert main(["data", "check", "good.jsonl", "--task", "qa"]) == 0


REAL = [
    ("snli/train.jsonl", "nli", {}),
    ("banking77/train.csv", "classify", {}),
    ("banking77/test.csv", "classify", {}),
    ("snli/validation.jsonl", "nli", {"repeated_rows": 2}),
    ("cmrc2018/dev.json", "qa", {"answers_not_located": 200}),
    ("ocnli/train.jsonl", "nli", {"no_gold": 15}),
    ("ocnli/dev.jsonl", "nli", {"no_gold": 50}),
    (
        "adversarial_qa/train.jsonl",
        "qa",
        {"duplicate_ids": 35, "repeated_rows": 25, "contradictory_rows": 10, "shared_groups": 1698},
    ),
]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "task", "expected"), REAL, ids=[name for name, _, _ in REAL])
def test_published_data(name: str, task: str, expected: dict[str, int], shared: Path, finish: Any) -> None:
    started = time.process_time()
    validation = str(shared / "squad" / "train.json") if "adversarial" in name else None
    result, _ = finish(check(str(shared / name), task=task, validation=validation))
    assert found(result) == expected
    assert "error" not in result
    assert time.process_time() - started < 30  # about 1 s; adversarial_qa 6 s


@pytest.mark.shared_data
def test_what_is_said_of_squad_is_true(shared: Path, finish: Any) -> None:
    """The rows that repeat another do so, counted by themselves."""
    articles = json.loads((shared / "squad" / "dev.json").read_text(encoding="utf-8"))["data"]
    seen: set[tuple[Any, ...]] = set()
    twice = 0
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        for row in paragraph["qas"]:
            texts = frozenset(answer["text"] for answer in row["answers"])
            twice += (row["question"], paragraph["context"], texts) in seen
            seen.add((row["question"], paragraph["context"], texts))
    result, _ = finish(check(str(shared / "squad" / "dev.json"), task="qa"))
    assert found(result) == {"repeated_rows": twice}


def test_both_sides_of_a_translation_have_a_language() -> None:
    rows = [{"source": f"the mill and the river of the town {n}", "target": [f"老磨坊在河边{n}"]} for n in range(20)]
    rows[3]["target"] = ["this is the mill and the river of the town"]
    *_, last = check(put("pairs.jsonl", rows), task="seq2seq")
    assert last.fields["counts"]["languages"] == {"source": {"English": 20}, "target": {"Chinese": 19, "English": 1}}
    assert found(last.fields)["language_mix"] == 1


def amounts(prefix: str, count: int) -> list[Any]:
    return [
        {"id": f"{prefix}{n}", "text": f"{prefix} says number {n}", "label": f"{n % 37 + 0.25}"} for n in range(count)
    ]


def test_numbers_to_predict_are_no_labels_that_must_stand_in_training() -> None:
    train, dev = amounts("train", 300), [{"id": "d", "text": "unlike all", "label": "2.375"}]
    result = list(check(put("train.jsonl", train), task="classify", validation=put("dev.jsonl", dev)))[-1].fields
    assert not result["failures"] and "labels" not in result["counts"]
    as_classes = list(
        check("train.jsonl", task="classify", validation="dev.jsonl", overrides=["classify.target=single"])
    )[-1].fields
    assert found(as_classes)["unseen_labels"] == 1


def test_a_rare_label_of_several_is_told_with_its_rows() -> None:
    rows = [
        {"id": str(n), "text": f"comment number {n}", "toxic": n % 2, "insult": n % 3 == 0, "threat": n in (5, 9)}
        for n in range(300)
    ]
    rows = [{name: int(value) if isinstance(value, bool) else value for name, value in row.items()} for row in rows]
    columns = "data.columns.label=[toxic, insult, threat]"
    result = list(check(put("several.jsonl", rows), task="classify", overrides=[columns]))[-1].fields
    (rare,) = [finding for finding in result["warnings"] if finding["code"] == "rare_labels"]
    assert (rare["count"], rare["ids"]) == (2, ("5", "9")) and "threat 2 (ids '5', '9')" in rare["message"]


def test_the_commands_that_follow_have_the_keys_that_were_given(capsys: Any) -> None:
    rows = [{"body": f"text number {n}", "a": n % 2, "b": n % 3 // 2} for n in range(40)]
    put("own.jsonl", rows)
    put("again.jsonl", [*rows, rows[0]])
    columns = ["data.columns.text=body", "data.columns.label=[a, b]"]
    typed = "data.columns.text=body 'data.columns.label=[a, b]'"

    def following(data: str, *more: str) -> list[str]:
        assert main(["data", "check", data, "--task", "classify", *columns, *more]) == 0
        return [line.strip() for line in capsys.readouterr().err.splitlines() if line.startswith("  hfkit ")]

    assert following("own.jsonl") == [f"hfkit finetune classify --train own.jsonl {typed}"]
    assert following("again.jsonl") == [f"hfkit data check again.jsonl --task classify --fix repaired.jsonl {typed}"]
    fixed = following("again.jsonl", "--fix", "repaired.jsonl")
    assert fixed == ["hfkit finetune classify --train repaired.jsonl 'data.columns.label=[a, b]'"]
    assert main(["data", "check", "repaired.jsonl", "--task", "classify", "data.columns.label=[a, b]"]) == 0
