"""Perplexity and its relatives from sums of negative log-likelihood; what tasks/lm reduces with.

Columns, one entry per row (a block of text): `nll` (nats, summed over the scored tokens), `tokens` (scored ones),
`bytes` (UTF-8 bytes of the text) and, if counted, `words` (of the original text, by white space). Everything comes from
the sums over rows, never from a mean of the rows' own perplexities, so results of parts add up.
T ln(perplexity) = W ln(word_perplexity) = B ln 2 bits_per_byte.
"""

import math
from collections.abc import Mapping

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.weights import mean, total


def reduce_text(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The metrics of what was measured: of every token, of last words, or of a masked model's (see their columns)."""
    if "greedy" in columns:
        return reduce_lambada(columns)
    return reduce_perplexity(columns) if "nll" in columns else reduce_masked(columns)


def reduce_masked(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of a model that fills in words: from `masked_nll` and `tokens`, nats and number of the tokens under fixed masks,
    `masked_perplexity` and `masked_loss`; from `pseudo_nll`, `tokens` and `bytes`, each token hidden once, alone,
    `pseudo_perplexity`, `pseudo_loss`, `pseudo_bits_per_byte`. None of them is a perplexity: they never chain up to the
    likelihood of the text.
    """
    kind = "pseudo" if "pseudo_nll" in columns else "masked"
    renamed = {"nll" if name == f"{kind}_nll" else name: values for name, values in columns.items()}
    return {f"{kind}_{name}": value for name, value in reduce_perplexity(renamed).items()}


def reduce_perplexity(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`perplexity` per token, `loss` (nats per token), `bits_per_byte`, and `word_perplexity` if words are given.

    A perplexity too large for a float is inf. Raises DataError when no token was scored.
    """
    nll, tokens = total(columns, "nll"), total(columns, "tokens")
    if tokens <= 0:
        raise DataError("no token was scored, so there is no perplexity", hint="the text needs two tokens or more")
    metrics = {"perplexity": _exp(nll / tokens), "loss": nll / tokens}
    size = total(columns, "bytes") if "bytes" in columns else 0.0
    if size > 0:
        metrics["bits_per_byte"] = nll / (math.log(2) * size)
    words = total(columns, "words") if "words" in columns else 0.0
    if words > 0:
        metrics["word_perplexity"] = _exp(nll / words)
    return metrics


def reduce_lambada(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`accuracy` in percent from `greedy` (0 or 1), and `perplexity` of the last words from `nll` (nats of a word)."""
    nll, right = mean(columns, np.asarray(columns["nll"])), mean(columns, np.asarray(columns["greedy"]))
    if nll is None or right is None:
        raise DataError("there are no rows to score")
    return {"accuracy": 100.0 * right, "perplexity": _exp(nll)}


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
