"""`hfkit predict`: a trained model answers rows of a file, or one row typed on the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.data import describe
from hfkit.data.findings import named, raise_failures
from hfkit.data.predictions import REJECTED, write_predictions, write_rejected
from hfkit.data.submission.table import csv_line
from hfkit.data.validators import duplicate_ids
from hfkit.engine.processes.world import launched
from hfkit.errors import UsageError
from hfkit.events import Event, note, warning
from hfkit.files import atomic_write
from hfkit.run import shown_path
from hfkit.tasks.base import Prediction, Task
from hfkit.verbs.answered import answered
from hfkit.verbs.answering import Reading
from hfkit.verbs.submission import check_file, submission
from hfkit.verbs.trained import find_trained, precision_of, read_rows, with_shots


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
    processes: int | None = None,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Answer the rows of `data`, or the one row `fields`; gold columns are not read. Raises HfkitError.

    With `sample` the file is a submission, as `hfkit submission` writes it.

    Yields events, last "result" with `rows`, `output`, `throughput`, and without `output` the `predictions`.
    """
    started = time.time()
    check_form(output, sample=sample, form=form, fields=bool(fields))
    if sample is not None and output is not None:
        yield from submission(
            model, test=data, sample=sample, output=output, task=task, overwrite=overwrite, cpu=cpu,
            processes=processes, overrides=overrides, offline=offline,
        )  # fmt: skip
        return
    precision = precision_of(overrides)
    if output is not None:
        check_file(output, overwrite=overwrite)
    found, task_name, bound, settings = find_trained(model, task, overrides, offline=offline)
    if form == "squad" and bound.name not in ("qa", "qa-generation"):
        raise UsageError(
            f"--format squad is for qa, and {found.name} is for {bound.name}", "take --format jsonl or csv"
        )

    def reading() -> Reading:
        task = with_shots(bound, settings, offline=offline)
        source = [one_row(task, fields)] if fields else data
        rows = read_rows(task, source, settings, gold=False, limit=None, offline=offline)
        if not fields:
            yield from map(note, describe(rows))
        with named(rows):
            if form == "squad":
                raise_failures(duplicate_ids(rows, "failure"))
            warnings = task.check(rows, training=False)
        yield from map(warning, warnings)
        return task, rows

    work = yield from answered(
        found, bound, reading(), cpu=cpu, precision=precision, limit=settings.limit,
        processes=1 if fields and not launched() else processes, check=not fields,
        overrides=overrides, offline=offline,
    )  # fmt: skip
    if not work.main:
        return
    rows = work.rows
    result: dict[str, Any] = {"task": task_name, "model": found.name, "data": rows.name}
    if output is None:
        answers = list(work.answers)
        result |= {"rows": len(answers), "output": None, "predictions": answers}
        yield Event("answered", {"items": answers})
    else:
        count = WRITERS[form](output, work.answers)
        write_rejected(output.with_name(f"{output.name}.{REJECTED}"), rows)
        result |= {"rows": count, "output": str(output.absolute())}
        yield Event("saved", {"what": "predictions", "path": shown_path(output)})
    yield Event("result", {**result, "throughput": work.throughput(time.time() - started)})


def check_form(output: Path | None, *, sample: Path | None, form: str, fields: bool) -> None:
    """Refuse what does not go together. Raises UsageError."""
    flag = "--sample" if sample is not None else f"--format {form}" if form != "jsonl" else ""
    if sample is not None and form != "jsonl":
        raise UsageError(
            f"--sample and --format {form} are given together", "the sample says the form: leave --format out"
        )
    if flag and output is None:
        raise UsageError(f"{flag} writes a file, but no -o was given", "name the file, as in -o submission.csv")
    if sample is not None and fields:
        raise UsageError("--sample asks for the rows of a file, and one row was typed", "give the rows with --data")


def one_row(task: Task, fields: Mapping[str, str]) -> dict[str, str]:
    """A row typed as FIELD=TEXT. Raises UsageError when columns are missing or unknown."""
    asked = [c.name for c in task.columns if not c.gold]
    missing = [c.name for c in task.columns if c.required and not c.gold and c.name not in fields]
    unknown = [name for name in fields if name not in asked]
    if missing or unknown:
        parts = (("no such column", unknown), ("missing", missing))
        problem = "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)
        raise UsageError(
            f"{task.name} reads {', '.join(c for c in asked if c != 'id')}; {problem}",
            "type " + " ".join(f"{c}='...'" for c in asked if c != "id"),
        )
    return {"id": "0", **fields}


def write_csv(path: Path, predictions: Iterator[Prediction]) -> int:
    """Columns id and prediction (or one for each of several numbers), then one for each label's probability."""
    count = 0
    with atomic_write(path) as handle:
        for count, item in enumerate(predictions, start=1):
            answer, shares = item["prediction"], item.get("probabilities") or {}
            several = answer if isinstance(answer, Mapping) else {"prediction": answer}
            if count == 1:
                handle.write(csv_line(["id", *several, *shares]))
            cells = [
                json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell for cell in several.values()
            ]
            handle.write(csv_line([item["id"], *cells, *shares.values()]))
    return count


def write_squad(path: Path, predictions: Iterator[Prediction]) -> int:
    """{id: text}, as the SQuAD scripts read it."""
    answers = {item["id"]: item["prediction"] for item in predictions}
    with atomic_write(path) as handle:
        json.dump(answers, handle, ensure_ascii=False)
    return len(answers)


WRITERS: Mapping[str, Callable[[Path, Iterator[Prediction]], int]] = {
    "jsonl": write_predictions,
    "csv": write_csv,
    "squad": write_squad,
}
