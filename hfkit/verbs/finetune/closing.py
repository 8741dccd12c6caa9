"""The end of a run: the best weights in model/, scores beside those before, one row answered, what to type next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfkit.errors import ModelError
from hfkit.events import Event, warning
from hfkit.files import remove_folder
from hfkit.run import Run, shown_path
from hfkit.tasks.base import Row, Task, example_fields
from hfkit.verbs.finetune.ready import Ready

if TYPE_CHECKING:
    from hfkit.verbs.finetune.fit import Fit

FEW_ROWS = 1_000
FEW_TOKENS = 1_000_000  # of running text, where a row is a block
SCORES = ("metrics", "ci95", "ci95_method", "rows", "definitions", "before")


def finish(fit: Fit, run: Run) -> Iterator[Event]:
    """Write the best weights to model/, by plain save_pretrained and one rename; their evaluation is that in eval/."""
    from hfkit.engine.packing import plain
    from hfkit.engine.shard import whole_weights
    from hfkit.models import load_model, locate, save_model
    from hfkit.models.manifest import problem_of, step_name

    ready, best = fit.ready, fit.validation.best
    model: Any = plain(fit.training.bare)
    weights = whole_weights(model, keep=ready.place.world.main)
    if ready.place.world.main:
        if best is not None and best["step"] != fit.step:
            folder = run.checkpoints / step_name(best["step"])
            if problem := problem_of(folder, named=True):
                raise ModelError(
                    f"{folder}, the best checkpoint: {problem}",
                    "add --resume to the command: what is lost is done again",
                )
            kept = locate(str(folder))
            weights = None
            model, _ = load_model(kept, ready.task.head, model_config=ready.task.model_config(), fresh_head="refuse")
        remove_folder(run.model)  # of a run that was killed after this point
        save_model(model, ready.tokenizer, run.model, ready.saved, weights=weights)
        yield Event("saved", {"what": "model", "path": str(run.model)}, step=fit.step)
        yield from fit.validation.settle(run)
    ready.place.barrier()


def closing(ready: Ready, run: Run, result: Mapping[str, Any]) -> Iterator[Event]:
    """The best scores, one validation row as the best checkpoint answered it, and a warning about little data."""
    if result.get("metrics"):
        yield Event("scored", {"name": "validation", **{k: result[k] for k in SCORES if result.get(k)}})
    item = example(ready.task, ready.validation_rows, run)
    if item:
        yield Event("answered", {"items": [item]})
    few = little_data(ready)
    if few:
        yield warning(few)


def little_data(ready: Ready) -> str:
    """A sentence when there was too little to learn much from; empty otherwise."""
    tokens = int(ready.train.lengths.sum())
    if ready.task.blocks and tokens < FEW_TOKENS:
        return f"trained on {tokens:,} tokens: so little data gives a weak model"
    rows = len(ready.train_rows)
    if not ready.task.blocks and rows < FEW_ROWS:
        return f"trained on {rows:,} rows: so little data gives a weak model"
    return ""


def example(task: Task, rows: Any, run: Run) -> dict[str, Any]:
    """The first validation row and what was predicted for it; empty where a row is a block of text."""
    path = run.path / "eval" / "validation" / "predictions.jsonl"
    if task.blocks or not len(rows) or not path.exists():
        return {}
    with path.open(encoding="utf-8") as lines:
        prediction = json.loads(next(lines, "{}"))
    row: Row = rows[0]
    inputs = {c.name: row[c.name] for c in task.columns if not c.gold and c.name in row}
    gold = {f"gold {c.name}": row[c.name] for c in task.columns if c.gold and row.get(c.name) is not None}
    return {**inputs, **gold, **prediction}


def next_commands(run: Run, ready: Ready) -> list[str]:
    """What the user may type now."""
    shown = shown_path(run.path)
    if ready.task.head == "causal-lm" and ready.task.blocks:
        return [f"hfkit generate {shown} {shlex.quote(opening(ready.validation_rows))}"]
    if ready.task.head == "masked-lm":
        return [f"hfkit finetune nli --train FILE --model {shown}", f"hfkit eval {shown} --data FILE"]
    return [f"hfkit predict {shown} {example_fields(ready.task)}", f"hfkit eval {shown} --data FILE"]


def opening(rows: Iterable[Row], most: int = 24) -> str:
    """The first words of a text, to be continued: its first line that says something, cut at a word."""
    line = next((line for row in rows for line in row["text"].splitlines() if line.strip()), "Once upon a time").strip()
    if len(line) <= most:
        return line
    cut = line[:most].rsplit(" ", 1)
    return cut[0] if len(cut) > 1 and cut[0].strip() else line[:most]
