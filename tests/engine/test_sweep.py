"""Sweeps of tiny runs: the winner named and runnable, pruning, going on after a stop, the noise of seeds."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import engine_helpers as helpers
import pytest
import torch

from hfkit.errors import DivergenceError, Stopped
from hfkit.recipe.load import build
from hfkit.verbs.sweep import search, study, trial
from hfkit.verbs.sweep.search import Budget
from hfkit.verbs.sweep.study import Search, folder_of
from hfkit.verbs.sweep.trial import Outcome

Command = Callable[..., list[str]]


def sweeping(command: Command, output: Path, *words: str, **train: object) -> list[str]:
    """The arguments of a sweep over the small data."""
    given = command(output, **train)
    keys = {"--train": "data.train", "--validation": "data.validation", "--model": "model"}
    words = (*words, *(f"{keys[flag]}={given[given.index(flag) + 1]}" for flag in keys))
    fixed = [word for word in given if word.startswith("train.") and not word.startswith("train.lr=")]
    return ["sweep", given[1], *words, *fixed, "-o", str(output), "--cpu"]


def test_a_grid_names_its_winner_whose_recipe_runs(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    words = sweeping(command, folder, "train.lr=1e-6,0.003", max_steps=6)
    code, result, err = helpers.call([*words, "--noise-seeds", "2"])
    assert code == 0, err
    assert [t["state"] for t in result["trials"]] == ["done"] * 2 and "every combination" in err
    scores = [t["score"] for t in result["trials"]]
    assert scores == sorted(scores, reverse=True) and result["metric"] == "accuracy"
    assert result["best"]["values"]["train.lr"] == "0.003" and scores[0] > scores[-1]
    assert sorted(p.name for p in folder.glob("trial-*")) == ["trial-000", "trial-001"]
    assert not list(folder.glob("trial-*/checkpoints")) and len(list(folder.glob("trial-*/model"))) == 2
    noise = result["noise"]
    assert len(noise["winner"]["each"]) == len(noise["default"]["each"]) == 2 and noise["sentence"] in err
    seeds = sorted(p.name for p in (folder / "seeds").iterdir())
    assert seeds == ["default-43", "default-44", "trial-001-43", "trial-001-44"]
    assert json.loads((folder / "run.json").read_text("utf-8"))["status"] == "done"
    assert "<svg" in (folder / "sweep.svg").read_text("utf-8")
    winner = Path(result["winner"])
    assert winner.read_text("utf-8").startswith("# hfkit finetune ")
    code, again, err = helpers.call(["finetune", str(winner), "-o", str(tmp_path / "again"), "--cpu"])
    assert code == 0, err
    assert helpers.weights(tmp_path / "again" / "model") == helpers.weights(Path(result["best"]["run"]) / "model")
    assert again["metrics"] == result["best"]["metrics"]
    code, listed, _ = helpers.call(["runs", "show", str(folder)])
    assert code == 0 and listed["run"]["headline"]["value"] == scores[0]
    from hfkit.report.sweep import sweep_text

    shown = sweep_text(result)
    assert shown.count("#" * 24) >= 1 and "winner: trial" in shown and "new seeds" in shown


def test_a_sweep_that_was_stopped_goes_on_where_it_was(command: Command, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "sweep"
    words = [*sweeping(command, folder, "train.lr=1e-6,0.003,0.001", max_steps=4), "--noise-seeds", "0"]
    honest, begun = search.run, []

    def stopping(recipe, place, **how):
        begun.append(place.name)
        if len(begun) == 2:
            raise Stopped("stopped by SIGTERM", code=143)
        return (yield from honest(recipe, place, **how))

    monkeypatch.setattr(search, "run", stopping)
    assert helpers.call(words)[0] == 143
    assert json.loads((folder / "run.json").read_text("utf-8"))["status"] == "interrupted"
    assert helpers.call(words)[0] == 2, "not empty"
    code, other, _ = helpers.call([*(w.replace("0.003", "0.002") for w in words), "--resume"])
    assert code == 2 and "another recipe or values" in other["error"]["message"]
    code, result, err = helpers.call([*words, "--resume"])
    assert code == 0, err
    assert begun == ["trial-000", "trial-001", "trial-002", "trial-001"], "nothing is done twice"
    runs = {Path(t["run"]).name: t["values"]["train.lr"] for t in result["trials"]}
    assert runs == {"trial-000": "1e-6", "trial-001": "0.003", "trial-002": "0.001"}
    assert result["noise"] is None and "was not measured" in err
    code, done, _ = helpers.call([*words, "--resume"])
    assert code == 0 and done["trials"] == result["trials"] and len(begun) == 4


def test_a_killed_sweep_ends_with_the_trials_of_one_that_was_not(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    words = sweeping(command, folder, "train.lr=0.001,0.003", max_steps=8, save_steps=2)
    words += ["--noise-seeds", "0"]
    process = helpers.start(words, tmp_path / "killed")
    while process.is_alive() and not list(folder.glob("trial-001/checkpoints/*")):
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, (tmp_path / "killed.err").read_text("utf-8")
    code, result, err = helpers.call([*words, "--resume"])
    assert code == 0, err
    assert [t["state"] for t in result["trials"]] == ["done", "done"]
    assert sorted(p.name for p in folder.glob("trial-*")) == ["trial-000", "trial-001"]
    found = {t["values"]["train.lr"]: helpers.weights(Path(t["run"]) / "model") for t in result["trials"]}
    code, _, err = helpers.call(command(tmp_path / "plain", max_steps=8, save_steps=2, lr=0.003))
    assert code == 0, err
    assert found["0.003"] == helpers.weights(tmp_path / "plain" / "model")


def test_a_trial_that_cannot_be_trained_is_shown_and_not_tried_again(command: Command, tmp_path: Path) -> None:
    words = sweeping(command, tmp_path / "sweep", max_steps=2)
    model = next(word for word in words if word.startswith("model="))
    words[words.index(model)] = f"model={tmp_path}/none,{model.removeprefix('model=')}"
    words += ["--noise-seeds", "0"]
    code, result, err = helpers.call(words)
    assert code == 0, err
    assert [(t["state"], t["number"]) for t in result["trials"]] == [("done", 1), ("failed", 0)]
    reason = result["trials"][1]["error"]
    assert "none" in reason and f"trial 0: it failed: {reason}" in err
    from hfkit.report.sweep import sweep_text

    assert f"trial 0: {reason}"[:60] in sweep_text(result)
    code, again, err = helpers.call([*words, "--resume"])
    assert code == 0 and again["trials"] == result["trials"] and "it failed" not in err
    words = [*words[:-2], "--noise-seeds", "0", "--overwrite"]
    words[words.index(next(word for word in words if word.startswith("model=")))] = f"model={tmp_path}/none,./neither"
    code, result, _ = helpers.call(words)
    assert code == 4 and "no trial came to its end; the last: " in result["error"]["message"]


def test_what_may_be_over_is_tried_once_more(tmp_path: Path) -> None:
    from hfkit.verbs.sweep.space import axis_of

    axes = [axis_of("train.seed=1,2,3")]
    found = Search(tmp_path, axes, seed=0)
    found.plan([{"train.seed": value} for value in "123"])
    for code in (5, 4, 7):
        found.tell(found.ask(None)[0], "failed", code=code, error="a reason")
    for queued in (["trial-000", "trial-002"], []):
        again = Search(tmp_path, axes, seed=0)
        again.requeue()
        taken = []
        while len(taken) < len(queued):
            trial, values = again.ask(3)
            taken.append(folder_of(trial))
            assert values["train.seed"] == ("1" if taken[-1] == "trial-000" else "3")
            again.tell(trial, "failed", code=5, error="a reason")
        assert taken == queued and again.ask(3) is None and len(again.trials) == 3


def test_values_of_a_range_are_drawn(command: Command, tmp_path: Path) -> None:
    words = sweeping(command, tmp_path / "sweep", "train.lr=1e-5..1e-2", max_steps=2)
    code, found, _ = helpers.call(words)
    assert code == 2 and "how long to search" in found["error"]["message"]
    code, result, err = helpers.call([*words, "--trials", "2", "--noise-seeds", "0"])
    assert code == 0, err
    rates = [float(t["values"]["train.lr"]) for t in result["trials"]]
    assert len(set(rates)) == 2 and all(1e-5 <= rate <= 1e-2 for rate in rates) and "TPE" in err


def test_trials_without_prospects_end_early(tmp_path: Path) -> None:
    from hfkit.verbs.sweep.space import axis_of

    found = Search(tmp_path, [axis_of("train.lr=1e-5..1e-2")], seed=0)
    for value in (50.0, 60.0, 70.0, 80.0):
        trial, _ = found.ask(None)
        trial.report(value - 20, 33)
        trial.report(value, 66)
        found.tell(trial, "done", value, seconds=1.0)
    trial, _ = found.ask(None)
    assert not found.hopeless(trial, 33, 0.0), "too early to say"
    assert not found.hopeless(trial, 50, 46.0), "by then the others had 30 to 60"
    assert found.hopeless(trial, 66, 64.0) and not found.hopeless(trial, 66, 66.0)
    assert not found.hopeless(trial, 100, 0.0), "at its end there is nothing to save"
    again = Search(tmp_path, [axis_of("train.lr=1e-5..1e-2")], seed=0)
    again.requeue()
    assert len(again.trials) == 4, "what ran when a sweep was killed is queued again"
    taken, values = again.ask(5)
    assert folder_of(taken) == "trial-004" and values["train.lr"] == repr(trial.params["train.lr"])
    assert again.ask(5) is None and len(again.trials) == 5, "no more than there may be"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sweep.db").write_bytes(b"no database" * 100)
    from hfkit.errors import DataError

    with pytest.raises(DataError, match="sweep.db: cannot be read"):
        Search(tmp_path / "broken", [], seed=0)


def test_equal_values_are_not_trained_twice(tmp_path: Path) -> None:
    from hfkit.verbs.sweep.space import axis_of

    found = Search(tmp_path, [axis_of("train.seed=1,2")], seed=0)
    for value in ("1", "2", "1"):
        found.study.enqueue_trial({"train.seed": value})
    first, _ = found.ask(None)
    found.tell(first, "done", 1.0)
    second, _ = found.ask(None)
    assert found.same_before(second) is None
    again = found.same_before(found.ask(None)[0])
    assert again is not None and again.number == first.number


def test_a_pruned_run_says_so(command: Command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Search, "hopeless", lambda self, trial, percent, best: trial.number == 1)
    words = sweeping(command, tmp_path / "sweep", "train.lr=0.003,1e-6", max_steps=4, eval_steps=2)
    code, result, err = helpers.call([*words, "--noise-seeds", "0"])
    assert code == 0, err
    assert [t["state"] for t in result["trials"]] == ["done", "pruned"] and "half of the others were better" in err
    assert json.loads((tmp_path / "sweep" / "trial-001" / "run.json").read_text("utf-8"))["status"] == "pruned"


def test_the_time_keeps_room_for_the_seeds() -> None:
    now = time.time()
    assert Budget(None, now + 100, 6).lasts(3, [10.0]) and not Budget(None, now + 60, 6).lasts(3, [10.0])
    assert not Budget(3, None, 0).lasts(3, []) and Budget(None, now, 6).lasts(0, [])


def test_several_processes_share_the_trials(command: Command, tmp_path: Path, monkeypatch) -> None:
    said: list[list[str]] = []

    def one_after_another(jobs, slots):
        """The commands of the processes, run here: starting them is tested with the jobs."""
        assert len(slots) == 2
        for job in jobs:
            said.append([word for word in job.arguments if word != "--json"])
            code, answer, err = helpers.call(said[-1])
            assert code == 0, err
            yield job, answer

    monkeypatch.setattr("hfkit.engine.processes.jobs.run_jobs", one_after_another)
    words = sweeping(command, tmp_path / "sweep", "train.lr=0.003,1e-6", max_steps=2)
    code, result, err = helpers.call([*words, "--noise-seeds", "2", "--processes", "2"])
    assert code == 0, err
    assert [t["state"] for t in result["trials"]] == ["done", "done"] and "2 trials at once" in err
    assert sorted(Path(t["run"]).name for t in result["trials"]) == ["trial-000", "trial-001"]
    assert [each[0] for each in said] == ["sweep"] * 2 + ["finetune"] * 4
    assert all("--worker" in each and "train.lr=0.003,1e-6" in each for each in said[:2])
    assert len(result["noise"]["winner"]["each"]) == 2


def test_a_combination_killed_while_its_values_were_taken_is_queued_whole(tmp_path: Path) -> None:
    from hfkit.verbs.sweep.space import axis_of

    axes = [axis_of("train.lr=0.1,0.2"), axis_of("train.epochs=1,2")]
    found = Search(tmp_path, axes, seed=0)
    grid = [{"train.lr": lr, "train.epochs": epochs} for lr in ("0.1", "0.2") for epochs in ("1", "2")]
    found.plan(grid)
    trial = found.study.ask()
    trial.suggest_categorical("train.lr", axes[0].values)
    again = Search(tmp_path, axes, seed=0)
    again.requeue()
    again.plan(grid)
    taken = [again.ask(None) for _ in grid]
    assert sorted(values["train.epochs"] + values["train.lr"] for _, values in taken if values) == sorted(
        each["train.epochs"] + each["train.lr"] for each in grid
    )


def test_the_seeds_of_another_winner_have_runs_of_their_own(tmp_path: Path, monkeypatch) -> None:
    """A sweep that goes on may find another; on several devices a run that diverges costs no other run its place."""
    recipe = build({"task": "classify"})
    places: list[str] = []

    def trained(recipe, place, **how):
        places.append(place.name)
        return Outcome("done", {"accuracy": 50.0 + len(places)}, "accuracy")
        yield

    def diverging(jobs, slots):
        raise DivergenceError("the loss is not finite")
        yield

    monkeypatch.setattr(search, "run", trained)
    monkeypatch.setattr("hfkit.engine.processes.jobs.run_jobs", diverging)
    how = search.Searching(recipe, tmp_path, None, Budget(4, None, 4), cpu=True, offline=True)  # type: ignore[arg-type]
    for number, slots in ((0, ()), (3, ({}, {}))):
        best = {"number": number, "metric": "accuracy", "better": "higher", "score": 60.0}
        work = search.noise_of(dataclasses.replace(how, slots=slots), recipe, best, 2)
        with pytest.raises(StopIteration) as end:
            while True:
                next(work)
        assert end.value.value["seeds"] == {"winner": 2, "default": 2}
    assert places[:4] == ["trial-000-43", "default-43", "trial-000-44", "default-44"]
    assert places[4:] == ["trial-003-43", "default-43", "trial-003-44", "default-44"]


def test_a_trial_without_memory_fails_alone(tmp_path: Path, monkeypatch) -> None:
    def failing(error: Exception):
        def finetune(*given, **how):
            raise error
            yield

        monkeypatch.setattr(trial, "finetune", finetune)
        work = trial.run(build({"task": "classify"}), tmp_path / "trial-000", cpu=True, offline=True)
        with pytest.raises(StopIteration) as end:
            next(work)
        return end.value.value

    ended = failing(torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nSee"))
    assert ended.state == "failed" and ended.error.message == "out of memory: CUDA out of memory. Tried 2 GiB."
    assert ended.error.code in study.PASSING, "it is tried once more at --resume"
    with pytest.raises(RuntimeError, match="shapes"):
        failing(RuntimeError("shapes do not match"))
