"""What `cv --dry-run` shows: the folds, the plan of a run, what fits the memory there is, how long all runs take."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hfkit.events import Event
from hfkit.verbs.cv.plan import Plan
from hfkit.verbs.finetune import finetune


def rehearsed(
    plan: Plan, items: Mapping[str, str], *, cpu: bool, processes: int | None, offline: bool
) -> Generator[Event, None, None]:
    """Real steps of the largest run are measured, and nothing is kept.

    The result has `plan`, `fold_rows` (of each fold), `runs`, `at_once`, `measured` (of one run, as that of
    `finetune --dry-run`) and `seconds` of all.
    """
    from hfkit.engine.processes.jobs import slots_for
    from hfkit.verbs.finetune.dry import duration

    slots = slots_for(cpu=cpu, processes=processes)
    sizes = [int((plan.numbers == number).sum()) for number in range(plan.folds)]
    folds = {f"fold {number}": f"{size:,} rows held out of {sum(sizes):,}" for number, size in enumerate(sizes)}
    yield Event("plan", {"title": f"{plan.recipe.name}: {plan.folds} folds", "items": {**items, **folds}})
    cells = list(plan.cells(Path()))
    largest = min(cells, key=lambda cell: sizes[cell.fold])  # the fewest rows held out are the most to train on
    with closing(finetune(largest.recipe(plan.recipe), dry_run=True, cpu=cpu, processes=1, offline=offline)) as events:
        result: dict[str, Any] = {}
        for event in events:
            if event.kind == "result":
                result = dict(event.fields)
            else:
                yield event
    seconds = result["measured"]["seconds"] * -(-len(cells) // len(slots))
    at_once = f", {len(slots)} at once" if len(slots) > 1 else ""
    total = {"time": f"about {duration(seconds)} for {len(cells)} runs like fold {largest.fold}{at_once}"}
    yield Event("plan", {"title": "all runs", "items": total})
    yield Event(
        "result",
        {
            "plan": {**items, **result["plan"], **folds, **total},
            "fold_rows": sizes,
            "runs": len(cells),
            "at_once": len(slots),
            "measured": result["measured"],
            "seconds": seconds,
        },
    )
