"""Pseudo-labels: what a trained model said of unlabelled rows, as the targets that training learns from beside gold.

A target is a list of numbers, one for each class, that add up to the row's weight: cross-entropy with probabilities
(Hinton et al. 2015), times the weight. Used by verbs/finetune.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data.predictions import read_predictions
from hfkit.errors import DataError
from hfkit.tasks.base import Feature, Prediction

if TYPE_CHECKING:
    import numpy as np

    from hfkit.data.features import Features
    from hfkit.data.rows import Rows

COLUMN = "labels_soft"  # of a feature: (classes,) numbers that add up to the weight of the row
SHOWN = 5
EXACT = 0.01  # by which probabilities may miss 1 in all


def targets_of(rows: Rows, path: Path, places: Mapping[str, int], said: Callable[[Any], str | None]) -> np.ndarray:
    """The probabilities (rows, classes) that the file of predictions gives to each row; without any, all on one class.

    `places` are the classes' places in the head, `said` gives the class that a word of the file means. Raises DataError
    where the file does not answer just these rows, and for classes that the head does not have.
    """
    import numpy as np

    found: dict[str, Prediction] = {}
    for item in read_predictions(path):
        if item["id"] in found:
            raise DataError(f"{path}: the id {item['id']!r} stands twice", "give each row one label")
        found[item["id"]] = item
    ids = [row["id"] for row in rows]
    odd = sorted(set(ids) ^ set(found))
    if odd:
        raise DataError(
            f"{path}: {len(odd):,} ids are in it or in {rows.name} alone ({', '.join(odd[:SHOWN])})",
            "label these rows anew: `hfkit predict MODEL --data D -o FILE`",
        )
    made = np.zeros((len(ids), len(places)), dtype=np.float32)
    for number, name in enumerate(ids):
        shares = found[name].get("probabilities") or {found[name]["prediction"]: 1.0}
        for word, share in shares.items():
            place = places.get(said(word) or "")
            if place is None:
                raise DataError(
                    f"{path}: {word!r} of row {name!r} is not a class of this training, which has {', '.join(places)}",
                    "label the rows with a model of the same classes",
                )
            made[number, place] += max(0.0, float(share))
        total = float(made[number].sum())
        if abs(total - 1) > EXACT:
            raise DataError(f"{path}: the probabilities of row {name!r} add up to {total:.3g}", "they should to 1")
        made[number] /= total
    return made


class WithPseudo:
    """Features of gold rows, and after them those of pseudo-labelled rows; each has its target in `labels_soft`."""

    def __init__(self, gold: Features, pseudo: Features, targets: np.ndarray, weight: float) -> None:
        import numpy as np

        self.gold, self.pseudo = gold, pseudo
        self._targets = targets[pseudo.rows]  # (pseudo features, classes)
        self._weight = weight
        self.lengths = np.concatenate([gold.lengths, pseudo.lengths])
        last = int(gold.rows[-1]) + 1 if len(gold) else 0
        self.rows = np.concatenate([gold.rows, pseudo.rows + last])
        content = [gold.fingerprint, pseudo.fingerprint, hashlib.sha256(targets.tobytes()).hexdigest(), weight]
        self.fingerprint = hashlib.sha256(repr(content).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Sequence[int]) -> list[Feature]:
        """The features with these numbers, in this order."""
        return [self._gold(i) if i < len(self.gold) else self._pseudo(i - len(self.gold)) for i in map(int, indices)]

    def _gold(self, number: int) -> Feature:
        feature = self.gold.take([number])[0]
        classes = range(self._targets.shape[1])
        return {**feature, COLUMN: [float(place == feature["label"]) for place in classes]}

    def _pseudo(self, number: int) -> Feature:
        feature, target = self.pseudo.take([number])[0], self._targets[number]
        count = len(self.gold)
        row = int(self.rows[count + number])
        return {**feature, "row": row, "label": int(target.argmax()), COLUMN: (self._weight * target).tolist()}
