"""Sequences side by side in one product: what each token sees does not depend on who stands beside it."""

from __future__ import annotations

import pytest
import torch

from hfkit.engine.cpu import attention
from hfkit.engine.cpu.attention import Pattern
from hfkit.engine.cpu.groups import ALIGNED, MOST, groups_of

LENGTHS = (40, 31, 30, 30, 9, 9, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("causal", "window"), [(False, None), (True, None), (False, 3), (True, 3)])
def test_a_sequence_in_a_group_is_the_sequence_alone(
    causal: bool, window: int | None, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs and gradients of the packed row against each sequence in a call of its own."""
    torch.manual_seed(0)
    pattern, sizes = Pattern(0.3, causal, window), (sum(LENGTHS), 2, 8)
    inputs = [torch.randn(sizes, dtype=dtype, requires_grad=True) for _ in range(3)]
    weights = torch.randn(sizes, dtype=dtype)
    monkeypatch.setattr("hfkit.engine.cpu.groups.WORTH_WIDE", 12_000)
    groups_of.cache_clear()
    assert [len(group.lengths) for group in groups_of(LENGTHS, 2, dtype.itemsize)] != [1] * len(LENGTHS)
    together = attention.attention(*inputs, LENGTHS, pattern)
    first = torch.autograd.grad((together * weights).sum(), inputs)
    parts = zip(*(x.split(LENGTHS) for x in inputs), LENGTHS, strict=True)
    alone = torch.cat([attention.attention(q, k, v, [length], pattern) for q, k, v, length in parts])
    second = torch.autograd.grad((alone * weights).sum(), inputs)
    groups_of.cache_clear()
    near = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2}[dtype]
    for a, b in zip([together, *first], [alone, *second], strict=True):
        assert torch.isfinite(a).all()
        assert torch.allclose(a, b, rtol=near, atol=near)


def test_groups_cover_the_row_in_order_and_stay_small() -> None:
    drawn = torch.randint(1, 200, (300,), generator=torch.manual_seed(1)).tolist()
    lengths = tuple(sorted(drawn, reverse=True))
    for size in (2, 4):
        groups = groups_of(lengths, 12, size)
        assert [n for group in groups for n in group.lengths] == list(lengths)
        assert [group.first for group in groups] == [
            sum(sum(before.lengths) for before in groups[:place]) for place in range(len(groups))
        ]
        for group in groups:
            assert group.queries == max(group.lengths) and group.keys >= group.queries
            assert size != 2 or group.keys % ALIGNED == 0
            assert len(group.lengths) == 1 or len(group.lengths) * group.queries * group.keys * 12 <= MOST
        assert len(groups) <= len(lengths) / 2


def test_a_sequence_much_shorter_than_its_neighbour_stays_out_of_its_group() -> None:
    assert [group.lengths for group in groups_of((300, 10, 9, 8), 12, 2)] == [(300,), (10, 9, 8)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [(3, 0, 2), (0, 3, 2), (3, 2, 0), (0, 0, 5)])
def test_a_sequence_without_tokens_is_as_good_as_none(lengths: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(5, 2, 8, dtype=dtype, requires_grad=True) for _ in range(3)]
    pattern = Pattern(0.3)
    found = attention.attention(*inputs, lengths, pattern)
    assert torch.allclose(found, attention.attention(*inputs, [n for n in lengths if n], pattern), atol=1e-2)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(found.sum(), inputs))
    with torch.inference_mode():
        assert torch.allclose(attention.attention(*inputs, lengths, pattern), found, atol=1e-2)
        assert not attention.attention(*(x[:0] for x in inputs), [0], pattern).numel()


def test_lengths_must_be_those_of_the_row() -> None:
    row = torch.randn(5, 2, 8)
    with pytest.raises(ValueError, match="2 sequences of 6 tokens, but 5 queries and 5 keys"):
        attention.attention(row, row, row, [3, 3], Pattern(0.3))
    with pytest.raises(ValueError, match="but 3 queries"):
        attention.attention(row[:3], row, row, [3, 2], Pattern(0.3, first=True))


def test_a_first_token_that_asks_alone_sees_its_whole_sequence() -> None:
    for other in ({"causal": True}, {"window": 4}):
        with pytest.raises(ValueError, match="sees its whole sequence"):
            Pattern(0.3, first=True, **other)
