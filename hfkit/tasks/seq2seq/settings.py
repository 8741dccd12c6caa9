"""The keys of `seq2seq:` and of `qa-generation:`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator

from hfkit.recipe.section import Auto, Section, key

Tokens = Annotated[int, Field(ge=2)]


class Seq2SeqSettings(Section):
    """The `seq2seq:` section of a recipe."""

    of_scoring: ClassVar[frozenset[str] | None] = frozenset()

    max_source_length: Auto | Tokens = key(
        "auto", "tokens of a source, the rest is cut; auto: the 99th percentile of training, within the positions"
    )
    max_target_length: Auto | Tokens = key(
        "auto", "tokens of a target in training, and of what is written; auto: as for the source"
    )
    source_prefix: str = key("", "text put before every source, such as 'translate English to German: ' for a T5")
    source_language: str | None = key(None, "the source's code in a model of many languages, e.g. en_XX for mBART-50")
    target_language: str | None = key(None, "the code of the language to write in such a model, e.g. de_DE")
    label_smoothing: float = key(0.1, "share of each target token's probability spread over all tokens", ge=0, lt=1)


class QAGenerationSettings(Section):
    """The `qa-generation:` section of a recipe."""

    of_scoring: ClassVar[frozenset[str] | None] = frozenset({"scorer"})

    template: str = key(
        "question: {question} context: {context}", "the source; it begins with the question and ends with the context"
    )
    max_source_length: Tokens = key(384, "tokens of a window: question, part of the context, the template's words")
    stride: int = key(128, "tokens of context that neighbouring windows share", ge=0)
    max_question_length: PositiveInt = key(64, "tokens a question is cut to; never more than half of the window")
    max_target_length: Auto | Tokens = key(
        "auto", "tokens of an answer at most; auto: the 99th percentile of the training answers"
    )
    label_smoothing: float = key(0.0, "share of each answer token's probability spread over all tokens", ge=0, lt=1)
    scorer: Literal["auto", "squad", "squad2", "cmrc", "mrqa", "adversarial"] = key(
        "auto", "official script that scores; auto: squad2 if any question is unanswerable, else squad"
    )

    @field_validator("template")
    @classmethod
    def _has_both(cls, value: str) -> str:
        if value.count("{question}") != 1 or value.count("{context}") != 1 or not value.endswith("{context}"):
            raise ValueError("it names {question} once, and ends with {context}")
        return value
