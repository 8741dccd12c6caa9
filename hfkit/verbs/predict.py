"""`hfkit predict`: a trained model answers rows of a file, or one row typed on the command line."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data import describe
from hfkit.data.predictions import REJECTED, write_predictions, write_rejected
from hfkit.data.submission import Submission
from hfkit.data.validators import duplicate_ids, named, raise_failures
from hfkit.engine.world import launched
from hfkit.errors import UsageError
from hfkit.events import Event, note, warning
from hfkit.files import atomic_write
from hfkit.run import probe_writable, shown_path
from hfkit.tasks.base import Prediction, Task
from hfkit.verbs.answered import answered
from hfkit.verbs.trained import Answering, find_trained, precision_of, read_rows, with_shots

if TYPE_CHECKING:
    from hfkit.data.rows import Rows


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

    Yields events, last "result" with `rows`, `output`, `throughput`, and without `output` the `predictions`.
    """
    started = time.time()
    precision = precision_of(overrides)
    check_output(output, sample=sample, form=form, overwrite=overwrite)
    found, task_name, bound, settings = find_trained(model, task, overrides, offline=offline)
    if form == "squad" and bound.name not in ("qa", "qa-generation"):
        raise UsageError(
            f"--format squad is for qa, and {found.name} is for {bound.name}", "take --format jsonl or csv"
        )
    bound = with_shots(bound, settings, offline=offline)
    source = [one_row(bound, fields)] if fields else data
    rows = read_rows(bound, source, settings, gold=False, limit=None, offline=offline)
    if not fields:
        yield from map(note, describe(rows))
    with named(rows):
        submission = fitting_sample(sample, rows)
        if form == "squad":
            raise_failures(duplicate_ids(rows, "failure"))
        warnings = bound.check(rows, training=False)
    yield from map(warning, warnings)

    work = yield from answered(
        found, bound, rows, cpu=cpu, precision=precision, limit=settings.limit,
        processes=1 if fields and not launched() else processes, check=not fields,
        overrides=overrides, offline=offline,
    )  # fmt: skip
    if not work.main:
        return
    result: dict[str, Any] = {"task": task_name, "model": found.name, "data": rows.name}
    if output is None:
        answers = list(work.answers)
        result |= {"rows": len(answers), "output": None, "predictions": answers}
        yield Event("answered", {"items": answers})
    else:
        count, lines = write(output, work, submission, form)
        write_rejected(output.with_name(f"{output.name}.{REJECTED}"), rows)
        yield from map(warning, lines)
        result |= {"rows": count, "output": str(output.absolute())}
        yield Event("saved", {"what": "predictions", "path": shown_path(output)})
    yield Event("result", {**result, "throughput": work.throughput(time.time() - started)})


def check_output(output: Path | None, *, sample: Path | None, form: str, overwrite: bool) -> None:
    """Refuse what does not go together, and a file that is there already. Raises UsageError."""
    flag = "--sample" if sample is not None else f"--format {form}" if form != "jsonl" else ""
    if sample is not None and form != "jsonl":
        raise UsageError(
            f"--sample and --format {form} are given together", "the sample says the form: leave --format out"
        )
    if flag and output is None:
        raise UsageError(f"{flag} writes a file, but no -o was given", "name the file, as in -o submission.csv")
    if output is None:
        return
    if output.is_dir():
        raise UsageError(f"{output} is a folder", "name a file in it, as in -o predictions.jsonl")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already", "add --overwrite, or choose another file with -o")
    probe_writable(output.absolute().parent)


def fitting_sample(path: Path | None, rows: Rows) -> Submission | None:
    """The sample submission, its ids met with those of the rows. Raises DataError."""
    if path is None:
        return None
    submission = Submission.read(path)
    with named(rows):
        raise_failures(duplicate_ids(rows, "failure"))
    submission.check_ids(row["id"] for row in rows)
    return submission


def write(path: Path, work: Answering, submission: Submission | None, form: str) -> tuple[int, list[str]]:
    """Write the file, whole or not at all; returns how many rows, and lines to tell the user."""
    if submission is None:
        return WRITERS[form](path, work.answers), []
    answers = list(work.answers)
    return len(answers), submission.write(path, answers, own_names(work.task))


def own_names(task: Task) -> dict[str, str]:
    """The data's own value of each label, where training read the data's values as labels: {"entailment": "0"}."""
    given = getattr(task.settings, "labels", None)
    if not isinstance(given, Mapping):
        return {}
    values = [label for label in given.values() if label is not None]
    return {label: value for value, label in given.items() if label is not None and values.count(label) == 1}


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


def write_csv(path: Path, predictions: Iterator[Prediction]) -> int:
    """Columns id and prediction (or one for each of several numbers), then one for each label's probability."""
    count = 0
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        for count, item in enumerate(predictions, start=1):
            answer, shares = item["prediction"], item.get("probabilities") or {}
            several = answer if isinstance(answer, Mapping) else {"prediction": answer}
            if count == 1:
                writer.writerow(["id", *several, *shares])
            cells = [
                json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell for cell in several.values()
            ]
            writer.writerow([item["id"], *cells, *shares.values()])
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
