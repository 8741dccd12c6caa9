"""Whether probabilities mean what they say: ECE, Brier, NLL, the reliability table, temperature; and abstention."""

import math

import numpy as np

from hfkit.errors import DataError

BINS = 15
COVERAGES = (100, 95, 90, 80, 70, 60, 50)
_SMALLEST = float(np.finfo(np.float64).eps)


def calibration(probabilities: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """`ece`, `brier` and `nll` of class probabilities [rows, classes] and gold class numbers [rows].

    ece (0-1): of the predicted class's probability, 15 equal bins (Guo et al. 2017); brier (0-2): squared error summed
    over the classes, mean over rows (Brier 1950); nll: mean of -ln p(gold), nats. Raises DataError without rows.
    """
    _need_rows(gold)
    confidence, right = top_class(probabilities, gold)
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(gold)), gold] = 1.0
    return {
        "ece": expected_calibration_error(confidence, right),
        "brier": float(np.mean(np.sum((probabilities - truth) ** 2, axis=1))),
        "nll": _nll(probabilities, gold),
    }


def calibration_binary(probability: np.ndarray, happened: np.ndarray) -> dict[str, float]:
    """`ece`, `brier` (0-1) and `nll` of the probability of one event, such as that a question has no answer."""
    _need_rows(probability)
    happened = np.asarray(happened, dtype=np.float64)
    clipped = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    return {
        "ece": expected_calibration_error(probability, happened),
        "brier": float(np.mean((probability - happened) ** 2)),
        "nll": float(-np.mean(happened * np.log(clipped) + (1 - happened) * np.log(1 - clipped))),
    }


def top_class(probabilities: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(probability of the likeliest class, 1.0 where it is the gold one, else 0.0)."""
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == gold).astype(np.float64)


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean over rows of |share right - mean confidence| of the row's bin; `bins` equal bins of (low, high]."""
    return sum(
        row["rows"] * abs(row["right"] - row["confidence"]) for row in reliability(confidence, right, bins)
    ) / len(confidence)


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[dict[str, float]]:
    """Per bin that has rows: `low`, `high`, `rows`, mean `confidence`, and the share that is `right` (0-1)."""
    _need_rows(confidence)
    place = np.clip(np.ceil(np.asarray(confidence) * bins - 1e-12).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=confidence, minlength=bins)
    hits = np.bincount(place, weights=right, minlength=bins)
    return [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "rows": int(counts[number]),
            "confidence": float(sure[number] / counts[number]),
            "right": float(hits[number] / counts[number]),
        }
        for number in range(bins)
        if counts[number]
    ]


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(ln p / temperature): above 1 is less sure; the likeliest class stays the likeliest."""
    logits = np.log(np.clip(probabilities, 1e-300, None)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def best_temperature(probabilities: np.ndarray, gold: np.ndarray) -> float:
    """The temperature within 0.05 and 20 of least NLL (Guo et al. 2017), by golden-section search on its logarithm.

    The NLL is convex in 1 / temperature, so that there is one minimum. Raises DataError without rows.
    """
    _need_rows(gold)
    low, high, shrink = math.log(0.05), math.log(20.0), (math.sqrt(5) - 1) / 2

    def cost(place: float) -> float:
        return _nll(with_temperature(probabilities, math.exp(place)), gold)

    left, right = high - shrink * (high - low), low + shrink * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > 1e-4:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - shrink * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + shrink * (high - low)
            at_right = cost(right)
    return math.exp((low + high) / 2)


def risk_coverage(confidence: np.ndarray, score: np.ndarray) -> dict[str, object]:
    """What answering only the surest rows gives: `aurc` and a table of {coverage (%), threshold, score (0-1)}.

    Rows are answered from the most confident on. aurc: mean over all coverages of the risk 1 - score (Geifman &
    El-Yaniv 2017), 0 is best; with no use of the confidence it would be the risk of all rows. `threshold` is the
    confidence of the last row answered.
    """
    _need_rows(confidence)
    order = np.argsort(-np.asarray(confidence), kind="stable")
    sums = np.cumsum(np.asarray(score, dtype=np.float64)[order])
    rows = np.arange(1, len(sums) + 1)
    table = []
    for coverage in COVERAGES:
        kept = max(1, round(coverage * len(sums) / 100))
        table.append(
            {
                "coverage": coverage,
                "threshold": float(np.asarray(confidence)[order[kept - 1]]),
                "score": float(sums[kept - 1] / kept),
            }
        )
    return {"aurc": float(np.mean(1 - sums / rows)), "table": table}


def _nll(probabilities: np.ndarray, gold: np.ndarray) -> float:
    chosen = probabilities[np.arange(len(gold)), gold]
    return float(-np.mean(np.log(np.clip(chosen, _SMALLEST, 1.0))))


def _need_rows(values: np.ndarray) -> None:
    if len(values) == 0:
        raise DataError("there are no rows to score")
