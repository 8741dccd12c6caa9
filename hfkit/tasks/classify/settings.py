"""The keys of `classify:`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from hfkit.recipe.section import Auto, Section, key
from hfkit.tasks.labels import label_text


class ClassifySettings(Section):
    """The keys of `classify:`."""

    of_scoring: ClassVar[frozenset[str] | None] = frozenset({"labels", "target"})

    max_length: Auto | Annotated[int, Field(ge=8)] = key("auto", "tokens of a row; auto: 99th percentile of training")
    labels: list[str] | None = key(None, "the labels in the head's order; null: integers ascending, else by code point")
    target: Literal["auto", "single", "multi", "regression"] = key("auto", "single label, multi label, or regression")
    mean: list[float] | None = key(None, "regression: what the head's 0 stands for; null: the training mean")
    std: list[float] | None = key(None, "regression: the unit of the head's numbers; null: the training deviation")

    @field_validator("labels", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return [label_text(label) for label in value] if isinstance(value, list) else value

    @field_validator("labels")
    @classmethod
    def _distinct(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (len(set(value)) != len(value) or not value):
            raise ValueError("give at least one label, and each once")
        return value
