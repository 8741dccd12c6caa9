"""Rows -> features, kept on disk by content: encoded once, then only opened. The verbs call it by `hfkit.data`."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hfkit.data.cache import entry
from hfkit.data.mapped import Mapped
from hfkit.data.numbers import column_of, list_lengths, numbers_in
from hfkit.tasks.base import TOKENS, Feature, batched

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

FEATURES_A_BATCH = 1000
FORMAT = 1  # of the file; counts up when its layout changes


class Features:
    """The features of a data set on disk.

    `lengths` (features,) int32 counts tokens (targets too), `rows` (features,) int64 is the row each came from.
    """

    def __init__(self, path: Path, fingerprint: str, chosen: np.ndarray | None = None) -> None:
        self._mapped = Mapped(path)
        self._chosen = chosen  # numbers of the features of a subset
        self.fingerprint = fingerprint
        self.rows, self.lengths = np.zeros(len(self._mapped), dtype=np.int64), np.zeros(len(self._mapped), np.int32)
        done = 0
        for batch in self._mapped:
            part = slice(done, done := done + batch.num_rows)
            self.rows[part] = numbers_in(batch.column("row"))
            self.lengths[part] = sum(map(list_lengths, token_columns(batch)))
        self._mapped.release()
        if chosen is not None:
            self.rows, self.lengths = self.rows[chosen], self.lengths[chosen]

    def __reduce__(self) -> tuple[type[Features], tuple[Path, str, np.ndarray | None]]:
        """Another process opens the file itself."""
        return Features, (self._mapped.path, self.fingerprint, self._chosen)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Sequence[int]) -> list[Feature]:
        """The features with these numbers, in this order; per-token columns are numpy arrays, numbers are plain."""
        return [self._mapped.row(int(index if self._chosen is None else self._chosen[index])) for index in indices]

    def subset(self, indices: np.ndarray) -> Features:
        """The features with these numbers, renumbered in this order."""
        part = copy.copy(self)
        part._chosen = indices if self._chosen is None else self._chosen[indices]
        part.rows, part.lengths = self.rows[indices], self.lengths[indices]
        part.fingerprint = hashlib.sha256(self.fingerprint.encode() + indices.tobytes()).hexdigest()
        return part


def token_columns(batch: pa.RecordBatch) -> list[pa.ListArray]:
    """The columns whose values pass through a model, token by token."""
    return [batch.column(name) for name in TOKENS if name in batch.schema.names]


def encoded(
    rows: Rows, task: Any, tokenizer: Any, *, on_progress: Callable[[int, int], None] | None = None
) -> Features:
    """The features of `task` on `rows`, made once and kept by content: a second call with equal inputs opens a file.

    The key covers the rows' fingerprint, the task's name, settings and code, and the tokenizer. Of several processes
    one encodes and the others wait. `on_progress` gets (rows done, rows in all), for tasks of blocks (blocks done, 0).
    Raises ResourceError when the cache cannot be written.
    """
    key = _features_key(rows, task, tokenizer)

    def build(folder: Path) -> None:
        _write_features(folder / "features.arrow", task.encode(rows, tokenizer), len(rows), task.blocks, on_progress)

    return Features(entry("features", key, build) / "features.arrow", key)


def _write_features(
    path: Path, features: Iterable[Feature], total: int, blocks: bool, on_progress: Callable[[int, int], None] | None
) -> None:
    kinds: dict[str, pa.DataType] = {}
    writer, done = None, 0
    with pa.OSFile(str(path), "wb") as sink:
        for chunk in batched(features, FEATURES_A_BATCH):
            columns = {
                name: column_of(name, [feature[name] for feature in chunk], kinds.get(name))
                for name in kinds or chunk[0]
            }
            batch = pa.record_batch(list(columns.values()), names=list(columns))
            if writer is None:
                kinds = {field.name: field.type for field in batch.schema}
                writer = pa.ipc.new_file(sink, batch.schema)
            writer.write_batch(batch)
            done += len(chunk)
            if on_progress:
                on_progress(done if blocks else int(chunk[-1]["row"]) + 1, 0 if blocks else total)
        if writer is None:
            writer = pa.ipc.new_file(sink, pa.schema([("row", pa.int64()), ("input_ids", pa.list_(pa.int32()))]))
        writer.close()


def _features_key(rows: Rows, task: Any, tokenizer: Any) -> str:
    settings = task.settings.model_dump(mode="json") if hasattr(task.settings, "model_dump") else repr(task.settings)
    parts = [
        FORMAT,
        rows.fingerprint,
        task.name,
        settings,
        _code_of(type(task).__module__),
        tokenizer_digest(tokenizer),
        getattr(task, "fingerprint", ""),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def tokenizer_digest(tokenizer: Any) -> str:
    """sha256 of what a tokenizer does: its tokenizer.json without truncation and padding, else its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        content = json.loads(backend.to_str())
        content.pop("truncation", None)
        content.pop("padding", None)
    else:
        content = sorted(tokenizer.get_vocab().items())
    names = (
        "padding_side",
        "truncation_side",
        "split_special_tokens",
        "model_input_names",
        "special_tokens_map",
        "all_special_ids",
    )
    rest = [type(tokenizer).__name__, *(str(getattr(tokenizer, name, None)) for name in names)]
    return hashlib.sha256(json.dumps([content, rest], sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@functools.lru_cache(maxsize=64)
def _code_of(task_module: str) -> str:
    """A hash of the code that encodes: hfkit's tasks for its own, else the module's file; edited code encodes anew."""
    package = importlib.import_module("hfkit.tasks")
    files = sorted(Path(str(package.__file__)).parent.rglob("*.py"))
    if not task_module.startswith("hfkit.tasks"):
        own = getattr(sys.modules.get(task_module), "__file__", None)
        files += [Path(own)] if own else []
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()
