"""The classes of an NLI head in its own order: what a new one should have, and what a trained one means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hfkit.errors import DataError, ModelError
from hfkit.tasks import labels as names
from hfkit.tasks.nli.known import known_order
from hfkit.tasks.nli.settings import NLISettings

if TYPE_CHECKING:
    from transformers import PretrainedConfig

TESTED = "to be tested on the rows scored"  # why a head still says LABEL_k after adopt, see orders.py


def classes_to_train(
    settings: NLISettings, matched: Mapping[str, str | None], config: PretrainedConfig
) -> tuple[list[str], str]:
    """The classes of the training data, in the head's order, and why. Raises DataError when two and three are mixed."""
    found = {name for name in matched.values() if name}
    if names.OTHER in found and found - set(names.TWO_WAY):
        merged = {value: name if name == names.ENTAILMENT else names.OTHER for value, name in matched.items() if name}
        line = names.settings_line("nli.labels", merged)
        raise DataError("labels mix non-entailment with neutral or contradiction", f"to train two classes: {line}")
    wanted = settings.classes or list(names.TWO_WAY if names.OTHER in found else names.THREE_WAY)
    trained = names.head_labels(config)
    if trained is not None and len(trained) == len(wanted):
        known = known_order(config.name_or_path, trained) if settings.model_labels is None else None
        order = known or names.match_model_labels(trained, settings.named, training=True)
        if set(order) == set(wanted):
            return order, f"the known order of {config.name_or_path}" if known else "the order of the model's own head"
    return wanted, "as given" if settings.classes else "the training data's classes"


def trained_classes(settings: NLISettings, config: PretrainedConfig, *, gold: bool) -> tuple[list[str], list[str], str]:
    """(the head's labels, their classes, why) of a trained head, in its order.

    With `nli.model_labels=auto` a head that says LABEL_k keeps these words until its orders were tested on rows with
    `gold`. Raises ModelError without a head, without gold for such a test, or when hfkit.json says something else.
    """
    trained, stored = names.model_labels(config), settings.classes
    if trained is None:
        raise ModelError("the model has no classification head", "fine-tune it first, with `hfkit finetune nli`")
    nameless = any(names.meaning(label) is None for label in trained)
    if settings.model_labels == "auto" and nameless:
        if not gold:
            raise ModelError(
                "nli.model_labels=auto tests the orders of the labels on rows with gold, and there are none",
                "run `hfkit eval MODEL --task nli --data FILE nli.model_labels=auto` on labelled rows, it prints them",
            )
        return trained, trained, TESTED
    known = known_order(config.name_or_path, trained) if settings.model_labels is None else None
    classes = known or names.match_model_labels(trained, settings.named)
    if stored and stored != classes:
        said = f"its labels are {', '.join(classes)}, nli.classes (hfkit.json) says {', '.join(stored)}"
        raise ModelError(f"the model and its settings differ: {said}", "one of them was changed; restore it")
    if known:
        return trained, classes, f"the known order of {config.name_or_path}"
    return trained, classes, "as given by nli.model_labels" if nameless else "the model's own order"
