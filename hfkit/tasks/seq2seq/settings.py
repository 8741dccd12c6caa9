"""The keys of `seq2seq:`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hfkit.recipe.section import Auto, Section, key

Tokens = Annotated[int, Field(ge=2)]


class Seq2SeqSettings(Section):
    """The `seq2seq:` section of a recipe."""

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
