"""Arrow's side of reading: parquet files, rows kept on disk, and Hub data sets. The only importer of `datasets`."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hfkit.data.cache import entry
from hfkit.data.features import Features, encoded
from hfkit.data.mapped import Mapped
from hfkit.data.numbers import column_of
from hfkit.data.records import Record
from hfkit.errors import DataError, ResourceError
from hfkit.files import write_json
from hfkit.tasks.base import Row, batched

__all__ = ["Features", "SpooledRows", "encoded", "read_parquet", "spooled"]

ROWS_A_BATCH = 1000


def read_parquet(path: Path) -> Iterator[Record]:
    """The rows of a parquet file, numbered from 1. Raises DataError."""
    try:
        table = pq.ParquetFile(path, memory_map=True)
        number = 0
        for batch in table.iter_batches(batch_size=ROWS_A_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path}: not a readable parquet file ({str(error).splitlines()[0][:120]})", "download it again"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({str(error).splitlines()[0][:120]})", "check the file, or download it again"
        ) from error


class SpooledRows(Sequence[Row]):
    """Rows on disk, one JSON text each: any values, in any mixture, come back exactly."""

    def __init__(self, path: Path) -> None:
        self._mapped = Mapped(path)

    def __len__(self) -> int:
        return len(self._mapped)

    def __getitem__(self, index: Any) -> Any:
        return json.loads(self._mapped.row(int(index))["row"])

    def __iter__(self) -> Iterator[Row]:
        for batch in self._mapped:
            yield from _parsed(batch.column(0))

    def at(self, indices: Sequence[int]) -> Iterator[Row]:
        """The rows with these numbers, in this order; neighbours are read together."""
        chosen = np.asarray(indices, dtype=np.int64)
        numbers = np.searchsorted(self._mapped.ends, chosen, side="right")
        for part in np.split(np.arange(len(chosen)), np.flatnonzero(np.diff(numbers)) + 1):
            if not len(part):
                continue
            number = int(numbers[part[0]])
            inside = chosen[part] - (self._mapped.ends[number - 1] if number else 0)
            yield from _parsed(self._mapped.batch(number).column(0).take(column_of("row", inside.tolist())))


def _parsed(texts: pa.Array) -> list[Row]:
    """Rows from their JSON texts, many by one call of the parser."""
    return json.loads(f"[{','.join(texts.to_pylist())}]")


def spooled(key: str, rows: Iterable[Row], facts: Callable[[], dict[str, Any]]) -> tuple[SpooledRows, dict[str, Any]]:
    """Rows kept on disk under `key`, and the facts known after reading; `rows` is read only when they are not there."""

    def build(folder: Path) -> None:
        schema = pa.schema([("row", pa.large_string())])
        with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for chunk in batched(rows, ROWS_A_BATCH):
                texts = [json.dumps(row, ensure_ascii=False, default=str) for row in chunk]
                writer.write_batch(pa.record_batch([pa.array(texts, pa.large_string())], schema=schema))
        write_json(folder / "facts.json", facts())

    folder = entry("rows", key, build)
    return SpooledRows(folder / "rows.arrow"), json.loads((folder / "facts.json").read_text(encoding="utf-8"))


BUILDERS = ("arrow", "cache", "csv", "json", "parquet", "text")  # read data and nothing else: no pickles, no archives


class NotCachedError(Exception):
    """A Hub data set cannot be had without the network, or the network failed on the way."""


def prepared(repo: str, config: str | None, *, offline: bool) -> Any:
    """A builder of a Hub data set whose files are in the Hugging Face cache. Raises NotCachedError, DataError."""
    import datasets
    import huggingface_hub
    from datasets.exceptions import DatasetNotFoundError

    kept = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = offline
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        builder = datasets.load_dataset_builder(f"hf://datasets/{repo}", config)
        kind = type(builder).__module__.rsplit(".", 1)[-1]
        if kind not in BUILDERS:
            raise DataError(f"{repo}: its files are of the kind '{kind}'", f"only {', '.join(BUILDERS)} are read")
        builder.download_and_prepare()
        return builder
    except DataError:
        raise
    except DatasetNotFoundError as error:
        if offline:
            raise NotCachedError(str(error)) from error
        raise DataError(
            f"no data set {repo} on the Hub (or it is private)", "check its name; a private one needs HF_TOKEN"
        ) from error
    except FileNotFoundError as error:
        if offline:
            raise NotCachedError(_line(error)) from error
        raise DataError(f"{repo}: {_line(error)}", "look at its page on the Hub") from error
    except (OSError, ConnectionError) as error:  # also the library's own offline and HTTP errors
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{repo}: no space left for the cache", "free some space, or set HF_HOME") from error
        raise NotCachedError(_line(error)) from error
    except (
        Exception
    ) as error:  # the library raises plain ValueError and RuntimeError for configs, scripts and bad files
        if offline and "cache" in str(error):
            raise NotCachedError(_line(error)) from error
        hint = f"name a config: {repo}@CONFIG" if "onfig" in str(error) else "look at its page on the Hub"
        raise DataError(f"{repo}: {_line(error)}", hint) from error
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = kept


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def splits_of(builder: Any) -> list[str]:
    """The names of a prepared builder's splits."""
    return list(builder.info.splits or {})


def split_of(builder: Any, split: str) -> Any:
    """One split of a prepared builder, mapped from disk; `split` may be a slice: train[:10%]. Raises DataError."""
    try:
        return builder.as_dataset(split=split)
    except ValueError as error:
        raise DataError(
            f"split '{split}': {_line(error)}", f"the splits are {', '.join(splits_of(builder))}"
        ) from error


def dataset_records(data: Any) -> Iterator[Record]:
    """The rows of a Dataset, numbered from 1; class labels by name, -1 (no gold) as None."""
    classes = {name: feature.names for name, feature in data.features.items() if type(feature).__name__ == "ClassLabel"}
    table = data.with_format("arrow")
    number = 0
    for start in range(0, len(data), ROWS_A_BATCH):
        for row in table[start : start + ROWS_A_BATCH].to_pylist():
            for name, names in classes.items():
                value = row[name]
                row[name] = names[value] if value is not None and 0 <= value < len(names) else None
            number += 1
            yield number, row
