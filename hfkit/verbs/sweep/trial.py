"""One run of a sweep: an ordinary fine-tuning in a folder of its own, which may end early when it has no prospects."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfkit.errors import DivergenceError, HfkitError, ResourceError, Stopped
from hfkit.events import Event
from hfkit.files import remove_folder
from hfkit.recipe import Recipe
from hfkit.run import Run
from hfkit.verbs.finetune import finetune

Watch = Callable[[int, float], bool]  # (percent of the steps done, value) -> whether to end here


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `done`, `pruned`, `failed` (by `error`) or `late` (the time was up)."""

    state: str
    metrics: dict[str, float]
    metric: str | None = None
    better: str = "higher"
    seconds: float = 0.0
    ci95: list[float] | None = None
    error: HfkitError | None = None

    @property
    def value(self) -> float:
        """The metric, negative where lower is better."""
        assert self.metric is not None
        return signed(self.metrics[self.metric], self.better)


def signed(value: float, better: str) -> float:
    """A metric as the search sees it: more is better."""
    return -value if better == "lower" else value


def run(
    recipe: Recipe,
    folder: Path,
    *,
    watch: Watch | None = None,
    until: float | None = None,
    cpu: bool,
    offline: bool,
) -> Generator[Event, None, Outcome]:
    """Train `recipe` in `folder`, or go on there; yields what moves a bar, and scores on the way.

    `watch` hears of each evaluation; `until` is the time (seconds since the epoch) at which the run is left. Of a run
    that ended checkpoints are removed, model/ stays. Raises Stopped; other errors, also of memory, are how the run
    ended.
    """
    begun, steps = time.time(), 0
    failure: HfkitError | None = None
    state, result = "done", dict[str, Any]()
    work = finetune(recipe, output=folder, resume=True, cpu=cpu, processes=1, offline=offline)
    try:
        with closing(work) as events:
            for event in events:
                steps = int(event.fields.get("steps") or steps)
                if event.kind == "result":
                    result = dict(event.fields)
                elif event.kind in ("progress", "step", "scored") and (event.kind != "scored" or event.step):
                    yield event
                if event.kind == "scored" and event.step and watch is not None and steps:
                    facts = Run(folder).facts()
                    value = signed(event.fields["metrics"][facts["metric"]], facts["better"])
                    if watch(round(100 * event.step / steps), value):
                        state = "pruned"
                        break
                if until is not None and time.time() > until and event.kind in ("step", "progress"):
                    state = "late"
                    break
    except Stopped:
        raise
    except HfkitError as error:
        state, failure = "failed", error
    except (RuntimeError, MemoryError) as error:  # of an evaluation, down to one row at a time
        failure = of_memory(error)
        state = "failed"
    facts = Run(folder).facts()
    if state in ("done", "pruned"):
        remove_folder(folder / "checkpoints")
    if state == "pruned":
        Run(folder).update(status=state)
    metric = facts.get("metric")
    ci95 = (result.get("ci95") or {}).get(metric)
    return Outcome(
        state, result.get("metrics") or {}, metric, facts.get("better", "higher"), time.time() - begun, ci95, failure
    )


def of_memory(error: Exception) -> ResourceError:
    """The error of a run that had too little memory; raises any other error again."""
    from hfkit.engine.memory import out_of_memory

    if not out_of_memory(error):
        raise error
    return ResourceError(f"out of memory: {str(error).partition(chr(10))[0]}", "shorten the rows, or take less")


def why(error: HfkitError | None) -> str:
    """How a failed run is spoken of."""
    return "it diverged" if error is None or isinstance(error, DivergenceError) else f"it failed: {error.message}"
