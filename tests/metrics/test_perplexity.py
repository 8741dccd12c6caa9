"""Perplexity, bits per byte and word perplexity from summed negative log-likelihoods."""

import math

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.perplexity import reduce_perplexity


def columns(**values: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(numbers, dtype=float) for name, numbers in values.items()}


def test_known_values() -> None:
    metrics = reduce_perplexity(columns(nll=[1, 2, 3], tokens=[1, 1, 1], bytes=[4, 4, 4]))
    assert metrics["perplexity"] == pytest.approx(7.389056, abs=1e-6)
    assert metrics["loss"] == 2.0
    assert metrics["bits_per_byte"] == pytest.approx(0.721348, abs=1e-6)
    assert 2 ** metrics["bits_per_byte"] == pytest.approx(1.648721, abs=1e-6)
    assert "word_perplexity" not in metrics


def test_a_uniform_model_has_the_vocabulary_size_as_perplexity() -> None:
    metrics = reduce_perplexity(columns(nll=[7 * math.log(50257)], tokens=[7], bytes=[20]))
    assert metrics["perplexity"] == pytest.approx(50257, rel=1e-12)


def test_parts_combine_by_summed_likelihood() -> None:
    first, second = columns(nll=[10], tokens=[10], bytes=[40]), columns(nll=[90], tokens=[30], bytes=[120])
    whole = reduce_perplexity({name: np.concatenate([first[name], second[name]]) for name in first})
    assert whole["perplexity"] == pytest.approx(math.exp(100 / 40))
    mean = (reduce_perplexity(first)["perplexity"] + reduce_perplexity(second)["perplexity"]) / 2
    assert abs(whole["perplexity"] - mean) > 0.5


def test_the_definitions_describe_the_same_likelihood() -> None:
    metrics = reduce_perplexity(columns(nll=[12, 30], tokens=[9, 11], bytes=[50, 61], words=[8, 9]))
    total = 20 * math.log(metrics["perplexity"])
    assert 17 * math.log(metrics["word_perplexity"]) == pytest.approx(total)
    assert 111 * math.log(2) * metrics["bits_per_byte"] == pytest.approx(total)


def test_too_large_is_infinite_and_no_token_is_an_error() -> None:
    assert reduce_perplexity(columns(nll=[1e6], tokens=[1], bytes=[1]))["perplexity"] == math.inf
    with pytest.raises(DataError):
        reduce_perplexity(columns(nll=[0], tokens=[0], bytes=[0]))
