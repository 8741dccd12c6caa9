"""Texts as a model reads them: prompts that a causal model continues, or sources that an encoder-decoder reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfkit.errors import UsageError
from hfkit.recipe.keys import Generate
from hfkit.recipe.overrides import override_settings
from hfkit.tasks import task_class
from hfkit.tasks.base import Head, Task
from hfkit.verbs.generate.context import Encoded, encode
from hfkit.verbs.trained import saved_settings

if TYPE_CHECKING:
    from hfkit.models import Checkpoint

SOURCE_KEYS = ("seq2seq.source_prefix", "seq2seq.source_language", "seq2seq.target_language")

OVERFLOW = "; generate.overflow=truncate cuts its left end, generate.overflow=slide reads on from its last half"


@dataclass(frozen=True)
class Reader:
    """A tokenizer with what decides how texts are read. `task` is seq2seq for an encoder-decoder, else None."""

    tokenizer: Any
    config: Any
    limit: int  # tokens of the model's context
    task: Task | None

    @classmethod
    def of(cls, checkpoint: Checkpoint, overrides: Sequence[str] = ()) -> Reader:
        """The reader of a checkpoint; of an encoder-decoder with what is put around a source.

        That is what SOURCE_KEYS of `overrides` say, else hfkit.json. Raises UsageError for one of these keys where
        there is no source, and for a language that is missing or unknown.
        """
        from hfkit.models import load_config, load_tokenizer, max_positions

        config = load_config(checkpoint)
        own, _ = parted(overrides)
        if not getattr(config, "is_encoder_decoder", False):
            if own:
                key = own[0].partition("=")[0]
                raise UsageError(
                    f"'{key}' has no effect: {checkpoint.name} continues texts and reads no source", "leave it out"
                )
            return cls(load_tokenizer(checkpoint), config, max_positions(config), None)
        from hfkit.tasks.seq2seq.languages import check_languages

        kind = task_class("seq2seq")
        settings: Any = override_settings(saved_settings(checkpoint, kind, "seq2seq"), "seq2seq", own)
        task, _ = kind(settings).adopt([], config)
        tokenizer = load_tokenizer(checkpoint, "seq2seq-lm")
        check_languages(tokenizer, settings)
        return cls(tokenizer, config, max_positions(config), task)

    @property
    def head(self) -> Head:
        return "causal-lm" if self.task is None else "seq2seq-lm"

    def encode(self, texts: Sequence[str], settings: Generate) -> list[Encoded]:
        """The tokens of each text. Raises ModelError for an empty prompt."""
        if self.task is None:
            return encode(texts, self.tokenizer, settings, self.limit)
        from hfkit.tasks.seq2seq.encode import source_tokens
        from hfkit.tasks.seq2seq.languages import with_languages

        kept: Any = self.task.settings
        sources = [kept.source_prefix + text for text in texts]
        return [Encoded(ids) for ids in source_tokens(sources, with_languages(self.tokenizer, kept))]

    def check(self, found: Sequence[Encoded], ids: Sequence[str]) -> None:
        """Every text must fit the model. Raises UsageError with counts."""
        from hfkit.engine.decoding.limits import check_room, check_sources

        lengths = [len(one.ids) for one in found]
        if self.task is None:
            check_room(lengths, ids, self.limit, otherwise=OVERFLOW)
        else:
            check_sources(lengths, ids, self.config)

    def fitting(self, settings: Generate) -> Generate:
        """What is written from a source is the likeliest, unless sampling was asked for."""
        told = any(getattr(settings, name) != "auto" for name in ("temperature", "top_k", "top_p"))
        if self.task is None or told or settings.samples > 1:
            return settings
        return settings.model_copy(update={"temperature": 0.0})


def parted(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """(keys of how a source is read, all others) of KEY=VALUE words."""
    own = [text for text in overrides if text.partition("=")[0].strip() in SOURCE_KEYS]
    return own, [text for text in overrides if text not in own]
