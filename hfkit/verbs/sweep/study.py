"""The search itself: optuna's study in a SQLite file of the sweep's folder, so that a sweep that was killed goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from hfkit.errors import DataError, DivergenceError, NetworkError, ResourceError, UsageError
from hfkit.verbs.sweep.space import Axis

if TYPE_CHECKING:
    import optuna

FILE = "sweep.db"
ASIDE, FOLDER = "aside", "folder"  # what the study keeps of a trial: that it does not count; its folder's name
PROBLEM, HINT, CODE = "error", "hint", "code"  # of a trial that failed: the message, what to try, the exit code
AGAIN = "again"  # that a trial was queued a second time, since what it failed by may be over
PASSING = (ResourceError.code, NetworkError.code)  # a full disk, a Hub that is down: not of the values alone
LOCKED_SECONDS = 60  # that a process waits for another to write
FIRST = 4  # finished trials before any is ended early; failed ones, when none is finished, before the search is
HALF = 50  # percent of its steps that a trial has at least


def check_installed() -> None:
    """Raise UsageError without optuna, before anything is loaded."""
    if find_spec("optuna") is None:
        raise UsageError("a sweep needs optuna, which is not installed", "install it with `pip install 'hfkit[sweep]'`")


def folder_of(trial: optuna.trial.Trial | optuna.trial.FrozenTrial) -> str:
    """The name of a trial's folder: of its number, or of the trial that it goes on with."""
    return str(trial.user_attrs.get(FOLDER) or f"trial-{trial.number:03d}")


class Search:
    """Trials asked for and told. A trial's value is its metric, negative where lower is better: more is better here."""

    def __init__(self, folder: Path, axes: Sequence[Axis], *, seed: int) -> None:
        """Open the study in `folder`, or make it. Raises DataError for a damaged one."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            waiting = {"connect_args": {"timeout": LOCKED_SECONDS}}
            storage = optuna.storages.RDBStorage(f"sqlite:///{folder / FILE}", engine_kwargs=waiting)
            self.study = optuna.create_study(
                storage=storage, study_name="sweep", direction="maximize", load_if_exists=True
            )
            begun = len(self.study.trials)
        except Exception as error:  # of SQLAlchemy, which is optuna's own affair
            problem = f"{folder / FILE}: cannot be read ({error})"[:300]
            raise DataError(problem, "start again with --overwrite") from error
        # Seeded by what was drawn before: a sweep that goes on does not draw the same again.
        self.study.sampler = optuna.samplers.TPESampler(seed=seed + begun, n_startup_trials=max(FIRST, 2 * len(axes)))
        self.axes, self.folder = axes, folder

    def plan(self, grid: Sequence[Mapping[str, str]]) -> None:
        """Queue every combination of a grid, once."""
        whole = {axis.key for axis in self.axes if axis.whole}
        for values in grid:
            typed = {key: int(value) if key in whole else value for key, value in values.items()}
            self.study.enqueue_trial(typed, skip_if_exists=True)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All trials that have begun, in their order, without those not wanted, or gone on with by a later one."""
        import optuna

        every = self.study.trials
        last = {folder_of(trial): trial.number for trial in every}
        waiting = optuna.trial.TrialState.WAITING
        return [
            trial
            for trial in every
            if trial.state != waiting and not trial.user_attrs.get(ASIDE) and last[folder_of(trial)] == trial.number
        ]

    def refused(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that failed by an error, but for those that diverged: the recipe, the data or the machine."""
        codes = ((trial, trial.user_attrs.get(CODE)) for trial in self.trials)
        return [trial for trial, code in codes if code not in (None, DivergenceError.code)]

    def requeue(self) -> None:
        """Queue again, to go on in its folder, what was running when a sweep was stopped, and once what failed by
        something that may be over. Nobody else may be at work.
        """
        import optuna

        for trial in self.trials:
            again = bool(trial.user_attrs.get(AGAIN))
            if trial.state == optuna.trial.TrialState.FAIL and trial.user_attrs.get(CODE) in PASSING and not again:
                self.study.enqueue_trial(trial.params, user_attrs={FOLDER: folder_of(trial), AGAIN: True})
            elif trial.state == optuna.trial.TrialState.RUNNING:
                # What of a queued combination was not yet drawn when the process was killed stands there alone.
                values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
                self.study.enqueue_trial(values, user_attrs={FOLDER: folder_of(trial), AGAIN: again})
                self.tell(optuna.trial.Trial(self.study, trial._trial_id), "failed", **{ASIDE: True})

    def ask(self, most: int | None) -> tuple[optuna.trial.Trial, dict[str, str]] | None:
        """The next trial and its values; None when other processes began as many as there may be at the same time."""
        trial = self.study.ask()
        before = sum(1 for other in self.trials if other.number < trial.number)
        if most is not None and before >= most:
            self.tell(trial, "failed", **{ASIDE: True})
            return None
        return trial, self.values(trial)

    def values(self, trial: optuna.trial.Trial) -> dict[str, str]:
        """The values of a trial as a command line has them; those that it has already, or drawn now."""
        found = {}
        for axis in self.axes:
            if axis.values:
                found[axis.key] = str(trial.suggest_categorical(axis.key, axis.values))
            elif axis.whole:
                found[axis.key] = str(trial.suggest_int(axis.key, int(axis.low), int(axis.high), log=axis.log))
            else:
                found[axis.key] = repr(trial.suggest_float(axis.key, axis.low, axis.high, log=axis.log))
        return found

    def same_before(self, trial: optuna.trial.Trial) -> optuna.trial.FrozenTrial | None:
        """A finished trial with the same values, which a repetition would equal bit by bit."""
        return next((t for t in self.complete() if t.params == trial.params and t.number != trial.number), None)

    def complete(self) -> list[optuna.trial.FrozenTrial]:
        """The trials that ran to their end."""
        import optuna

        return [trial for trial in self.study.trials if trial.state == optuna.trial.TrialState.COMPLETE]

    def hopeless(self, trial: optuna.trial.Trial, percent: int, best: float) -> bool:
        """Whether a trial with the best value `best` after so many percent of its steps should end here.

        It should where half of the finished trials had more by then (Golovin et al. 2017). Evaluations come at other
        points where epochs differ, so values up to the same share of a trial's steps are compared.
        """
        if percent < HALF or percent >= 100:
            return False
        others = [[v for step, v in t.intermediate_values.items() if step <= percent] for t in self.complete()]
        had = [max(values) for values in others if values]
        return len(had) >= FIRST and best < median(had)

    def tell(self, trial: optuna.trial.Trial, state: str, value: float | None = None, **facts: Any) -> None:
        """How a trial ended: `done` with its value, `pruned` or `failed`."""
        import optuna

        for name, fact in facts.items():
            trial.set_user_attr(name, fact)
        states = {
            "done": optuna.trial.TrialState.COMPLETE,
            "pruned": optuna.trial.TrialState.PRUNED,
            "failed": optuna.trial.TrialState.FAIL,
        }
        self.study.tell(trial, value if state == "done" else None, states[state])
