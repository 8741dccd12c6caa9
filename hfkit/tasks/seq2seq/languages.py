"""Models of many languages: the codes that their tokenizers put around a source and a target."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from hfkit.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hfkit.tasks.seq2seq.settings import Seq2SeqSettings


def codes(tokenizer: Any) -> dict[str, int]:
    """{code: id} of the languages that a tokenizer knows; empty for all others (mBART, M2M100 and NLLB have them)."""
    if not hasattr(tokenizer, "src_lang"):
        return {}
    tokens = getattr(tokenizer, "lang_code_to_token", None)  # M2M100 writes `en` as __en__
    if tokens is not None:
        return {code: tokenizer.convert_tokens_to_ids(token) for code, token in tokens.items()}
    known = dict(getattr(tokenizer, "lang_code_to_id", None) or {})
    return known or {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens[5:]}


def check_languages(tokenizer: PreTrainedTokenizerBase, settings: Seq2SeqSettings) -> None:
    """Raises UsageError unless both languages are said where the model needs them, and known to it."""
    known = codes(tokenizer)
    for name in ("source_language", "target_language"):
        said = getattr(settings, name)
        if said is not None and not known:
            raise UsageError(f"seq2seq.{name}: this model knows no languages by code", "leave it out")
        if known and said not in known:
            shown = ", ".join(list(known)[:8]) + (", ..." if len(known) > 8 else "")
            problem = f"'{said}' is no language of this model" if said else "this model needs to be told the language"
            raise UsageError(f"seq2seq.{name}: {problem}", f"set seq2seq.{name}=CODE; codes: {shown}")


def with_languages(tokenizer: PreTrainedTokenizerBase, settings: Seq2SeqSettings) -> PreTrainedTokenizerBase:
    """A tokenizer that puts the codes of these languages around texts; the one given is left as it is."""
    if settings.source_language is None or settings.target_language is None:
        return tokenizer
    told: Any = copy.deepcopy(tokenizer)
    told.tgt_lang = settings.target_language
    told.src_lang = settings.source_language
    return told


def language_id(tokenizer: PreTrainedTokenizerBase, language: str | None) -> int | None:
    """The id of a language's code; None without a language."""
    return None if language is None else codes(tokenizer)[language]
