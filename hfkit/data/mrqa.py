"""MRQA 2019's own form (Fisch et al. 2019): a header line, then one context a line with its questions; to rows of qa.

`{"header": {"dataset": ..., "split": ...}}`, then `{"context": ..., "qas": [{"qid", "question", "answers",
"detected_answers": [{"text", "char_spans": [[first, last]]}]}]}`; the last character is inside. Used by `json_reader`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hfkit.data.records import Bad, Record


def expanded(records: Iterator[Record], say: Callable[[str], None]) -> Iterator[Record]:
    """The records as they are; of MRQA's form, which the first one shows, a row for each question."""
    first = next(records, None)
    if first is None:
        return
    value = first[1]
    if not isinstance(value, dict) or not (_is_header(value) or _has_questions(value)):
        yield first
        yield from records
        return
    dataset = None
    if _is_header(value):
        facts = value["header"]
        dataset = facts.get("dataset")
        say(f"MRQA's form, {', '.join(f'{name} {text}' for name, text in facts.items())}: one row a question")
    else:
        records = itertools.chain([first], records)
    for line, values in records:
        rows = [values] if isinstance(values, Bad) else _questions(values, dataset)
        yield from ((line, row) for row in rows)


def _is_header(value: Mapping[str, Any]) -> bool:
    return value.keys() == {"header"} and isinstance(value["header"], dict)


def _has_questions(value: Mapping[str, Any]) -> bool:
    return "context" in value and isinstance(value.get("qas"), list)


def _questions(value: Mapping[str, Any], dataset: Any) -> Iterator[dict[str, Any] | Bad]:
    """The rows of one context: id (MRQA's qid, by which its script matches predictions), question, context, answers."""
    if not _has_questions(value):
        yield Bad("a line needs a context and a list qas")
        return
    context = value["context"]
    for question in value["qas"]:
        if not isinstance(question, dict):
            yield Bad("an entry of qas is not an object")
            continue
        row = {name: question[name] for name in ("qid", "id") if name in question}
        row = {"id": next(iter(row.values()), None), "question": question.get("question"), "context": context}
        if dataset is not None:
            row["dataset"] = dataset
        try:
            answers = _answers(question, context)
        except (TypeError, ValueError, LookupError, AttributeError):
            yield Bad("detected_answers need text and char_spans, answers a list of texts")
            continue
        yield row if answers is None else {**row, "answers": answers}


def _answers(question: Mapping[str, Any], context: Any) -> list[dict[str, Any]] | None:
    """Gold answers, those with a place in the context first, since training takes the first; None without any key.

    Scores compare with `answers` alone, as MRQA's script does. So the text that stands in the context comes in only
    where it is an answer but for case and white space, which the script does not see.
    """
    published, detected = question.get("answers"), question.get("detected_answers")
    if published is None and detected is None:
        return None
    texts = [item["text"] for item in detected or []] if published is None else list(published)
    known = {_bare(text) for text in texts}
    found = []
    for item in detected or []:
        first, last = item["char_spans"][0]
        text = context[int(first) : int(last) + 1]
        if _bare(text) in known:
            found.append({"text": text, "answer_start": int(first)})
    placed = {answer["text"] for answer in found}
    return found + [{"text": text, "answer_start": None} for text in dict.fromkeys(texts) if text not in placed]


def _bare(text: str) -> str:
    return " ".join(text.lower().split())
