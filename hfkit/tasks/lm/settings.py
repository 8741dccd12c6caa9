"""The keys of `lm:`, for both objectives."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from hfkit.recipe.section import Auto, Section, key


class LanguageModelSettings(Section):
    """The keys of `lm:`."""

    objective: Literal["auto", "causal", "masked"] = key(
        "auto", "what is learnt: causal, the next token; masked, hidden ones; auto: causal for GPT-2s, masked for BERTs"
    )
    block_size: Auto | Annotated[int, Field(ge=2)] = key(
        "auto", "tokens read at once; auto: the model's positions, 256 from scratch"
    )
    stride: PositiveInt | None = key(
        None, "causal: tokens scored by each block, the rest is context; null: block_size"
    )
    whole_word: bool = key(False, "masked: hide all pieces of a word together (WordPiece tokenizers)")
    scorer: Literal["text", "lambada"] = key(
        "text", "what eval scores: text, every token; lambada, the last word of each row"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.block_size, int) and self.stride and self.stride > self.block_size:
            raise ValueError(f"stride {self.stride} is larger than block_size {self.block_size}")
        return self
