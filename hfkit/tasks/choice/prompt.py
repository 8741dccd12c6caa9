"""From a row to a prompt and the texts that may follow it, and to tokens, as lm-evaluation-harness does it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hfkit.errors import DataError
from hfkit.tasks import labels as names
from hfkit.tasks.base import Feature, Row
from hfkit.tasks.choice.settings import ChoiceSettings, pieces


def rendered(template: str, row: Row) -> str:
    """The prompt of a row: values stand where their columns are named, nothing else is interpreted."""
    return "".join(words + ("" if name is None else str(row[name])) for words, name in pieces(template))


def offered(settings: ChoiceSettings, row: Row) -> tuple[list[str], list[str]]:
    """(names, texts) of the choices of a row; a choice without a name of its own is named by its text, blanks off.

    Raises DataError when the row's column holds no list of two texts or more.
    """
    found: Any = settings.choices
    if settings.choices_column is not None:
        found = row.get(settings.choices_column)
        if isinstance(found, Mapping) and isinstance(found.get("text"), list):  # as the Hub's ai2_arc writes it
            labels = found.get("label") or found["text"]
            found = dict(zip(map(names.label_text, labels), found["text"], strict=False))
    texts = list(found.values()) if isinstance(found, Mapping) else found
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) and text for text in texts):
        raise DataError(
            f"row {row['id']!r}: {settings.choices_column} is not a list of two texts or more",
            "choice.choices_column says which column holds them",
        )
    if settings.choices_column is not None:
        texts = [text if text[0].isspace() else f" {text}" for text in texts]  # columns hold bare words
    return list(found) if isinstance(found, Mapping) else [text.strip() for text in texts], texts


def gold_place(row: Row, target: str, offers: tuple[list[str], list[str]]) -> int | None:
    """Which choice is the gold one; None where the row says none. Raises DataError for a value that is no choice.

    A name first, then a text (blanks off), then an NLI class by meaning, then a number from 0.
    """
    value = names.label_text(row.get(target))
    called, texts = offers
    stripped = [text.strip() for text in texts]
    for said, known in ((value, called), (value.strip(), stripped)):
        if said in known:
            return known.index(said)
    if value in names.NO_GOLD:
        return None
    meant = [place for place, name in enumerate(called) if names.meaning(name) == by_word(value)]
    if by_word(value) and len(meant) == 1:
        return meant[0]
    if value.isdecimal() and int(value) < len(texts) and not all(map(names.meaning, called)):
        return int(value)
    raise DataError(
        f"row {row['id']!r}: {target} is '{value}', which is none of {', '.join(called)}",
        "choice.choices='{VALUE: TEXT, ...}' says which text each value stands for",
    )


def by_word(value: str) -> str | None:
    """The NLI class of a word, or of the numbers 0, 1, 2 in the order of the Hub's sets."""
    return names.meaning(value) or names.DIGITS.get(value.strip())


def solved(settings: ChoiceSettings, row: Row, shots: Sequence[Row], prompt: str) -> list[str]:
    """`settings.shots` examples with their gold choice, drawn by (seed, the row's id); none has the row's own prompt.

    Raises DataError when there are not enough.
    """
    rng = np.random.default_rng([settings.seed, zlib.crc32(row["id"].encode())])
    found: list[str] = []
    tried: set[int] = set()
    while len(found) < settings.shots:
        if len(tried) == len(shots):
            raise DataError(
                f"choice.shots={settings.shots}, but choice.shots_data has {len(found)} examples for row {row['id']!r}",
                "give more data, or ask for fewer",
            )
        place = int(rng.integers(len(shots)))
        if place in tried:
            continue
        tried.add(place)
        shot, offers = shots[place], offered(settings, shots[place])
        gold, text = gold_place(shot, settings.target, offers), rendered(str(settings.template), shot)
        if gold is not None and text != prompt:
            found.append(text + offers[1][gold])
    return found


def tokenised(tokenizer: Any, prompt: str, choices: Sequence[str], end: int) -> tuple[list[int], list[list[int]]]:
    """(tokens of the prompt, tokens of each choice): both encoded as one text, cut where the prompt's own tokens end.

    Blanks at the end of the prompt belong to the choice, since tokens begin with them. An empty prompt is one token,
    `end`. Raises DataError where a choice melts into the prompt's last token.
    """
    bare = prompt.rstrip()
    texts = [bare, *(prompt + choice for choice in choices)]
    known, *whole = (found.ids for found in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False))
    asked = [ids[len(known) :] for ids in whole]
    if not all(asked):
        melted = choices[asked.index([])]
        raise DataError(
            f"the choice {melted!r} has no token of its own after {bare[-20:]!r}", "begin the choice with a blank"
        )
    return known or [end], asked


def followed(known: list[int], asked: list[int], size: int) -> Feature:
    """The columns of a prompt with a choice after it, `size` tokens at most: the prompt loses its beginning."""
    trimmed = max(0, len(known) + len(asked) - size - 1)
    ids = known[trimmed:] + asked
    scored = [0] * (len(ids) - 1 - len(asked)) + [1] * len(asked)
    return {"input_ids": ids[:-1], "targets": ids[1:], "asked": scored, "trimmed": trimmed}
