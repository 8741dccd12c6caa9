"""Adversarial SQuAD (AddSent, AddOneSent): rows to their worst variant per original question; scored as SQuAD v1.1.

Source: eval_squad.py of Jia & Liang 2017. A variant's id is its original's id, a dash and a suffix.
"""

from collections.abc import Sequence

import numpy as np


def worst_variants(ids: Sequence[str], f1: np.ndarray) -> np.ndarray:
    """Places of the rows that count, one per original question: the variant with the lowest `f1`, first one on ties.

    An original that has variants is itself left out; one without variants stands for itself. A row counts as a
    variant when the part of its id before the first dash is another row's id, so dashes in other ids do no harm.
    Rows come in the order in which their originals first appear. Feed the columns of these rows to reduce_squad, and
    to the bootstrap, whose rows are then the original questions.
    """
    known = set(ids)
    own: dict[str, list[int]] = {}
    variants: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        original = name.split("-", 1)[0]
        if original != name and original in known:
            own.setdefault(original, [])
            variants.setdefault(original, []).append(row)
        else:
            own.setdefault(name, []).append(row)
    return np.asarray([min(variants.get(name, rows), key=lambda row: f1[row]) for name, rows in own.items()], dtype=int)
