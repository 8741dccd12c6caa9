"""Settings worth a trial, as data: one key each, tried against the settings so far on the same folds.

Those whose key this version has not, or the user has given, are left out; so are values that change nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hfkit.recipe import Recipe
from hfkit.recipe.load import as_dict, flat


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key and the value to try: as it stands, or `times` what the key `of` (by default the same) has."""

    key: str
    value: Any = None
    times: float | None = None
    of: str | None = None
    cost: float = 1.0  # how many times as long training takes

    def tried(self, known: Mapping[str, Any]) -> Any:
        """The value, given what all keys have now; None where it cannot be made, or is what the key has."""
        value = self.value
        if self.times is not None:
            base = known.get(self.of or self.key)
            if not isinstance(base, (int, float)) or isinstance(base, bool):
                return None
            value = float(f"{base * self.times:.3g}")
        return None if value == known.get(self.key) else value


# the most promising first, by what each brings for its time: guide/tricks.md has what was measured
CANDIDATES = (
    Candidate("train.head_lr", times=10, of="train.lr"),
    Candidate("tricks.pooling", "mean"),
    Candidate("train.epochs", times=2, cost=2.0),
    Candidate("train.lr", times=2),
    Candidate("tricks.r_drop", 1.0, cost=2.0),
    Candidate("tricks.multi_dropout", 4, cost=1.1),
    Candidate("train.lr", times=0.5),
    Candidate("dropout", 0.0),
    Candidate("train.layer_lr_decay", 0.9),
    Candidate("tricks.adversarial", "fgm", cost=2.0),
    Candidate("tricks.average", "ema"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One setting to try: its key, its value, and how many times as long training takes."""

    key: str
    value: Any
    cost: float

    @property
    def name(self) -> str:
        return f"{self.key}={self.value}"


def changes_to_try(recipe: Recipe, resolved: Mapping[str, Any], given: Collection[str]) -> list[Change]:
    """The candidates that this recipe can have. `resolved` says what every auto became in a run, `given` are the keys
    that the user has decided."""
    known = {**flat(as_dict(recipe)), **resolved}
    found = []
    for candidate in CANDIDATES:
        if candidate.key not in known or candidate.key in given:
            continue
        value = candidate.tried(known)
        if value is not None:
            found.append(Change(candidate.key, value, candidate.cost))
    return found
