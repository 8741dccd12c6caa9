"""`hfkit submission`: a trained model's answers in the form of a competition's sample, checked against it."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data import describe
from hfkit.data.findings import named, raise_failures
from hfkit.data.predictions import REJECTED, write_rejected
from hfkit.data.submission import Submission, check_name, read_table
from hfkit.data.validators import duplicate_ids
from hfkit.errors import UsageError
from hfkit.events import Event, note, warning
from hfkit.models import Checkpoint
from hfkit.run import probe_writable, shown_path
from hfkit.tasks.base import Task
from hfkit.verbs.answered import answered
from hfkit.verbs.answering import Reading
from hfkit.verbs.thresholds import OUT_OF_FOLD, Thresholds, fitted, rows_out_of_fold
from hfkit.verbs.trained import find_trained, precision_of, read_rows, with_shots

if TYPE_CHECKING:
    from hfkit.data.rows import Rows
    from hfkit.data.submission import Table
    from hfkit.recipe import Data


def submission(
    model: str,
    *,
    test: Any,
    sample: Path,
    output: Path,
    oof: Path | None = None,
    metric: str | None = None,
    task: str | None = None,
    overwrite: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Answer the rows of `test` and write them as `sample` has them; the file is read back and checked.

    Where labels are asked for, the thresholds of their probabilities are fitted on the out-of-fold rows of `oof`, for
    `metric` (default: the one that picked the model's best checkpoint). Yields events, last "result" with `rows`,
    `output`, `sample`, `thresholds`, `throughput`. Raises HfkitError.
    """
    started = time.time()
    precision = precision_of(overrides)
    check_file(output, overwrite=overwrite)
    found, task_name, bound, settings = find_trained(model, task, overrides, offline=offline)
    shape: Submission | None = None  # known to the process that reads, as the thresholds are
    thresholds: Thresholds | None = None

    def reading() -> Reading:
        nonlocal shape, thresholds
        table = read_table(sample)
        check_name(table, output)
        keys, lines = with_ids_of(table, test, settings, offline=offline)
        asked = with_shots(bound, keys, offline=offline)
        rows = read_rows(asked, test, keys, gold=False, limit=None, offline=offline)
        yield from map(note, [*lines, *describe(rows)])
        shape = fitting(table, rows)
        with named(rows):
            warnings = asked.check(rows, training=False)
        yield from map(warning, warnings)
        thresholds = yield from thresholds_for(asked, shape, found, model, oof, metric)
        return asked, rows

    work = yield from answered(
        found, bound, reading(), cpu=cpu, precision=precision, limit=settings.limit, processes=processes,
        overrides=overrides, offline=offline,
    )  # fmt: skip
    if shape is None:
        return
    rows = work.rows
    answers = [thresholds.applied(item) if thresholds else item for item in work.answers]
    yield from map(warning, shape.write(output, answers, own_names(work.task)))
    write_rejected(output.with_name(f"{output.name}.{REJECTED}"), rows)
    yield Event("saved", {"what": "submission, checked against the sample", "path": shown_path(output)})
    yield Event(
        "result",
        {
            "task": task_name,
            "model": found.name,
            "data": rows.name,
            "rows": len(answers),
            "output": str(output.absolute()),
            "sample": {"form": shape.table.form, "id": shape.id_column, "columns": dict(shape.kinds)},
            "thresholds": thresholds.shown() if thresholds else None,
            "throughput": work.throughput(time.time() - started),
        },
    )


def check_file(output: Path, *, overwrite: bool) -> None:
    """Refuse a folder, a file that is there already, and a place that cannot be written. Raises UsageError."""
    if output.is_dir():
        raise UsageError(f"{output} is a folder", "name a file in it, as in -o predictions.jsonl")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already", "add --overwrite, or choose another file with -o")
    probe_writable(output.absolute().parent)


def with_ids_of(table: Table, test: Any, settings: Data, *, offline: bool) -> tuple[Data, list[str]]:
    """The keys of `data` with the test's id column named as the sample names it, where the test has such a column."""
    from hfkit.data.peek import peek

    if "id" in settings.columns or test is None:
        return settings, []
    columns = peek(test, settings, None, offline=offline, most=1).columns
    name = next((str(cell) for cell in table.header if cell in columns), None)
    if name is None or table.form == "map":
        return settings, []
    line = f"ids are read from the column {name}, as the sample names it"
    return settings.model_copy(update={"columns": {**settings.columns, "id": name}}), [line]


def fitting(table: Table, rows: Rows) -> Submission:
    """What the sample asks for, its ids met with those of the rows. Raises DataError."""
    with named(rows):
        raise_failures(duplicate_ids(rows, "failure"))
    ids = {row["id"] for row in rows}
    shape = Submission.of(table, ids)
    shape.check_ids(ids)
    return shape


def thresholds_for(
    task: Task, shape: Submission, found: Checkpoint, model: str, oof: Path | None, metric: str | None
) -> Generator[Event, None, Thresholds | None]:
    """Thresholds fitted on out-of-fold rows: those given, else those in the model's folder; None without."""
    beside = [folder / OUT_OF_FOLD for folder in (Path(model), found.run) if folder is not None]
    path = oof or next((folder for folder in beside if folder.is_dir()), None)
    if path is None:
        if metric is not None:
            raise UsageError("--metric fits thresholds, for which there are no out-of-fold rows", "give them: --oof F")
        return None
    if not shape.asks_labels():
        yield note(f"the sample asks for numbers, so no threshold is fitted on {shown_path(path)}")
        return None
    if getattr(task.settings, "target", None) not in ("single", "multi"):
        if oof is not None:
            raise UsageError(f"--oof fits thresholds of labels; {found.name} predicts something else", "leave it out")
        return None
    rows, names = rows_out_of_fold(task, path)
    return (yield from fitted(task, rows, names, metric or metric_of(found), path))


def metric_of(found: Checkpoint) -> str | None:
    """The metric that picked a run's best checkpoint; None where the model is no run."""
    path = (found.run or Path()) / "run.json"
    if found.run is None or not path.exists():
        return None
    said = json.loads(path.read_text(encoding="utf-8")).get("metric")
    return str(said) if said else None


def own_names(task: Task) -> dict[str, str]:
    """The data's own value of each label, where training read the data's values as labels: {"entailment": "0"}."""
    given = getattr(task.settings, "labels", None)
    if not isinstance(given, Mapping):
        return {}
    values = [label for label in given.values() if label is not None]
    return {label: value for value, label in given.items() if label is not None and values.count(label) == 1}
