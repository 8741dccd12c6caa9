"""What `finetune --dry-run` adds to the plan: what fits the memory there is, how long it takes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from hfkit.engine.rehearse import Rehearsal, rehearse
from hfkit.events import Event, note, warning
from hfkit.verbs.finetune.fit import Fit
from hfkit.verbs.finetune.shown import batches_text


def measured(fit: Fit) -> Generator[Event, None, tuple[dict[str, str], dict[str, Any]]]:
    """Items of the plan, and the same as numbers. Raises ResourceError when one example does not fit."""
    yield note("measuring steps, the longest examples first; nothing is kept")
    found = rehearse(fit.training)
    if found.micro_batch_size < found.asked:
        yield warning(
            f"{found.asked} examples at a time do not fit: train with train.micro_batch_size={found.micro_batch_size}, "
            f"which holds as many examples a step ({fit.training.batch_size})"
        )
    seconds = expected_seconds(fit, found)
    rates = found.pace.rates()
    there = f" of {found.memory / 1e9:.1f} GB that there are" if found.memory is not None else ""
    items = {
        "batches": batches_text(fit.training),
        "memory": f"{found.peak / 1e9:.2f} GB{there}, at the longest examples",
        "time": f"about {duration(seconds)}: {found.pace.seconds_per_step():.3g} s a step, "
        f"{rates['rows_per_s']:.3g} examples/s, {rates['tokens_per_s']:,.0f} tokens/s",
    }
    yield Event("plan", {"title": "measured", "items": items})
    return items, {
        "micro_batch_size": found.micro_batch_size,
        "accumulation": found.accumulation,
        "batch_size": fit.training.batch_size,
        "peak_memory_bytes": found.peak,
        "memory_bytes": found.memory,
        "seconds_per_step": found.pace.seconds_per_step(),
        "seconds": seconds,
        **rates,
    }


def expected_seconds(fit: Fit, found: Rehearsal) -> float:
    """Of the whole command: what came before, steps, and evaluations as train.time counts them."""
    evaluation = found.pace.evaluation_seconds(fit.deadline.tokens)
    count = -(-fit.steps // fit.evaluate_every) + int(fit.ready.recipe.train.eval_first)
    total = fit.startup_seconds + fit.steps * found.pace.seconds_per_step() + count * evaluation
    limit = fit.deadline.limit
    return total if limit is None else min(total, limit)


def duration(seconds: float) -> str:
    """Two of hours, minutes and seconds: 2 h 5 min, 3 min 20 s, 12 s."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
