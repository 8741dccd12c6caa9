"""chrF, BLEU and ROUGE-L of generated texts by sacrebleu and rouge-score (the extra `texts`), as columns per row.

The libraries count n-grams and make scores of counts; what stands here keeps their counts apart by row, so that slices
and bootstraps work as for every other metric. Corpus scores are equal to the libraries' own (tested).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from hfkit.errors import DataError, UsageError
from hfkit.metrics.weights import mean, total

ORDERS = 4  # of BLEU's n-grams


def check_installed() -> None:
    """Raises UsageError, with the line to type, without the extra."""
    _libraries()


def measure_overlap(prediction: str, references: Sequence[str]) -> dict[str, float]:
    """One row's `bleu_...` and `chrf_...` counts, `rouge_l` (0-1, the best reference) and `em` (0 or 1, as it stands).

    Raises DataError without references, UsageError without the extra.
    """
    if not references:
        raise DataError("a row without a reference text cannot be scored by chrf, bleu or rouge_l")
    bleu, chrf, rouge = _libraries()
    counts = bleu.sentence_score(prediction, list(references))
    pieces = chrf._extract_corpus_statistics([prediction], [[text] for text in references])[0]
    columns = {"bleu_sys": float(counts.sys_len), "bleu_ref": float(counts.ref_len)}
    for order in range(ORDERS):
        columns[f"bleu_correct_{order}"] = float(counts.counts[order])
        columns[f"bleu_total_{order}"] = float(counts.totals[order])
    columns |= {f"chrf_{place}": float(count) for place, count in enumerate(pieces)}
    columns["rouge_l"] = max(rouge.score(text, prediction)["rougeL"].fmeasure for text in references)
    columns["em"] = float(prediction in references)
    return columns


def reduce_overlap(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`chrf` and `bleu` of the corpus as sacrebleu prints them (0-100), `rouge_l` and `exact_match` in percent."""
    if not len(columns["em"]):
        raise DataError("there are no rows to score")
    bleu, chrf, _ = _libraries()
    places = sum(name.startswith("chrf_") for name in columns)
    correct = [int(total(columns, f"bleu_correct_{order}")) for order in range(ORDERS)]
    totals = [int(total(columns, f"bleu_total_{order}")) for order in range(ORDERS)]
    lengths = int(total(columns, "bleu_sys")), int(total(columns, "bleu_ref"))
    pieces = [int(total(columns, f"chrf_{place}")) for place in range(places)]
    return {
        "chrf": float(chrf._compute_score_from_stats(pieces).score),
        "bleu": float(bleu.compute_bleu(correct, totals, *lengths, smooth_method="exp").score),
        "rouge_l": 100.0 * (mean(columns, np.asarray(columns["rouge_l"])) or 0.0),
        "exact_match": 100.0 * (mean(columns, np.asarray(columns["em"])) or 0.0),
    }


@cache
def _libraries() -> tuple[Any, Any, Any]:
    """(BLEU, chrF, ROUGE) as their defaults have them. Raises UsageError with the line to type."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise UsageError(
            f"chrf, bleu and rouge_l need {error.name or 'sacrebleu'}, which is not installed",
            'install it: pip install "hfkit[texts]"',
        ) from error
    # effective_order is for scores of single sentences, which are not used here; it keeps the library from warning
    return BLEU(effective_order=True), CHRF(), RougeScorer(["rougeL"], use_stemmer=False)
