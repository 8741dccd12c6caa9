"""What the automatic settings of QA become: lengths that fit the model, the longest answer, the scorer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.tasks.base import Resolution, Row, batched
from hfkit.tasks.qa.encode import check_stride, frame_of, question_limit
from hfkit.tasks.sample import some

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

SHORTEST_LIMIT = 30  # tokens: the reference scripts' max_answer_length
Settled = tuple[dict[str, Any], list[Resolution]]


def resolve(
    settings: Any, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
) -> Settled:
    """New values of the settings, and why, from the training rows. Raises UsageError when the stride does not fit."""
    values, why = _positions(settings, config)
    special = frame_of(tokenizer).special
    values, why = _stride(settings, values, why, special)
    length = values.get("max_length", settings.max_length)
    check_stride(length, values.get("stride", settings.stride), settings.max_question_length, special)
    limit = question_limit(length, settings.max_question_length, special)
    why += _questions(settings, rows, tokenizer, limit)
    values["max_question_length"] = limit
    if settings.max_answer_length == "auto":
        values["max_answer_length"], reason = _answer_length(rows, tokenizer, length - special)
        why.append(Resolution("qa.max_answer_length", values["max_answer_length"], reason))
    scorer, chosen = scorer_of(settings, rows)
    return values | scorer, why + chosen


def adopt(settings: Any, rows: Sequence[Row], config: PretrainedConfig | None) -> Settled:
    """New values for a trained model: the scorer by the rows; lengths only where they are open or do not fit.

    Without a config (predictions of any tool are scored) only the scorer is settled.
    """
    if config is None:
        return scorer_of(settings, rows)
    values, why = _positions(settings, config)
    length = values.get("max_length", settings.max_length)
    if "max_length" in values and settings.stride > length // 3:
        values["stride"] = length // 4
        why.append(Resolution("qa.stride", values["stride"], "a quarter of the shortened window"))
    if settings.max_answer_length == "auto":
        values["max_answer_length"] = SHORTEST_LIMIT
        why.append(Resolution("qa.max_answer_length", SHORTEST_LIMIT, "the model does not say what it was trained on"))
    scorer, chosen = scorer_of(settings, rows)
    return values | scorer, why + chosen


def _positions(settings: Any, config: PretrainedConfig) -> Settled:
    from hfkit.models import max_positions

    positions = max_positions(config)
    if positions >= settings.max_length:
        return {}, []
    return {"max_length": positions}, [Resolution("qa.max_length", positions, "the model has no more positions")]


def _stride(settings: Any, values: dict[str, Any], why: list[Resolution], special: int) -> Settled:
    """When the model, not the user, shortened the window, a stride that no longer fits is shortened with it."""
    if "max_length" not in values:
        return values, why
    length = values["max_length"]
    room = length - special - question_limit(length, settings.max_question_length, special)
    if settings.stride < room:
        return values, why
    shorter = max(0, room // 2)
    return values | {"stride": shorter}, [*why, Resolution("qa.stride", shorter, "half of the room a question leaves")]


def _questions(settings: Any, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[Resolution]:
    """A line when questions are cut, or when half a window is less than the recipe asks for."""
    counts = list(lengths((row["question"].lstrip() for row in some(rows)), tokenizer))
    cut = sum(count > limit for count in counts)
    if not cut and limit == settings.max_question_length:
        return []
    reason = f"{cut} of {len(counts)} training questions looked at are longer and are cut"
    if limit < settings.max_question_length:
        reason = f"half of the window; {reason}"
    return [Resolution("qa.max_question_length", limit, reason)]


def _answer_length(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, room: int) -> tuple[int, str]:
    """The 99.5th percentile of the training answers' lengths, at least 30 and at most a window's room, in tokens."""
    texts = (answer["text"] for row in some(rows) for answer in (row.get("answers") or [])[:1])
    counts = list(lengths(texts, tokenizer))
    if not counts:
        return SHORTEST_LIMIT, "there are no training answers"
    share = int(np.percentile(counts, 99.5, method="higher"))
    chosen = min(max(share, SHORTEST_LIMIT), room)
    return chosen, f"99.5 % of the training answers have at most {share} tokens; at least {SHORTEST_LIMIT}"


def scorer_of(settings: Any, rows: Sequence[Row], section: str = "qa") -> Settled:
    """The scorer by the rows when it is open; squad gives way to squad2 where it could not score a question."""
    if settings.scorer not in ("auto", "squad"):
        return {}, []
    unanswerable = sum(row.get("answers") == [] for row in rows)
    chosen = "squad2" if unanswerable else "squad"
    if chosen == settings.scorer:
        return {}, []
    why = f"{unanswerable} of {len(rows)} questions are unanswerable" if unanswerable else "no question is unanswerable"
    return {"scorer": chosen}, [Resolution(f"{section}.scorer", chosen, why)]


def lengths(texts: Iterator[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[int]:
    """Tokens of each text by itself."""
    for chunk in batched(texts, 1000):
        ids = tokenizer(chunk, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        yield from map(len, ids)
