"""The keys of `nli:`, with the labels in them read by meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from hfkit.recipe.section import Auto, Section, key
from hfkit.tasks import labels as names


class NLISettings(Section):
    """The keys of `nli:`."""

    of_scoring: ClassVar[frozenset[str] | None] = frozenset({"labels", "model_labels", "classes", "hypothesis_only"})

    max_length: Auto | Annotated[int, Field(ge=8)] = key("auto", "tokens of a pair; auto: 99th percentile of training")
    labels: dict[str, str | None] | None = key(None, "class of each data label, e.g. {0: entailment}; null: by meaning")
    model_labels: Auto | dict[str, str] | None = key(
        None, "class of each label of a model that says LABEL_k; auto: the order that fits the rows scored"
    )
    classes: list[str] | None = key(None, "the head's classes in order; null: the model's own, else the data's")
    hypothesis_only: bool = key(False, "leave the premise out: the baseline of what the hypothesis alone gives away")

    @field_validator("labels", "model_labels", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {names.label_text(label): None if name is None else _class(name) for label, name in value.items()}

    @field_validator("classes")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        found = None if value is None else [_class(name) for name in value]
        if found is not None and (len(set(found)) != len(found) or len(found) < 2 or names.ENTAILMENT not in found):
            raise ValueError(f"give {list(names.THREE_WAY)} or {list(names.TWO_WAY)}, in any order")
        return found

    @property
    def named(self) -> Mapping[str, str]:
        """The model's labels that are explained by key."""
        return self.model_labels if isinstance(self.model_labels, dict) else {}


def _class(name: Any) -> str:
    found = names.meaning(str(name))
    if found is None:
        raise ValueError(f"{name!r} is not one of {', '.join(names.CLASSES)}")
    return found
