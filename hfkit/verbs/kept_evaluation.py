"""An evaluation of predictions that are at hand, written for `compare` as `eval` would; by cv, ensemble, average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data.predictions import write_predictions
from hfkit.events import finite
from hfkit.files import atomic_folder, remove_folder, write_json
from hfkit.tasks.analysis import slice_values
from hfkit.tasks.base import Prediction, Task
from hfkit.tasks.qa.characters import KEY
from hfkit.tasks.scoring import Measured
from hfkit.verbs.columns_file import Evaluated, write_columns

if TYPE_CHECKING:
    from hfkit.data.rows import Rows


def write_evaluation(
    folder: Path,
    task: Task,
    rows: Rows,
    predictions: Iterable[Prediction],
    found: Measured,
    fields: Mapping[str, Any],
    *,
    name: str,
    data: str,
    columns: Sequence[str] = (),
) -> None:
    """predictions.jsonl, metrics.json and columns.json in `folder`, in place of an older evaluation.

    `name` is the task's name in recipes, `fields` what `score_fields` gives; what was kept by character is left out.
    """
    used = task.settings.model_dump(mode="json", exclude=task.settings.on_request)
    with atomic_folder(folder) as place:
        lines = ({key: value for key, value in item.items() if key != KEY} for item in predictions)
        write_predictions(place / "predictions.jsonl", lines)
        write_json(place / "metrics.json", finite({"task": name, "data": data, **fields, "settings": used}))
        write_columns(place, Evaluated(name, used, data, found, slice_values(task, found, rows, columns)))
        remove_folder(folder)
