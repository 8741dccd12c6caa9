"""The keys of `choice:`."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from hfkit.recipe.section import Auto, Section, key
from hfkit.tasks import labels as names

Piece = tuple[str, str | None]  # words as they stand, then the name of a column or None


class ChoiceSettings(Section):
    """The keys of `choice:`."""

    template: str | None = key(
        None, "the prompt of a row, columns in braces, e.g. 'Q: {question} A:'; a choice follows it"
    )
    choices: list[str] | dict[str, str] | None = key(
        None, "texts that may follow, blank and all: a list, or {gold value: text}; null: choices_column has them"
    )
    choices_column: str | None = key(None, "column with each row's own list of texts (or {text: [...], label: [...]})")
    target: str = key("label", "column of the gold: a name or text of the choices, or their number from 0")
    normalise: Literal["none", "bytes", "pmi"] = key(
        "none", "what decides: log-likelihood; the same per byte; or above that without the prompt (pmi)"
    )
    shots: NonNegativeInt = key(0, "solved examples before each row, drawn by seed and row from shots_data")
    shots_data: str | None = key(None, "training data that examples are drawn from")
    separator: str = key("\n\n", "what stands between examples")
    seed: NonNegativeInt = key(0, "seed of the examples")
    max_length: Auto | Annotated[int, Field(ge=2)] = key(
        "auto", "tokens read at most, the prompt loses its beginning; auto: the model's positions"
    )

    @field_validator("choices", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {names.label_text(name): text for name, text in value.items()}
        return value

    @field_validator("template")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        if value is not None and not [name for _, name in pieces(value) if name]:
            raise ValueError("it names no column: write for example {question}")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.choices is not None and self.choices_column is not None:
            raise ValueError("choices and choices_column are both given: leave one out")
        texts = list(self.choices.values() if isinstance(self.choices, dict) else self.choices or ())
        if self.choices is not None and (len(texts) < 2 or len(set(texts)) < len(texts) or not all(texts)):
            raise ValueError("choices must be two texts or more, each another, none empty")
        if self.shots and self.shots_data is None:
            raise ValueError("shots needs shots_data, the training data that examples are drawn from")
        return self


def pieces(template: str) -> list[Piece]:
    """A template's words and columns in turn. Raises ValueError for anything but {column}, {{ and }}."""
    found: list[Piece] = []
    for words, name, form, conversion in Formatter().parse(template):
        if name is not None and (not name or form or conversion or any(mark in name for mark in ".[]!:")):
            raise ValueError(f"'{{{name}}}' is not the name of a column in braces; a brace itself is written twice")
        found.append((words, name))
    return found
