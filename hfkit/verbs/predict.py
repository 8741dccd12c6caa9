"""`hfkit predict`: a trained model answers rows of a file, or one row typed on the command line."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from hfkit.data import describe
from hfkit.data.submission import Submission
from hfkit.data.validators import duplicate_ids, raise_failures
from hfkit.errors import DataError, UsageError
from hfkit.events import Event, note, warning
from hfkit.files import atomic_write
from hfkit.run import json_line, probe_writable, shown_path
from hfkit.tasks.base import Prediction, Task
from hfkit.verbs.trained import answering, find_trained, precision_of, read_rows, throughput


def predict(
    model: str,
    *,
    data: Any = None,
    output: Path | None = None,
    sample: Path | None = None,
    form: str = "jsonl",
    fields: Mapping[str, str] | None = None,
    task: str | None = None,
    overwrite: bool = False,
    cpu: bool = False,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Answer the rows of `data`, or the one row `fields`; gold columns are not read. Raises HfkitError.

    Yields events, last "result" with `rows`, `output`, `throughput`, and without `output` the `predictions`.
    """
    started = time.time()
    precision = precision_of(overrides)
    found, bound, settings = find_trained(model, task, overrides, offline=offline)
    submission = Submission.read(sample) if sample is not None else None
    if submission is not None and output is None:
        raise UsageError("--sample writes a file, but no -o was given", "name the file, as in -o submission.csv")
    source = [one_row(bound, fields)] if fields else data
    rows = read_rows(bound, source, settings, gold=False, limit=None, offline=offline)
    if not fields:
        yield from map(note, describe(rows))
    if submission is not None or form == "squad":
        raise_failures(duplicate_ids(rows, "failure"))
    if submission is not None:
        submission.check_ids(row["id"] for row in rows)
    yield from map(warning, bound.check(rows, training=False))
    if output is not None:
        if output.exists() and not overwrite:
            raise UsageError(f"{output} exists already", "add --overwrite, or choose another file with -o")
        probe_writable(output.absolute().parent)

    begun = time.time()
    work = yield from answering(found, bound, rows, cpu=cpu, precision=precision, check=not fields)
    if not work.place.world.main:
        return
    seconds = time.time() - begun
    result: dict[str, Any] = {"task": work.task.name, "model": found.name, "data": rows.name, "rows": len(rows)}
    if output is None:
        result["predictions"] = list(work.answers)
        yield Event("answered", {"items": result["predictions"]})
    else:
        if submission is not None:
            submission.write(output, list(work.answers))
        else:
            WRITERS[form](output, work.answers)
        result["output"] = str(output.absolute())
        yield Event("saved", {"what": "predictions", "path": shown_path(output)})
    yield Event("result", {**result, "throughput": throughput(work, seconds, time.time() - started)})


def one_row(task: Task, fields: Mapping[str, str]) -> dict[str, str]:
    """A row typed as FIELD=TEXT. Raises UsageError when columns are missing or unknown."""
    asked = [c.name for c in task.columns if not c.gold]
    missing = [c.name for c in task.columns if c.required and not c.gold and c.name not in fields]
    unknown = [name for name in fields if name not in asked]
    if missing or unknown:
        problem = f"missing: {', '.join(missing)}" if missing else f"no such column: {', '.join(unknown)}"
        raise UsageError(
            f"{task.name} reads {', '.join(c for c in asked if c != 'id')}; {problem}",
            "type " + " ".join(f"{c}='...'" for c in asked if c != "id"),
        )
    return {"id": "0", **fields}


def write_jsonl(path: Path, predictions: Iterator[Prediction]) -> None:
    """One object a line."""
    with atomic_write(path) as handle:
        for prediction in predictions:
            handle.write(json_line(prediction))


def write_csv(path: Path, predictions: Iterator[Prediction]) -> None:
    """Columns id and prediction, then a column for each label's probability or each number."""
    first = next(predictions, None)
    if first is None:
        raise DataError("there are no rows to write")
    shares = list(first.get("probabilities") or {})
    numbers = list(first["prediction"]) if isinstance(first["prediction"], Mapping) else []
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["id", *(numbers or ["prediction"]), *shares])
        for item in chain([first], predictions):
            answer = item["prediction"]
            cells = (
                [answer[name] for name in numbers]
                if numbers
                else [" ".join(answer) if isinstance(answer, list) else answer]
            )
            writer.writerow([item["id"], *cells, *((item.get("probabilities") or {}).get(name) for name in shares)])


def write_squad(path: Path, predictions: Iterator[Prediction]) -> None:
    """{id: text}, as the SQuAD scripts read it."""
    with atomic_write(path) as handle:
        json.dump({item["id"]: item["prediction"] for item in predictions}, handle, ensure_ascii=False)


WRITERS = {"jsonl": write_jsonl, "csv": write_csv, "squad": write_squad}
