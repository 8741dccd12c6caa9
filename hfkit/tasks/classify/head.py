"""What a trained classification head says of itself: its target, its labels in order, and settings that fit it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfkit.errors import ModelError
from hfkit.tasks.base import Resolution
from hfkit.tasks.classify.settings import ClassifySettings
from hfkit.tasks.labels import head_labels, model_labels
from hfkit.tasks.pairs import model_length
from hfkit.tasks.targets import Target

if TYPE_CHECKING:
    from transformers import PretrainedConfig

PROBLEM: dict[str, str] = {
    "single": "single_label_classification",
    "multi": "multi_label_classification",
    "regression": "regression",
}


def fitted(given: ClassifySettings, config: PretrainedConfig) -> tuple[ClassifySettings, list[Resolution]]:
    """Settings that fit a trained head. Raises ModelError when there is none, or one of another size."""
    trained = model_labels(config)
    if trained is None:
        raise ModelError("the model has no classification head", "fine-tune it first, with `hfkit finetune classify`")
    target = given.target if given.target != "auto" else _target_of(config)
    names = given.labels or trained
    if len(names) != len(trained):
        raise ModelError(
            f"the model's head gives {len(trained)} numbers, classify.labels has {len(names)}",
            "give one label for each of them, in the head's order",
        )
    length, chosen = model_length("classify.max_length", given.max_length, config)
    update: dict[str, Any] = {"target": target, "labels": names, "max_length": length}
    if target == "regression":
        update |= {"mean": given.mean or [0.0] * len(names), "std": given.std or [1.0] * len(names)}
    lines = [Resolution("classify.target", target, "the model's head")] if given.target == "auto" else []
    return given.model_copy(update=update), [*lines, *([chosen] if chosen else [])]


def _target_of(config: PretrainedConfig) -> Target:
    """The target that a trained head was made for, from its config."""
    if config.problem_type in (PROBLEM["multi"], PROBLEM["regression"]):
        return "multi" if config.problem_type == PROBLEM["multi"] else "regression"
    return "regression" if config.num_labels == 1 else "single"


def head_order(names: list[str], config: PretrainedConfig) -> list[str]:
    """The order of a trained head that has just these labels, else the order given."""
    trained = head_labels(config)
    return trained if trained is not None and set(trained) == set(names) else names
