"""Means of weights: one model, exactly the mean of those that are averaged; members that do not help are left out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from hfkit.errors import DataError, ModelError, UsageError
from hfkit.events import Event
from hfkit.models.intake import weights_sha256
from hfkit.report.competition import averaged_text
from hfkit.verbs.average import average
from hfkit.verbs.compare import compare
from hfkit.verbs.ensemble import ensemble
from hfkit.verbs.evaluate import evaluate
from hfkit.verbs.predict import predict
from hfkit.verbs.runs.show import show_run

Finish = Callable[[Iterable[Event]], tuple[dict[str, Any], list[Event]]]
Write = Callable[..., Path]


@pytest.fixture
def moved(runs: Path, tmp_path: Path) -> Callable[..., str]:
    """A copy of a run's model whose weights were moved by noise: moved("1-qa", 0.01, seed=1)."""

    def copy(run: str, size: float, *, seed: int, **config: Any) -> str:
        folder = tmp_path / f"{run}-{size}-{seed}"
        shutil.copytree(runs / run / "model", folder)
        torch.manual_seed(seed)
        weights = load_file(folder / "model.safetensors")
        weights = {name: value + size * torch.randn_like(value) for name, value in weights.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        for name, changes in (("config.json", config), ("hfkit.json", {"base_model": "starter"})):
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            (folder / name).write_text(json.dumps(content | changes), encoding="utf-8")
        return str(folder)

    return copy


def weights_of(folder: Path | str) -> dict[str, torch.Tensor]:
    place = Path(folder) / "model" if (Path(folder) / "model").is_dir() else Path(folder)
    return load_file(place / "model.safetensors")


@pytest.mark.parametrize("run", ["1-qa", "3-two", "7-lm"])
def test_every_weight_is_the_mean(
    run: str, runs: Path, moved: Callable[..., str], finish: Finish, tmp_path: Path
) -> None:
    members = [str(runs / run), moved(run, 0.002, seed=1), moved(run, 0.002, seed=2)]
    output = tmp_path / "mean"
    result, events = finish(average(members, output=output))
    each, mean = [weights_of(member) for member in members], weights_of(output)
    assert set(mean) == set(each[0])
    for name, value in mean.items():
        torch.testing.assert_close(value, sum(one[name] for one in each) / 3, rtol=1e-6, atol=1e-7)
        assert not torch.equal(value, each[0][name])
    assert [member["averaged"] for member in result["members"]] == [True] * 3
    assert result["members"][0]["nearness"] == 1 and all(0.9 < m["nearness"] < 1 for m in result["members"][1:])
    assert not [event for event in events if event.kind == "warning"]
    assert [member["sha256"] for member in result["members"]] == [
        weights_sha256(runs / run / "model"), *map(weights_sha256, map(Path, members[1:]))
    ]  # fmt: skip


def test_the_mean_is_a_run_that_answers_and_loads_without_hfkit(
    runs: Path, moved: Callable[..., str], questions: list[dict[str, Any]], finish: Finish, tmp_path: Path
) -> None:
    from transformers import AutoModelForQuestionAnswering

    members = [moved("1-qa", 0.002, seed=seed, attention_probs_dropout_prob=0.1 * seed) for seed in (1, 2)]
    finish(average(members, output=runs / "mean", overrides=["qa.length_penalty=0.5"]))
    try:
        saved = json.loads((runs / "mean" / "model" / "hfkit.json").read_text(encoding="utf-8"))
        assert saved["weights_sha256"] == weights_sha256(runs / "mean" / "model")
        assert saved["settings"]["max_length"] == 64 and saved["settings"]["length_penalty"] == 0.5
        assert saved["average_of"] == members and saved["base_model"] == "starter" and saved["task"] == "qa"
        said = finish(predict("mean", data=questions, cpu=True))[0]["predictions"]
        assert [one["id"] for one in said] == ["b", "a", "c"]
        model = AutoModelForQuestionAnswering.from_pretrained(runs / "mean" / "model")
        assert model.config.attention_probs_dropout_prob == 0.1
        shown = finish(show_run("mean"))[0]["run"]
        assert shown["facts"]["status"] == "done" and shown["command"] == "average"
    finally:
        shutil.rmtree(runs / "mean")


def test_a_member_that_hurts_is_left_out(
    runs: Path, moved: Callable[..., str], write: Write, finish: Finish, tmp_path: Path
) -> None:
    text = "the small river runs behind the old mill " * 12
    data = write("dev.jsonl", [{"text": text}])
    members = [moved("7-lm", 3.0, seed=1), str(runs / "7-lm"), moved("7-lm", 1e-7, seed=2)]
    result, events = finish(average(members, output=tmp_path / "mean", data=str(data), cpu=True))
    metric = result["metric"]
    alone = [
        finish(evaluate(name, str(data), cpu=True, name="alone", overwrite=True))[0]["metrics"][metric]
        for name in members
    ]
    assert alone[0] > alone[2] == pytest.approx(alone[1], rel=1e-5)  # perplexity: less is better
    best, same, worst = result["members"]  # in the order in which they were tried
    by_name = dict(zip(members, alone, strict=True))
    assert [one["metrics"][metric] for one in (best, same, worst)] == sorted(alone)
    assert [by_name[one["name"]] for one in (best, same, worst)] == sorted(alone)
    assert worst["averaged"] is False and best["averaged"] is True
    assert worst["nearness"] is None and best["metrics_with"] is None
    assert worst["metrics_with"][metric] > result["metrics"][metric] == pytest.approx(alone[1], rel=1e-5)
    assert result["best_member"] == best["name"] and abs(result["difference"]["differences"]) < 1e-3
    torch.testing.assert_close(weights_of(tmp_path / "mean"), weights_of(runs / "7-lm"))
    assert any("flatters" in event.fields["text"] for event in events if event.kind == "note")
    table = averaged_text(result)
    assert "mean with it" in table and "no" in table and result["verdict"] in table
    assert [path.name for path in (tmp_path / "mean").iterdir() if path.name not in ("model", "run.json")] == ["eval"]


def test_the_score_is_that_of_eval(
    runs: Path, moved: Callable[..., str], questions: list[dict[str, Any]], write: Write, finish: Finish, tmp_path: Path
) -> None:
    data, mean = write("dev.jsonl", questions), tmp_path / "mean"
    members = [str(runs / "1-qa"), moved("1-qa", 0.3, seed=1)]
    result, _ = finish(average(members, output=mean, data=str(data), cpu=True))
    folder = next((mean / "eval").iterdir())
    with pytest.raises(UsageError, match="exists already"):  # eval would write the same folder
        finish(evaluate(str(mean), str(data), cpu=True))
    scored, _ = finish(evaluate(str(mean), str(data), cpu=True, name="again"))
    assert scored["metrics"] == result["metrics"] and scored["ci95"] == result["ci95"]
    assert (folder / "predictions.jsonl").read_bytes() == (mean / "eval/again/predictions.jsonl").read_bytes()
    compared, _ = finish(compare(str(folder), scored["output"]))
    assert compared["differences"]["f1"] == 0


def test_what_has_no_mean_is_refused(runs: Path, moved: Callable[..., str], finish: Finish, tmp_path: Path) -> None:
    qa, output = str(runs / "1-qa"), tmp_path / "mean"

    def refused(*names: str) -> str:
        with pytest.raises((ModelError, UsageError)) as caught:
            finish(average(names, output=output))
        assert not output.exists() and not list(tmp_path.glob(".tmp*"))
        return f"{caught.value.message}: {caught.value.hint}"

    assert "at least two" in refused(qa)
    assert "the same weights" in refused(qa, str(runs / "1-qa" / "model"))
    alias = tmp_path / "alias"
    shutil.copytree(runs / "1-qa" / "model", alias)
    assert "the same weights" in refused(qa, str(alias))
    folds = tmp_path / "folds"
    folds.mkdir()
    (folds / "cv.json").write_text("{}", encoding="utf-8")
    assert "fold-*" in refused(qa, str(folds))
    assert "average runs of one task" in refused(qa, str(runs / "2-nli"))
    tiny_models.save("roberta", tmp_path / "other", "AutoModelForQuestionAnswering")
    shutil.copy(runs / "1-qa" / "model" / "hfkit.json", tmp_path / "other")
    assert "not of one shape" in refused(qa, str(tmp_path / "other"))
    turned = moved("3-two", 0.01, seed=1, id2label={"0": "1", "1": "0"}, label2id={"1": 0, "0": 1})
    assert "id2label" in refused(str(runs / "3-two"), turned)
    spelt = Path(moved("1-qa", 0.01, seed=2))
    content = (spelt / "tokenizer.json").read_text(encoding="utf-8")
    assert '"river"' in content
    (spelt / "tokenizer.json").write_text(content.replace('"river"', '"rivet"'), encoding="utf-8")
    assert "different tokenizers" in refused(qa, str(spelt))
    finish(ensemble([str(runs / "3-two"), turned], output=tmp_path / "both", equal=True))
    assert "ensemble" in refused(str(tmp_path / "both"), str(runs / "3-two"))


def test_flags_without_effect_are_refused(runs: Path, finish: Finish, tmp_path: Path) -> None:
    members = [str(runs / "1-qa"), str(runs / "2-nli")]
    for given in (
        {"limit": 3},
        {"cpu": True},
        {"overrides": ["data.limit=3"]},
        {"overrides": ["train.precision=float32"]},
    ):
        with pytest.raises(UsageError, match="without --data"):
            finish(average(members, output=tmp_path / "mean", **given))


def test_models_that_did_not_begin_from_one_are_doubted(
    runs: Path, moved: Callable[..., str], finish: Finish, tmp_path: Path
) -> None:
    _, events = finish(average([str(runs / "1-qa"), moved("1-qa", 1.0, seed=1)], output=tmp_path / "mean"))
    warnings = [event.fields["text"] for event in events if event.kind == "warning"]
    assert len(warnings) == 1 and "knows nothing" in warnings[0]


def test_only_a_mean_is_overwritten_and_only_by_a_whole_one(
    runs: Path, moved: Callable[..., str], write: Write, finish: Finish, tmp_path: Path
) -> None:
    qa, near, output = str(runs / "1-qa"), moved("1-qa", 0.01, seed=1), tmp_path / "mean"
    with pytest.raises(UsageError, match="holds something"):
        finish(average([qa, near], output=runs / "1-qa", overwrite=True))
    finish(average([qa, near], output=output))
    before = weights_of(output)
    with pytest.raises(UsageError, match="not empty"):
        finish(average([qa, near], output=output))
    with pytest.raises(UsageError, match="would be overwritten"):
        finish(average([str(output), near], output=output, overwrite=True))
    data = write("bare.jsonl", [{"question": "who?", "context": "the river"}])
    with pytest.raises(DataError):
        finish(average([qa, moved("1-qa", 0.02, seed=2)], output=output, data=str(data), overwrite=True))
    assert set(weights_of(output)) == set(before)
    torch.testing.assert_close(weights_of(output), before, rtol=0, atol=0)
    finish(average([qa, moved("1-qa", 0.03, seed=3)], output=output, overwrite=True))
    assert not torch.equal(weights_of(output)["qa_outputs.bias"], before["qa_outputs.bias"])


def test_other_settings_are_told(runs: Path, moved: Callable[..., str], finish: Finish, tmp_path: Path) -> None:
    other = Path(moved("1-qa", 0.01, seed=1))
    saved = json.loads((other / "hfkit.json").read_text(encoding="utf-8"))
    saved["settings"]["max_answer_length"] = 5
    (other / "hfkit.json").write_text(json.dumps(saved), encoding="utf-8")
    _, events = finish(average([str(runs / "1-qa"), str(other)], output=tmp_path / "mean"))
    assert any("max_answer_length 8 and 5" in event.fields["text"] for event in events if event.kind == "note")
    kept = json.loads((tmp_path / "mean" / "model" / "hfkit.json").read_text(encoding="utf-8"))
    assert kept["settings"]["max_answer_length"] == 8


def units(folder: str | Path, **settings: Any) -> str:
    """The model in a folder with other settings in its hfkit.json."""
    path = Path(folder) / "hfkit.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved["settings"] |= settings
    path.write_text(json.dumps(saved), encoding="utf-8")
    return str(folder)


def test_each_model_is_scored_by_its_own_settings(
    moved: Callable[..., str], questions: list[dict[str, Any]], write: Write, finish: Finish, tmp_path: Path
) -> None:
    """The first is left out: its answers are empty. What is reported is what the model that is written scores."""
    data, mean = write("dev.jsonl", questions), tmp_path / "mean"
    mute = units(moved("1-qa", 3.0, seed=1), max_answer_length=1)
    members = [mute, moved("1-qa", 0.001, seed=2), units(moved("1-qa", 0.001, seed=3), max_answer_length=6)]
    result, _ = finish(average(members, output=mean, data=str(data), cpu=True))
    for one in result["members"]:
        alone, _ = finish(evaluate(one["name"], str(data), cpu=True, name="alone", overwrite=True))
        assert one["metrics"] == alone["metrics"]
    kept = [name for name in members if any(m["averaged"] for m in result["members"] if m["name"] == name)]
    saved = json.loads((mean / "model" / "hfkit.json").read_text(encoding="utf-8"))
    first = json.loads((Path(kept[0]) / "hfkit.json").read_text(encoding="utf-8"))
    assert saved["average_of"] == kept
    assert saved["settings"]["max_answer_length"] == first["settings"]["max_answer_length"]
    scored, _ = finish(evaluate(str(mean), str(data), cpu=True, name="again"))
    assert scored["metrics"] == result["metrics"]
    for name, value in weights_of(mean).items():
        torch.testing.assert_close(value, sum(weights_of(one)[name] for one in kept) / len(kept))


def test_numbers_in_different_units_have_no_mean(
    runs: Path, moved: Callable[..., str], finish: Finish, tmp_path: Path
) -> None:
    other = units(moved("5-one", 0.01, seed=1), mean=[3.5], std=[2.0])
    for keys in ([], ["classify.mean=[1]", "classify.std=[1]"]):
        with pytest.raises(ModelError, match="different units"):
            finish(average([str(runs / "5-one"), other], output=tmp_path / "mean", overrides=keys))
    finish(average([str(runs / "5-one"), moved("5-one", 0.01, seed=2)], output=tmp_path / "mean"))


def test_a_mean_of_no_number_is_not_taken(
    moved: Callable[..., str], write: Write, finish: Finish, tmp_path: Path
) -> None:
    data = write("dev.jsonl", [{"text": "the small river runs behind the old mill " * 12}])
    wild = [moved("7-lm", 1000.0, seed=seed) for seed in (1, 2)]
    result, _ = finish(
        average([*wild, moved("7-lm", 0.001, seed=3)], output=tmp_path / "mean", data=str(data), cpu=True)
    )
    assert [one["averaged"] for one in result["members"]] == [True, False, False]
    assert result["members"][-1]["metrics"][result["metric"]] > 1e9
    facts = json.loads((tmp_path / "mean" / "run.json").read_text(encoding="utf-8"))
    assert facts["model"] == "average of 1"


def test_halves_stay_halves(moved: Callable[..., str], finish: Finish, tmp_path: Path) -> None:
    members = [moved("1-qa", 0.01, seed=seed, dtype="float16") for seed in (1, 2)]
    for member in members:
        path = Path(member) / "model.safetensors"
        save_file({name: value.half() for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    finish(average(members, output=tmp_path / "mean"))
    assert {value.dtype for value in weights_of(tmp_path / "mean").values()} == {torch.float16}


def test_the_folder_itself_is_never_renamed(
    runs: Path, moved: Callable[..., str], finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the one that a shell stands in, or what a link names."""
    qa, near = str(runs / "1-qa"), moved("1-qa", 0.01, seed=1)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    finish(average([qa, near], output=tmp_path / "link"))
    assert (tmp_path / "link").is_symlink() and {path.name for path in (tmp_path / "real").iterdir()} == {
        "model",
        "run.json",
    }
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    finish(average([qa, near], output=Path()))
    finish(average([qa, near], output=Path(), overwrite=True))
    assert {path.name for path in Path.cwd().iterdir()} == {"model", "run.json"}


def test_an_interrupt_leaves_the_older_mean(
    runs: Path, moved: Callable[..., str], finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qa, output = str(runs / "1-qa"), tmp_path / "mean"
    finish(average([qa, moved("1-qa", 0.01, seed=1)], output=output))
    before = (output / "model" / "model.safetensors").read_bytes()

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    rename = os.rename

    def until(part: str) -> Callable[[Path, Path], None]:
        """os.rename, but for the part in its new place."""

        def renamed(source: Path, target: Path) -> None:
            new = Path(source).parent.name.startswith(".average") and Path(target).name == part
            if new and Path(target).parent in (output, tmp_path / "new"):
                monkeypatch.setattr(os, "rename", rename)  # what follows puts things back
                raise KeyboardInterrupt
            rename(source, target)

        return renamed

    near = moved("1-qa", 0.02, seed=2)
    for broken in ("sync", "model", "run.json"):
        for place in (output, tmp_path / "new"):
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                if broken == "sync":
                    patch.setattr("hfkit.verbs.average.place.sync_tree", interrupted)
                else:
                    patch.setattr(os, "rename", until(broken))
                finish(average([qa, near], output=place, overwrite=True))
    assert (output / "model" / "model.safetensors").read_bytes() == before
    assert {path.name for path in output.iterdir()} == {"model", "run.json"} and not (tmp_path / "new").exists()
