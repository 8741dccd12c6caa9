"""What the labels of a classification data set are: one name a row, several, or numbers; found out before training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hfkit.errors import DataError
from hfkit.tasks.base import Row
from hfkit.tasks.labels import in_order, is_integer, label_text, settings_line, show_counts

Target = Literal["single", "multi", "regression"]


@dataclass
class Survey:
    """What stands in the label column: counts of single values, of the members of lists, or numbers by column."""

    values: Counter[str] = field(default_factory=Counter)  # one value a row
    members: Counter[str] = field(default_factory=Counter)  # labels inside lists
    lists: int = 0  # rows whose label is a list
    columns: list[str] = field(default_factory=list)  # names of several label columns
    cells: Counter[str] = field(default_factory=Counter)  # values of several label columns
    rows: int = 0  # rows with a label
    missing: int = 0  # rows without one
    first_missing: str | None = None
    kinds: Counter[str] = field(default_factory=Counter)  # text | number | list | columns: rows of each

    @property
    def gold(self) -> bool:
        return self.rows > 0


def survey(rows: Iterable[Row]) -> Survey:
    """One pass over the labels of all rows. Raises DataError for mixed shapes and for lists that name a label twice."""
    found = Survey()
    for row in rows:
        value = row.get("label")
        if empty(value):
            found.missing += 1
            found.first_missing = found.first_missing or row["id"]
            continue
        found.rows += 1
        found.kinds[kind_of(value)] += 1
        if isinstance(value, Mapping):
            found.columns = found.columns or list(value)
            found.cells.update(label_text(cell) for cell in value.values())
        elif value is not None and is_list(value):
            found.lists += 1
            texts = [label_text(member) for member in value]
            if len(set(texts)) != len(texts):
                raise DataError(
                    f"row {row['id']!r}: the list {texts[:8]} names a label twice",
                    "a list holds names; 0/1 vectors go into one column a label (data.columns.label=[a, b])",
                )
            found.members.update(texts)
        else:
            found.values[label_text(value)] += 1
    if len(found.kinds) > 1:
        shapes = ", ".join(
            f"{count:,} {'lists' if kind == 'list' else kind}" for kind, count in found.kinds.most_common()
        )
        values = f" ({show_counts(found.values)})" if found.values else ""
        raise DataError(f"labels are of different kinds: {shapes}{values}", "make them all of one kind")
    return found


def kind_of(value: Any) -> str:
    """What a label is: columns, list, text or number."""
    if isinstance(value, Mapping):
        return "columns"
    return "list" if is_list(value) else "text" if isinstance(value, str) else "number"


def odd_rows(rows: Iterable[Row], given: Sequence[str] | None) -> list[str]:
    """Ids of the rows whose label is not of the commonest kind, or is not among the labels that are given."""
    labelled = [(row["id"], row["label"]) for row in rows if not empty(row.get("label"))]
    kinds = Counter(kind_of(value) for _, value in labelled).most_common(1)
    odd = [name for name, value in labelled if kind_of(value) != kinds[0][0]]
    if odd or given is None:
        return odd
    known = {*given, "-1"}
    return [
        name
        for name, value in labelled
        if not isinstance(value, Mapping)
        and any(label_text(one) not in known for one in (value if is_list(value) else [value]))
    ]


def decide(found: Survey, wanted: str) -> tuple[Target, str]:
    """(target, why) for these labels. Raises DataError when `wanted` does not go with them."""
    natural, why = _natural(found)
    if wanted in ("auto", natural):
        return natural, why
    if wanted == "regression" and natural == "single" and all(number(text) is not None for text in found.values):
        return "regression", "as given; the labels are numbers"
    if wanted == "regression" and natural == "multi" and found.columns:
        return "regression", "as given; several columns of numbers"
    if wanted == "single" and natural == "regression" and not found.columns:
        return "single", "as given; each number is a class"
    shown = show_counts(found.values or found.members or found.cells)
    raise DataError(
        f"classify.target={wanted} does not go with these labels ({why}): {shown}",
        f"leave the key out, or give `classify.target={natural}`",
    )


def are_amounts(rows: Iterable[Row], wanted: str) -> bool:
    """Whether the labels are numbers to predict, of which each may stand once; False where they do not go together."""
    try:
        found = survey(rows)
        return found.gold and decide(found, wanted)[0] == "regression"
    except DataError:
        return False


def numbers_of(value: Any, names: Iterable[str], row_id: str, what: str = "label") -> list[float]:
    """The numbers of one row, in the order of `names`. Raises DataError for what is not a finite number."""
    names = list(names)
    cells = [value.get(name) for name in names] if isinstance(value, Mapping) else [value]
    found = [number(label_text(cell)) for cell in cells]
    for name, cell, each in zip(names, cells, found, strict=True):
        if each is None:
            named = what if name == "value" else f"{what} {name}"
            raise DataError(f"row {row_id!r}: the {named} is {cell!r}, not a number", f"correct the {what}")
    return [each for each in found if each is not None]


def flags_of(value: Mapping[str, Any], names: Iterable[str], row_id: str, what: str = "label") -> list[float]:
    """0 or 1 for each name. Raises DataError for other values."""
    flags = numbers_of(value, names, row_id, what)
    if not set(flags) <= {0.0, 1.0}:
        shown = ", ".join(f"{flag:g}" for flag in flags[:8])
        message = f"row {row_id!r}: {what} columns of several labels hold 0 or 1, not {shown}"
        raise DataError(message, f"correct the {what}")
    return flags


def refuse_unknown(found: Survey, names: Sequence[str], *, of_model: bool = False) -> None:
    """Raises DataError when the data has labels that are not among `names`; -1 then says "no gold" and may stand."""
    if found.columns:
        counts = Counter(dict.fromkeys(set(found.columns) ^ set(names), found.rows))
    else:
        values = found.values or found.members
        counts = Counter({text: times for text, times in values.items() if text not in names and text != "-1"})
    if not counts:
        return
    whose = "the model's labels" if of_model else "classify.labels"
    shown = ", ".join(names[:10]) + (f", and {len(names) - 10} more" if len(names) > 10 else "")
    hint = "correct the data or the key"
    if of_model and len(found.values) == len(names):
        example = settings_line("classify.labels", in_order(found.values))
        hint = f"if they mean the same, name the model's labels in its own order, such as {example}"
    raise DataError(f"labels that are not among {whose}: {show_counts(counts)}; known are {shown}", hint)


def judge(found: Survey, target: Target, given: Sequence[str] | None, *, training: bool) -> list[str]:
    """Lines about the labels. Raises DataError for labels that are not among those given, or a single class."""
    lines = [f"{found.missing:,} rows without a label are left out"] if found.missing else []
    if given is not None and target != "regression":
        refuse_unknown(found, given)
        absent = [name for name in given if not (found.values[name] or found.members[name] or found.columns)]
        if training and absent:
            lines.append(f"labels without a training row: {', '.join(absent[:10])}")
    if target == "single":
        if training and len(found.values) < 2:
            raise DataError(
                f"training needs two labels or more; found: {show_counts(found.values)}",
                "add rows of another label; numbers to predict take classify.target=regression",
            )
        others = [name for name in in_order(found.values) if name != "-1"]
        if given is None and "-1" in found.values and "0" in others:
            line = settings_line("classify.labels", others[:12])
            lines.append(f"label -1 is a class of its own here; to leave its rows out: {line}")
    return lines


def gold_of(row: Row, places: Mapping[str, int], target: str) -> list[Any]:
    """[class number], or one number for each name. Raises DataError for labels that are not among the names."""
    value = row["label"]
    if target == "regression":
        return numbers_of(value, places, row["id"])
    if target == "multi" and isinstance(value, Mapping):
        return flags_of(value, places, row["id"])
    texts = [label_text(each) for each in value] if is_list(value) else [label_text(value)]
    if any(text not in places for text in texts) or (target == "single" and is_list(value)):
        known = ", ".join(list(places)[:10]) or "unknown"
        raise DataError(
            f"row {row['id']!r}: the label {value!r} is not one of the labels ({known})",
            "correct the row, or give all labels with classify.labels",
        )
    return [places[texts[0]]] if target == "single" else [float(name in texts) for name in places]


def scale(rows: Iterable[Row], names: Sequence[str]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each number; a number that is always the same keeps its unit."""
    import numpy as np

    values = np.asarray([numbers_of(row["label"], names, row["id"]) for row in rows], dtype=np.float64)
    spread = values.std(axis=0)
    return values.mean(axis=0).tolist(), np.where(spread > 0, spread, 1.0).tolist()


def number(text: str) -> float | None:
    """A finite number from its text, else None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def empty(value: Any) -> bool:
    """Whether a label says nothing: null, NaN, an empty text, columns that are all empty. An empty list says "none"."""
    if isinstance(value, Mapping):
        return all(empty(cell) for cell in value.values())
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def is_list(value: Any) -> bool:
    """Whether a label is a list of labels."""
    return isinstance(value, (list, tuple)) or type(value).__name__ == "ndarray"


def label_names(found: Survey, target: Target) -> list[str]:
    """The labels of a target in their order: integers ascending if all are, else by code point; columns as given."""
    if found.columns:
        return found.columns
    if target == "regression":
        return ["value"]
    return in_order(found.members if target == "multi" else found.values)


def _natural(found: Survey) -> tuple[Target, str]:
    if found.columns:
        odd = [text for text in found.cells if number(text) is None]
        if odd:
            raise DataError(
                f"label columns {', '.join(found.columns)} hold values that are not numbers: {odd[:5]}",
                "label columns hold 0 and 1, or numbers",
            )
        if {number(text) for text in found.cells} <= {0.0, 1.0}:
            return "multi", f"{len(found.columns)} columns of 0 and 1"
        return "regression", f"{len(found.columns)} columns of numbers"
    if found.lists:
        return "multi", "lists of labels"
    parsed = [value for value in map(number, found.values) if value is not None]
    if len(parsed) == len(found.values) and not all(value.is_integer() for value in parsed):
        return "regression", "numbers with fractions"
    if found.values and all(map(is_integer, found.values)):
        return "single", "integers; for ordered numbers give classify.target=regression"
    return "single", "one name a row"
