"""Softmax by powers of 2 and their sums: torch's softmax, whatever the scores are."""

from __future__ import annotations

import math

import pytest
import torch

from hfkit.engine.cpu import attention
from hfkit.engine.cpu.attention import Pattern
from hfkit.engine.cpu.softmax import base, shares

LENGTHS = (40, 31, 30, 9, 9, 1)


def whole(scores: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """The softmax that `shares` stands for, in float32, and whether powers and sums did."""
    given, sums = shares(scores * base(scores.dtype))
    return (given.float(), False) if sums is None else (given.float() / sums.float(), True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [0.1, 1.0, 8.0])
def test_shares_over_sums_are_the_softmax(dtype: torch.dtype, size: float) -> None:
    scores = (torch.randn(4, 7, 33, generator=torch.manual_seed(0)) * size).to(dtype)
    scores[:, :, 20:] = float("-inf")
    found, powers = whole(scores)
    assert powers == (dtype == torch.bfloat16)
    assert not found[:, :, 20:].any()
    near = 1e-6 if dtype == torch.float32 else 0.02 * max(1.0, size)
    assert torch.allclose(found, torch.softmax(scores.float(), -1), rtol=near, atol=near / 10)
    assert torch.allclose(found.sum(-1), torch.ones(4, 7), atol=1e-6 if dtype == torch.float32 else 0.01)


@pytest.mark.parametrize("level", [500.0, 100.0, 75.0, -75.0, -100.0, -500.0])  # 2^110 is within the format
def test_scores_beyond_the_reach_of_powers_are_looked_at_again(level: float) -> None:
    scores = torch.full((1, 3, 4), -1.0).bfloat16()
    scores[0, 1] += torch.tensor([level, level + 1, level + 2, float("-inf")]).bfloat16()
    found, powers = whole(scores)
    assert not powers
    exponents = (scores * base(scores.dtype)).float()  # rounded to bfloat16 as `whole` rounds them
    assert torch.isfinite(found).all()
    assert torch.allclose(found, torch.softmax(exponents * math.log(2), -1), atol=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("causal", "window"), [(False, None), (True, None), (True, 3)])
@pytest.mark.parametrize("scaling", [0.3, 60.0])
def test_attention_is_the_same_with_and_without_gradients(
    dtype: torch.dtype, causal: bool, window: int | None, scaling: float
) -> None:
    """Also where scores are so large that the powers leave the format."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(sum(LENGTHS), 2, 8).to(dtype) for _ in range(3))
    pattern = Pattern(scaling, causal, window)
    expected = attention.attention(query, key, value, LENGTHS, pattern)
    with torch.inference_mode():
        found = attention.attention(query, key, value, LENGTHS, pattern)
        exact = attention.attention(query.double(), key.double(), value.double(), LENGTHS, pattern)
    assert torch.isfinite(found).all()
    if dtype == torch.float32:
        assert torch.equal(found, expected)
    elif scaling < 1:
        assert torch.allclose(found, expected, atol=0.03)
    errors = [(x.double() - exact).norm() / exact.norm() for x in (found, expected)]
    assert errors[0] < max(2 * errors[1], 1e-6)
