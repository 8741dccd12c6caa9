"""Published checkpoints whose config says LABEL_k, and the classes they mean, each from what its makers say of it.

A checkpoint is listed when its publisher gives the order; where sources contradict each other (as they do for
textattack/distilbert-base-uncased-MNLI) it is left out, and `nli.model_labels` or a test of the orders decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from hfkit.tasks.labels import CONTRADICTION, ENTAILMENT, NEUTRAL

_CEN = (CONTRADICTION, ENTAILMENT, NEUTRAL)  # the order of Google's run_classifier.py
_ENC = (ENTAILMENT, NEUTRAL, CONTRADICTION)  # the order of the Hub's glue and snli

# Source: QData/TextAttack, textattack/dataset_args.py, from the Hub's labels to the model's.
KNOWN_ORDERS = {
    "textattack/bert-base-uncased-MNLI": _CEN,
    "textattack/bert-base-uncased-snli": _CEN,
    "textattack/distilbert-base-cased-snli": _ENC,
    "textattack/albert-base-v2-snli": _ENC,
}


def known_order(name: str | None, labels: Sequence[str]) -> list[str] | None:
    """The classes of a Hub checkpoint (`owner/name[@revision]`) whose labels are just LABEL_0, LABEL_1, LABEL_2."""
    found = KNOWN_ORDERS.get((name or "").partition("@")[0])
    nameless = list(labels) == [f"LABEL_{place}" for place in range(len(labels))]
    return list(found) if found and nameless and len(found) == len(labels) else None
