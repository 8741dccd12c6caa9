"""What a reader yields, and how it is asked to read; shared by the readers and by `load`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PEEK = 100  # rows looked at to know the columns of a file without a header
EMPTY = "check how it was made, or download it again"  # the hint for a file with nothing in it


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be read, and why; the caller stops at it or skips and counts it."""

    problem: str
    column: int | None = None


Record = tuple[int, dict[str, Any] | Bad]  # line from 1 (row number from 1 where a form has no lines), values


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read: its encoding, the names of a headerless csv or tsv, whether a .txt is one stream."""

    encoding: str = "utf-8"
    names: tuple[str, ...] | None = None
    stream: bool = False


def cut(text: str, size: int = 80) -> str:
    """The first line of a text in at most `size` characters, control characters as spaces."""
    line = "".join(char if char.isprintable() else " " for char in text[: size + 1].split("\n", 1)[0])
    return line if len(line) <= size else line[: size - 3] + "..."


def first_of(records: Iterator[Record]) -> list[Record]:
    """The first records, PEEK or as many as it takes to meet one that can be read."""
    head: list[Record] = []
    while chunk := list(itertools.islice(records, PEEK)):
        head += chunk
        if any(isinstance(values, dict) for _, values in chunk):
            break
    return head


def names_of(records: Iterable[tuple[int, Any]]) -> list[str]:
    """The columns of all these records, in the order they come."""
    return list(dict.fromkeys(name for _, values in records if isinstance(values, Mapping) for name in values))
