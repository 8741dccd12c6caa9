"""Statistics of one classified row and the metrics of many; what classify measures, with or without a model at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics import classification as scores
from hfkit.metrics.definitions import defined_keys, definition
from hfkit.tasks.base import Prediction
from hfkit.tasks.labels import in_order, is_integer, label_text
from hfkit.tasks.targets import Target, flags_of, is_list, numbers_of

_QWK = "Cohen's kappa with quadratic weights, predictions rounded to integers within gold's range, -1 to 1"
ALL_LABELS = "correct the prediction, or name all labels with classify.labels=[a, b]"
_WIDEST = 100  # gold integers further apart than this are amounts, not ratings


def target_said(prediction: Prediction) -> Target:
    """The target that a prediction answers."""
    if is_list(prediction["prediction"]):
        return "multi"
    return "single" if prediction.get("probabilities") or isinstance(prediction["prediction"], str) else "regression"


def names_said(prediction: Prediction) -> list[str]:
    """The labels that a prediction speaks of, in their order; none where it only says one."""
    if isinstance(prediction["prediction"], Mapping):
        return list(prediction["prediction"])
    if prediction.get("probabilities"):
        return in_order(prediction["probabilities"])
    return [] if isinstance(prediction["prediction"], str) else ["value"]


def statistics(target: str, gold: Sequence[Any], prediction: Prediction, places: Mapping[str, int]) -> dict[str, float]:
    """Columns of one row, see `Classify`. Raises DataError for a prediction that does not go with the labels.

    The shape goes with every row, so that any part of the rows can be reduced without the settings: `classes` (how
    many) and `ordered` (all are integers) for a single label, `several` for several.
    """
    said, chances = prediction["prediction"], prediction.get("probabilities") or {}
    if set(chances) - set(places):
        strange = ", ".join(sorted(set(chances) - set(places))[:5])
        raise DataError(
            f"row {prediction['id']!r}: probabilities name labels that are not known: {strange}", ALL_LABELS
        )
    columns = {f"p_{places[name]}": float(chance) for name, chance in chances.items()}
    if target == "single":
        text = label_text(said)
        if text not in places:
            known = ", ".join(list(places)[:10])
            raise DataError(
                f"row {prediction['id']!r}: the prediction {text!r} is not one of the labels ({known})", ALL_LABELS
            )
        ordered = float(all(map(is_integer, places)))  # their distance means something: qwk
        shape = {"classes": float(len(places)), "ordered": ordered}
        return {"gold": float(gold[0]), "predicted": float(places[text]), **shape, **columns}
    if target == "multi":
        columns["several"] = 1.0
        guessed = _labels_said(said, places, prediction["id"])
    else:
        guessed = numbers_of(said, places, prediction["id"], "prediction")
    for place, (right, guess) in enumerate(zip(gold, guessed, strict=True)):
        columns |= {f"gold_{place}": float(right), f"predicted_{place}": guess}
    return columns


def _labels_said(said: Any, places: Mapping[str, int], row_id: str) -> list[float]:
    """0 or 1 for each label, from a list of labels or from a column a label. Raises DataError for anything else."""
    if isinstance(said, Mapping):
        return flags_of(said, places, row_id, "prediction")
    if not is_list(said):
        hint = 'several labels are a list, such as ["a", "b"], or a column each'
        raise DataError(f"row {row_id!r}: the prediction {said!r} is no list of labels", hint)
    texts = [label_text(label) for label in said]
    strange = next((text for text in texts if text not in places), None)
    if strange is not None:
        known = ", ".join(list(places)[:10])
        raise DataError(f"row {row_id!r}: the prediction {strange!r} is not one of the labels ({known})", ALL_LABELS)
    return [float(name in texts) for name in places]


def reduce(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Metrics of the target that the columns are of; `p_` columns may be left out, and with them what they are for."""
    if "gold" in columns:
        count = int(np.max(columns["classes"]))
        title = "" if np.all(columns["ordered"]) else "label "
        return scores.reduce_single(columns, [f"{title}{place}" for place in range(count)])
    count = sum(name.startswith("gold_") for name in columns)
    if "several" in columns:
        return scores.reduce_multi(columns, [f"label {place}" for place in range(count)])
    metrics = scores.reduce_regression(columns, count)
    kappa = rounded_kappa(np.asarray(columns["gold_0"]), np.asarray(columns["predicted_0"])) if count == 1 else None
    return metrics if kappa is None else {**metrics, "qwk": kappa}


def means(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`accuracy` of each row, 0 or 1: the label, or all labels, right; nothing for numbers."""
    if "gold" in columns:
        return {"accuracy": (np.asarray(columns["gold"]) == np.asarray(columns["predicted"])).astype(np.float64)}
    if "several" not in columns:
        return {}
    pairs = [
        (columns[name], columns[name.replace("gold", "predicted")]) for name in columns if name.startswith("gold_")
    ]
    return {"accuracy": np.all([left == right for left, right in pairs], axis=0).astype(np.float64)}


def definitions(target: str) -> dict[str, str]:
    """What each metric of a target is; for auto those of all targets, single label first."""
    kinds = ["regression", "multi", "single"] if target == "auto" else [target]
    found = {key: definition(kind, key) for kind in kinds for key in defined_keys(kind)}
    return {**found, "qwk": _QWK} if target == "regression" else found


def rounded_kappa(gold: np.ndarray, predicted: np.ndarray) -> float | None:
    """Quadratic kappa of predictions rounded to integers, for gold that is integers of a narrow range; else None."""
    low, high = gold.min(), gold.max()
    if not np.equal(gold, np.rint(gold)).all() or not 2 <= high - low <= _WIDEST:
        return None
    count = int(high - low) + 1
    guessed = np.clip(np.rint(predicted), low, high)
    table = scores.confusion((gold - low).astype(np.int64), (guessed - low).astype(np.int64), count)
    return scores.quadratic_kappa(table, [str(place) for place in range(count)])
