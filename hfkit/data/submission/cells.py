"""What a prediction puts into the columns of a submission: labels, probabilities, numbers, texts, by the kind asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hfkit.errors import DataError

# what the cells of a column are; open: the sample leaves them empty; list: JSON lists of labels
Kind = Literal["int", "float", "text", "list", "open"]
POSITIVE = ("1", "true", "yes", "positive", "pos")  # the one of two labels whose probability a lone column holds


class Cells:
    """The values of one submission; `rounded` are the columns whose numbers lost their fraction, `of_label` says which
    label's probability a lone column holds. `names` gives the data's own value of labels that the model calls
    otherwise, e.g. {"entailment": "0"}."""

    def __init__(self, path: Path, kinds: Mapping[str, Kind], names: Mapping[str, str]) -> None:
        self.path, self.kinds, self.names = path, kinds, names
        self.words = {label: value for label, value in names.items() if kind_of([value]) == "text"}
        self.alone = len(kinds) == 1
        self.rounded: dict[str, None] = {}
        self.of_label: str | None = None

    def of(self, item: Mapping[str, Any], name: str) -> Any:
        """What a prediction puts into the column `name`. Raises DataError when nothing fits."""
        answer, kind = item["prediction"], self.kinds[name]
        shares = item.get("probabilities") or {}
        if isinstance(answer, Mapping):  # several numbers
            if name not in answer:
                raise self._misfit(name, f"the model predicts {', '.join(answer)}")
            return self._number(name, kind, answer[name])
        names = self.words if kind in ("text", "list") else self.names
        said = [names.get(label, label) for label in (answer if isinstance(answer, list) else [answer])]
        label = next((label for label in shares if name in (label, names.get(label))), None)
        if label is not None and kind not in ("text", "list"):  # its probability, or whether it was chosen
            return int(names.get(label, label) in said) if kind == "int" else shares[label]
        if not self.alone:
            raise self._misfit(name, f"the model's labels are {', '.join(shares) or 'none'}")
        if isinstance(answer, float):
            return self._number(name, kind, answer)
        if isinstance(answer, list):
            return said if kind == "list" else self._text(name, kind, " ".join(said))
        return self._label(name, kind, said[0], {names.get(label, label): share for label, share in shares.items()})

    def _label(self, name: str, kind: Kind, label: str, shares: Mapping[str, float]) -> Any:
        """The label as the column has it, or the probability of the positive one where fractions are asked for."""
        if kind == "float" and len(shares) == 2:
            positive = [each for each in shares if each.lower() in POSITIVE]
            if len(positive) == 1:
                self.of_label = positive[0]
                return shares[positive[0]]
        if kind in ("text", "open"):
            return label
        try:
            return int(label) if kind == "int" else float(label)
        except ValueError:
            raise self._misfit(name, f"it holds {_WORDS[kind]}, the model answers '{label}'") from None
        except TypeError:
            raise self._misfit(name, "it holds lists, the model answers one label") from None

    def _number(self, name: str, kind: Kind, value: float) -> float:
        if kind in ("text", "list"):
            raise self._misfit(name, f"it holds {_WORDS[kind]}, the model predicts numbers")
        if kind == "int":
            self.rounded[name] = None
        return fitted(value, kind)

    def _text(self, name: str, kind: Kind, text: str) -> str:
        if kind not in ("text", "open"):
            raise self._misfit(name, f"it holds numbers, the model answers several labels ('{text}')")
        return text

    def _misfit(self, name: str, why: str) -> DataError:
        return DataError(
            f"{self.path}: column '{name}' cannot be filled: {why}",
            "train on labels named as the sample's, or write plain csv with --format csv",
        )


def fitted(value: float, kind: Kind) -> float:
    """A number as a column of this kind holds it; what is not finite stays, and is refused later."""
    return round(value) if kind == "int" and math.isfinite(value) else value


_WORDS = {"int": "numbers", "float": "numbers", "text": "text", "list": "lists", "open": "nothing"}


def kind_of(cells: Sequence[Any]) -> Kind | None:
    """What the cells of a column are: whole numbers, numbers with a point, text, lists, or nothing; None: mixed kinds.

    Text that is a number counts as one, as everything is text in a csv; JSON values are what they are.
    """
    present = [cell for cell in cells if cell not in ("", None)]
    if not present:
        return "open"
    if all(isinstance(cell, str) for cell in present):
        return _kind_of_texts(cells)
    if any(isinstance(cell, bool) for cell in present):
        return None
    if all(isinstance(cell, int) for cell in present):
        return "int"
    if all(isinstance(cell, (int, float)) for cell in present):
        return "float"
    return "list" if all(isinstance(cell, list) for cell in present) else None


def _kind_of_texts(cells: Sequence[str]) -> Kind:
    try:
        values = [float(cell) for cell in cells]
    except (ValueError, TypeError):
        return "text"
    whole = all(value.is_integer() and cell.strip("+- ").isdigit() for cell, value in zip(cells, values, strict=True))
    return "int" if whole else "float"
