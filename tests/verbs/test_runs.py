"""runs list and note: the order of the leaderboard, what is filtered, scores of a competition beside our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_models

from hfkit.cli import main
from hfkit.verbs.runs.listing import agreements, ordered


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HFKIT_RUNS", raising=False)
    return tmp_path / "runs"


def made(here: Path, name: str, value: float | None, *, task: str = "classify", metric: str = "accuracy", **more):
    folder = here / name
    folder.mkdir(parents=True)
    seconds = more.pop("seconds", 60.0)
    data = {"train": {"fingerprint": "aa" * 32}, "validation": {"fingerprint": more.pop("validation", "bb" * 32)}}
    facts = {"status": "done", "task": task, "model": "m", "metric": metric, "data": data, **more}
    if value is not None:
        facts["best"] = {"step": 4, "metrics": {"log_loss": 0.5, metric: value}}
        facts["result"] = {"ci95": {metric: [value - 1, value + 1]}, "throughput": {"seconds": seconds}}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def listed(capsys, *arguments: str) -> tuple[dict, str]:
    code = main(["runs", *arguments, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out), err


def names(result: dict) -> list[str]:
    return [run["name"] for run in result["runs"]]


def test_the_best_comes_first_and_other_tasks_and_metrics_stand_apart(here, capsys):
    made(here, "a", 80.0, started=1e9, seconds=30.0)
    made(here, "b", 90.0, started=2e9, seconds=20.0)
    made(here, "c", 4.0, task="lm", metric="perplexity", started=3e9, seconds=10.0)
    made(here, "d", 3.0, task="lm", metric="perplexity", started=4e9, validation="cc" * 32)
    made(here, "e", None, started=5e9)
    assert names(listed(capsys, "list")[0]) == ["e", "d", "c", "b", "a"]
    by_metric, said = listed(capsys, "list", "--sort", "metric")
    assert names(by_metric) == ["b", "a", "d", "c", "e"], "perplexity is better when lower"
    assert "lm: the runs were scored on 2 different validation sets" in said
    assert names(listed(capsys, "list", "--sort", "time")[0]) == ["c", "b", "a", "d", "e"]
    assert names(listed(capsys, "list", "--task", "lm")[0]) == ["d", "c"]
    run = by_metric["runs"][0]
    assert run["headline"] == {"metric": "accuracy", "value": 90.0, "better": "higher", "ci95": [89.0, 91.0]}
    assert main(["runs", "list", "--sort", "metric"]) == 0
    first = capsys.readouterr().out.splitlines()[1]
    assert " ".join(first.split()) == "b done classify m accuracy 90.00 89.00 to 91.00 20 s aaaa/bbbb"


def test_parameters_are_counted_from_the_weights(here, capsys):
    folder = made(here, "a", 80.0)
    model = tiny_models.save("bert", folder / "model", "AutoModelForSequenceClassification", num_labels=2)
    from transformers import AutoModelForSequenceClassification

    count = sum(p.numel() for p in AutoModelForSequenceClassification.from_pretrained(model).parameters())
    assert listed(capsys, "list")[0]["runs"][0]["parameters"] == count
    (folder / "model" / "model.safetensors").write_bytes(b"damaged, and yet the list is shown")
    assert listed(capsys, "list")[0]["runs"][0]["parameters"] is None


def test_notes_are_kept_and_compared_with_our_scores(here, capsys):
    for place, name in enumerate("abcd"):
        made(here, name, 80.0 + place)
    for name, public in zip("abc", (0.70, 0.73, 0.72), strict=True):
        listed(capsys, "note", name, "sent", "--public", str(public))
    result, _ = listed(capsys, "note", "a", "--private", "0.5")
    assert (result["public"], result["private"], len(result["notes"])) == (0.7, 0.5, 2)
    assert listed(capsys, "note", "a")[0]["notes"] == result["notes"]
    found, said = listed(capsys, "list", "--notes")
    assert sorted(names(found)) == ["a", "b", "c"]
    [agreement] = found["agreement"]
    assert (agreement["board"], agreement["runs"], agreement["spearman"]) == ("public", 3, pytest.approx(0.5))
    assert "rank correlation of classify accuracy and public score, 3 runs: +0.50" in said
    assert main(["runs", "list", "--notes"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]][-1] == [
        "a", "accuracy", "80.00", "79.00", "to", "81.00", "0.7000", "0.5000", "sent",
    ]  # fmt: skip


def test_equal_scores_have_no_rank_correlation():
    run = {"task": "qa", "headline": {"metric": "f1", "value": 1.0}, "public": 2.0, "private": None}
    assert agreements([run] * 2) == []
    assert agreements([run] * 3)[0]["spearman"] is None
    assert ordered([], "metric") == []


def test_notes_that_are_wrong_are_refused(here, capsys):
    folder = made(here, "a", 80.0)
    assert main(["runs", "note", "a", "--public", "nan"]) == 2
    assert main(["runs", "note", "nowhere", "x"]) == 2
    (folder / "notes.json").write_text("{", encoding="utf-8")
    assert main(["runs", "note", "a", "x"]) == 2
    assert "notes.json: cannot be read" in capsys.readouterr().err
    assert (folder / "notes.json").read_text(encoding="utf-8") == "{", "nothing is lost"
    assert main(["runs", "list"]) == 0


@pytest.mark.parametrize("command", ["finetune", "cv", "sweep", "compete"])
def test_show_offers_to_go_on_where_the_folder_alone_says_how(command, here, capsys):
    made(here, "a", None, status="interrupted", command=command)
    assert main(["runs", "show", "a"]) == 0
    said = capsys.readouterr()
    shown = said.out + said.err
    assert (f"hfkit {command} " in shown and "--resume" in shown) == (command in ("finetune", "cv"))
    assert "hfkit finetune " not in shown or command == "finetune"
