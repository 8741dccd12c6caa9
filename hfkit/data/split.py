"""What is held out and what is drawn: the validation share and the limit; the same rows for the same data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hfkit.data.rows import Rows
from hfkit.data.validators import rows_text
from hfkit.errors import DataError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column

if TYPE_CHECKING:
    import numpy as np

SALT = b"hfkit validation 1"
LIMIT_SEED = 20240229


def limited(rows: Rows, limit: int | None) -> Rows:
    """`limit` rows drawn by a fixed seed, order kept; a stream is left whole (the engine draws blocks of it)."""
    if limit is None or limit >= len(rows) or rows.stream:
        return rows
    import numpy as np

    chosen = np.random.default_rng(LIMIT_SEED).permutation(len(rows))[:limit]
    return rows.subset(np.sort(chosen))


def share(rows: Rows, settings: Data, group: str | None, *, columns: Sequence[Column]) -> tuple[Rows, Rows, str]:
    """Train and validation rows, data.validation_share held out, and the line that says so.

    Groups stay together, or without one rows whose texts (of the task's `columns`) are equal; which are held out
    depends on their values alone, not on the order of rows. Running text gives its tail.
    """
    part = settings.validation_share
    if settings.group is None and group is None and _is_running_text(rows):
        return _tail(rows, part)
    name = settings.group or group
    keys = group_keys(rows, name, columns)
    values, counts = _ordered(keys)
    if len(values) < 2:
        raise DataError(
            f"{rows.name}: {_nothing_to_split(rows, name)}", "give validation data: data.validation, or --validation"
        )
    import numpy as np

    held = int(np.searchsorted(np.cumsum(counts), part * len(rows))) + 1
    inside = keys < values[min(held, len(values) - 1)]
    line = f"validation: {rows_text(int(inside.sum()))} held out of train ({100 * part:g} %{by(name)})"
    return divided(rows, inside, line)


def by(name: str | None) -> str:
    """Words that say by which column rows are grouped."""
    return f", grouped by {name}" if name else ""


def divided(rows: Rows, inside: np.ndarray, line: str) -> tuple[Rows, Rows, str]:
    """The rows outside and inside of a mask (rows,), the latter named as held out; and the line, passed on."""
    import numpy as np

    held = rows.subset(np.flatnonzero(inside)).renamed(f"{rows.name} (held out)")
    return rows.subset(np.flatnonzero(~inside)), held, line


def _nothing_to_split(rows: Rows, name: str | None) -> str:
    return f"all rows share one {name}" if name else f"{rows_text(len(rows))} cannot be split"


def group_keys(rows: Rows, name: str | None, columns: Sequence[Column]) -> np.ndarray:
    """A 64-bit hash of each row's group (rows,); without one, of what a model reads: equal texts stay together.

    Columns that the task does not have are not looked at: a number of each row's own would part equal texts.
    """
    import numpy as np

    column = column_of(rows, name, "data.group") if name is not None else None
    texts = [own.name for own in columns if not own.gold and own.name != "id"]
    values = (
        row.get(column) if column is not None else {text: row[text] for text in texts if text in row} for row in rows
    )
    return np.fromiter((_hash(value) for value in values), dtype=np.uint64, count=len(rows))


def column_of(rows: Rows, name: str, key: str) -> str:
    """The name by which rows hold the data's column `name`, which the recipe's `key` asks for. Raises DataError."""
    column = next((task for task, source in rows.mapping.items() if source == name), name)
    if len(rows) and column not in rows[0]:
        known = ", ".join(list(rows[0])[:12])
        raise DataError(f"{rows.name}: no column '{name}', which {key} asks for", f"{key} is one of {known}")
    return column


def _hash(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=SALT).digest())


def _ordered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups in the order of their hashes, which is as good as random, and the rows of each."""
    import numpy as np

    values, counts = np.unique(keys, return_counts=True)
    return values, counts


def _is_running_text(rows: Rows) -> bool:
    return rows.stream or set(rows.mapping) - {"id"} == {"text"}


def _tail(rows: Rows, part: float) -> tuple[Rows, Rows, str]:
    """The end of running text: whole rows, or a piece of the only text, cut after a line end."""
    if len(rows) > 1:
        import numpy as np

        held = max(1, round(part * len(rows)))
        inside = np.arange(len(rows)) >= len(rows) - held
        return divided(rows, inside, f"validation: the last {rows_text(held)} of train ({100 * part:g} %)")
    row = rows[0]
    text = row["text"] or ""
    place = text.find("\n", int(len(text) * (1 - part))) + 1
    if place <= 0 or place >= len(text):
        place = text.rfind("\n", 0, int(len(text) * (1 - part))) + 1 or int(len(text) * (1 - part))
    if place <= 0 or place >= len(text):
        raise DataError(
            f"{rows.name}: {len(text)} characters cannot be split",
            "give validation data: data.validation, or --validation",
        )
    train = rows.replaced([{**row, "text": text[:place]}], why=f"characters before {place}")
    held_text = rows.replaced([{**row, "text": text[place:]}], why=f"characters from {place}").renamed(
        f"{rows.name} (tail)"
    )
    return train, held_text, f"validation: the last {len(text) - place:,} characters of train ({100 * part:g} %)"
