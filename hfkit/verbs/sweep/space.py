"""What is searched: KEY=A,B,C and KEY=A..B of a command line apart from plain KEY=VALUE, checked against the recipe."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfkit.errors import UsageError
from hfkit.recipe import Recipe
from hfkit.recipe.load import as_dict, build, flat
from hfkit.recipe.overrides import own_key, split_override, two_spellings
from hfkit.tasks import task_class

PAIRS = ("data.train", "data.validation")  # here a comma joins two files, line by line
SCORING = (
    "task", "train.metric", "data.validation", "data.validation_share", "data.folds", "data.fold", "data.group",
    "data.limit",
)  # fmt: skip
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})\Z")
WIDE = 10.0  # a range whose ends differ by this factor is drawn evenly in its logarithm
MOST_LISTED = 100  # whole numbers of a range that a grid may have
OPENING, CLOSING, QUOTES = "[{", "]}", "'\""


@dataclass(frozen=True)
class Axis:
    """One key that is searched: the listed `values`, as they were typed, or numbers from `low` to `high`."""

    key: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False

    @property
    def listed(self) -> tuple[str, ...]:
        """Every value; none for a range of fractions, or of very many whole numbers."""
        if self.values:
            return self.values
        numbers = range(int(self.low), int(self.high) + 1 if self.whole else 0)
        return tuple(map(str, numbers)) if self.whole and len(numbers) <= MOST_LISTED else ()

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high >= WIDE * self.low

    @property
    def text(self) -> str:
        """The axis as it is typed."""
        if self.values:
            return f"{self.key}={','.join(self.values)}"
        return f"{self.key}={_typed(self, self.low)}..{_typed(self, self.high)}"

    def describe(self) -> str:
        """The values in words."""
        if self.values:
            return ", ".join(self.values)
        ends = f"{int(self.low)} to {int(self.high)}" if self.whole else f"{self.low:g} to {self.high:g}"
        return f"{ends}, evenly in the logarithm" if self.log else ends


def split(pairs: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """The axes among KEY=VALUE words, and the other words. Raises UsageError."""
    axes, fixed = [], []
    for text in pairs:
        axis = axis_of(text)
        if axis is None:
            fixed.append(text)
        else:
            axes.append(axis)
    return axes, fixed


def axis_of(text: str) -> Axis | None:
    """KEY=A,B,C or KEY=A..B as an axis; None for a plain value. Commas inside [], {} and quotes do not count."""
    key, _, value = text.partition("=")
    key = key.strip()
    if found := RANGE.match(value.strip()):
        low, high = found.groups()
        if float(low) >= float(high):
            raise UsageError(f"{text}: the range is empty", f"write the smaller end first: {key}={high}..{low}")
        whole = low.lstrip("+-").isdigit() and high.lstrip("+-").isdigit()
        return Axis(key, low=float(low), high=float(high), whole=whole)
    values = [] if key in PAIRS else parts(value)
    if len(values) < 2:
        return None
    if not all(values):
        raise UsageError(f"{text}: an empty value stands between commas", "write null for no value")
    if len(set(values)) < len(values):
        raise UsageError(f"{text}: a value is listed twice", "list each once")
    return Axis(key, tuple(values))


def parts(value: str) -> list[str]:
    """The text cut at its outer commas."""
    found, depth, quote = [""], 0, ""
    for sign in value:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in QUOTES:
            quote = sign
        elif sign in OPENING or sign in CLOSING:
            depth += 1 if sign in OPENING else -1
        if sign == "," and not depth and not quote:
            found.append("")
        else:
            found[-1] += sign
    return [part.strip() for part in found]


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with these values of the axes. Raises UsageError."""
    given = [f"{key}={value}" for key, value in values.items()]
    return build(as_dict(recipe), given, name=recipe.name, where="sweep")


def check(recipe: Recipe, axes: Sequence[Axis], fixed: Sequence[str] = ()) -> None:
    """Try every listed value and both ends of every range. Raises UsageError.

    `fixed` are the KEY=VALUE words that the recipe was read with; a key is searched or fixed, however it is spelled.
    """
    if not axes:
        raise UsageError(
            "nothing to search: no key has several values", "list them, as in train.lr=1e-5,3e-5 or train.epochs=2..4"
        )
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"{key} is searched twice", "list all its values at once")
        if key in SCORING:
            raise UsageError(f"{key} cannot be searched: it changes what is scored", "sweep once for each value")
    _refuse_two_spellings(recipe, axes, fixed)
    for axis in axes:
        for value in axis.values or (_typed(axis, axis.low), _typed(axis, axis.high)):
            with_values(recipe, {axis.key: value})


def _refuse_two_spellings(recipe: Recipe, axes: Sequence[Axis], fixed: Sequence[str]) -> None:
    """Raise UsageError where an axis is about the same key as another or as a fixed word, as `max_length` and
    `nli.max_length` are, or `train={lr: 1}` and `train.lr`."""
    kind = task_class(recipe.task)

    def own(key: str) -> str:
        return own_key(key, kind.name, kind.Settings)

    searched = [(axis.text, own(axis.key)) for axis in axes]
    known = [(word, own(key)) for word in fixed for key in _keys_of(*split_override(word))]
    for number, (text, key) in enumerate(searched):
        for other, its_key in (*known, *searched[:number]):
            if key == its_key:
                raise two_spellings(other, text)
            if f"{key}.".startswith(f"{its_key}.") or f"{its_key}.".startswith(f"{key}."):
                raise UsageError(
                    f"{other} and {text}: one gives a whole section, the other a key in it", "give the keys one by one"
                )


def _keys_of(dotted: str, value: Any) -> list[str]:
    """The keys that a word sets: its own, or those of the mapping that it gives."""
    return list(flat(value, f"{dotted}.")) if isinstance(value, Mapping) else [dotted]


def _typed(axis: Axis, value: float) -> str:
    return str(int(value)) if axis.whole else repr(value)


def grid(axes: Sequence[Axis], most: int | None) -> list[dict[str, str]]:
    """Every combination, the last axis fastest; empty where a range has no list, or there are more than `most`."""
    size = 1
    for axis in axes:
        size *= len(axis.listed)
    if not size or (most is not None and size > most):
        return []
    return [dict(values) for values in _combinations(axes)]


def _combinations(axes: Sequence[Axis]) -> Iterator[tuple[tuple[str, str], ...]]:
    yield from itertools.product(*([(axis.key, value) for value in axis.listed] for axis in axes))
