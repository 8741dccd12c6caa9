"""What the best spans of a row and its null score make: the answer as it is written, and the list of spans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hfkit.tasks.base import Prediction, Row
from hfkit.tasks.qa.choose import by_expected_f1
from hfkit.tasks.qa.settings import QASettings
from hfkit.tasks.qa.spans import Span


def answer(row: Row, spans: Sequence[Span], null: float, settings: QASettings, scorer: str) -> Prediction:
    """The answer among `spans`, best first, or none, with the keys of `QA.merge`; `scorer` is the one in force."""
    if not spans:
        nothing = {"id": row["id"], "prediction": "", "start": 0, "end": 0}
        return nothing | {
            "score": None,
            "null_gap": None,
            "no_answer_probability": 1.0,
            "no_answer": True,
            "best_span": "",
        }
    context: str = row["context"]
    chosen = spans[0] if settings.answer_by == "score" else by_expected_f1(context, spans, scorer)
    gap = null - spans[0].score
    may_abstain = settings.scorer == "squad2" or settings.null_threshold is not None
    abstains = may_abstain and gap > (settings.null_threshold or 0.0)
    start, end = (0, 0) if abstains else (chosen.start, chosen.end)
    unsaid = {"best_span": context[chosen.start : chosen.end]} if abstains else {}
    return {
        "id": row["id"],
        "prediction": context[start:end],
        "start": start,
        "end": end,
        "score": spans[0].score,
        "null_gap": gap,
        "no_answer_probability": _sigmoid(gap),
        "no_answer": abstains,
        **unsaid,
    }


def listed(context: str, spans: Sequence[Span]) -> list[dict[str, Any]]:
    """The spans as JSON, best first, `probability` being the softmax of the scores of exactly these spans."""
    weights = [math.exp(span.score - spans[0].score) for span in spans]
    return [
        {
            "prediction": context[span.start : span.end],
            "start": span.start,
            "end": span.end,
            "score": span.score,
            "probability": weight / sum(weights),
        }
        for span, weight in zip(spans, weights, strict=True)
    ]


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))
