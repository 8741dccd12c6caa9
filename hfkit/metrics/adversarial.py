"""Adversarial SQuAD (AddSent, AddOneSent): rows to their worst variant per original question; scored as SQuAD v1.1.

Source: eval_squad.py of Jia & Liang 2017. A variant's id is its original's id, a dash and a suffix.
"""

from collections.abc import Mapping, Sequence

import numpy as np


def worst_variants(ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns with one row per original question: that of the variant with the lowest `f1`, first one on ties.

    An original that has variants is itself left out; one without variants stands for itself. A row counts as a
    variant when the part of its id before the first dash is another row's id, so dashes in other ids do no harm.
    Rows come in the order in which their originals first appear. Feed the result to reduce_squad, and to the
    bootstrap, whose rows are then the original questions.
    """
    known = set(ids)
    worst: dict[str, int] = {}
    from_variant: set[str] = set()
    for row, name in enumerate(ids):
        prefix = name.split("-", 1)[0]
        is_variant = prefix != name and prefix in known
        original = prefix if is_variant else name
        if original not in worst:
            worst[original] = row
        elif is_variant and (original not in from_variant or columns["f1"][row] < columns["f1"][worst[original]]):
            worst[original] = row
        if is_variant:
            from_variant.add(original)
    kept = np.fromiter(worst.values(), dtype=np.int64, count=len(worst))
    return {name: np.asarray(values)[kept] for name, values in columns.items()}
