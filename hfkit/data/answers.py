"""Gold answers of questions, from any published form to one; used by `columns`."""

from __future__ import annotations

import json
from typing import Any

from hfkit.data.records import Bad


def answers_of(value: Any, start: Any = None) -> list[dict[str, Any]] | Bad | None:
    """Gold answers in any published form as [{"text", "start"}, ...]; None when there is no gold.

    Forms: SQuAD's list of {"text", "answer_start"}, Hugging Face's {"text": [...], "answer_start": [...]} (also as JSON
    in a text field), a list of texts, or one text with its start in a column of its own (an empty text is no answer).
    """
    try:
        return _answers_of(value, start)
    except (TypeError, ValueError, OverflowError):  # infinity is no whole number either
        return Bad("an answer_start is not a whole number")


def _answers_of(value: Any, start: Any) -> list[dict[str, Any]] | Bad | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value[:1] in ("{", "["):
            try:
                return answers_of(json.loads(value))
            except (ValueError, RecursionError):
                if value.startswith(("{'", "[{'", "['")):
                    return Bad("answers are written as Python prints them, not as JSON")
        return [{"text": value, "start": _start(start)}] if value else []
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
        if isinstance(texts, str):
            texts, starts = [texts], [starts] if not isinstance(starts, list) else starts
        if not isinstance(texts, list) or (
            starts is not None and (not isinstance(starts, list) or len(starts) != len(texts))
        ):
            return Bad("answers need as many answer_start as text")
        pairs = list(zip(texts, starts if starts is not None else [None] * len(texts), strict=True))
    elif isinstance(value, list):
        pairs = []
        for item in value:
            if isinstance(item, dict):
                pairs.append((item.get("text"), item.get("answer_start", item.get("start"))))
            else:
                pairs.append((item, None))
    else:
        return Bad(f"answers are neither a list nor an object but {type(value).__name__}")
    if not all(isinstance(text, str) for text, _ in pairs):
        return Bad("an answer has no text")
    return [{"text": text, "start": _start(position)} for text, position in pairs]


def _start(value: Any) -> int | None:
    """An offset as published (may be negative); None when absent. Raises ValueError or TypeError."""
    if value is None or value == "":
        return None
    if isinstance(value, float) and value != int(value):
        raise ValueError(value)
    return int(value)
