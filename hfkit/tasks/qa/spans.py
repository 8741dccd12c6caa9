"""The exact best spans of each window, on the device, and their pooling over the windows of a row; called by QA.

All spans of the band (end not before start, at most `longest` tokens) compete: starts and ends are not pruned first,
as the reference scripts do. Ties go to the lowest start, then to the shorter span, on every device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hfkit.tasks.graphemes import whole
from hfkit.tasks.qa.answers import trimmed

if TYPE_CHECKING:
    import torch

    from hfkit.tasks.base import Read

_CELLS_AT_ONCE = 1 << 23  # scores held at once while searching: 8 bytes each, plus what top-k needs


class Span(NamedTuple):
    """Characters [start, end) of a context and the score of the tokens they come from: start logit + end logit, less
    what its length costs."""

    start: int
    end: int
    score: float


def best_spans(
    start: torch.Tensor, end: torch.Tensor, allowed: torch.Tensor, *, longest: int, n_best: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The `n_best` best spans of each window as (first token, last token, score), each (windows, n_best), best first.

    start, end: float32 logits (windows, tokens); allowed: bool (windows, tokens), tokens that a span may begin and end
    at. Places without a span hold tokens 0, 0 and the score -inf. Exact; memory is bounded by taking windows in parts.
    """
    import torch

    windows, tokens = start.shape
    width = min(longest, tokens)
    step = max(1, _CELLS_AT_ONCE // max(1, tokens * width))
    parts = [
        _best_of_part(start[i : i + step], end[i : i + step], allowed[i : i + step], width, n_best)
        for i in range(0, windows, step)
    ]
    first, last, score = (torch.cat(column) for column in zip(*parts, strict=True))
    return first, last, score


def less_length(
    start: torch.Tensor, end: torch.Tensor, batch: Mapping[str, torch.Tensor], allowed: torch.Tensor, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose sums are lower by `penalty` for each character of their span. All (windows, tokens).

    A span's cost is its end's less its start's, so that the search need not know of it. Places count from where the
    window's context begins: those of a long context would be rounded.
    """
    if not penalty:
        return start, end
    first, last = batch["char_start"], batch["char_end"]
    begin = (first * allowed + last.amax() * ~allowed).amin(dim=1, keepdim=True)
    return start + (first - begin) * penalty, end - (last - begin) * penalty


def _best_of_part(
    start: torch.Tensor, end: torch.Tensor, allowed: torch.Tensor, width: int, n_best: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    import torch

    none = float("-inf")
    tokens = start.shape[1]
    ends = torch.nn.functional.pad(end.masked_fill(~allowed, none), (0, width - 1), value=none).unfold(1, width, 1)
    scores = (start.masked_fill(~allowed, none).unsqueeze(2) + ends).flatten(1)  # cell = start * width + (length - 1)
    # One integer orders by score, then by cell, so that top-k has no ties to break in its own way.
    bits = (scores + 0.0).view(torch.int32).long()  # + 0.0 makes -0.0 equal to 0.0
    ordered = torch.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))
    cells = torch.arange(scores.shape[1], device=scores.device)
    kept = min(n_best, scores.shape[1])
    cell = torch.topk(ordered * (1 << 32) - cells, kept, dim=1).indices
    score = scores.gather(1, cell)
    first = cell // width
    last = (first + cell % width).clamp(max=tokens - 1)
    missing = score == none
    fill = (0, n_best - kept)
    pad = torch.nn.functional.pad
    return (
        pad(first.masked_fill(missing, 0), fill),
        pad(last.masked_fill(missing, 0), fill),
        pad(score, fill, value=none),
    )


def pool(context: str, reads: Sequence[Read], n_best: int, *, length_penalty: float = 0.0) -> list[Span]:
    """The best spans of a row over all its windows, best first, each span of characters once with its highest score.

    White space at the ends of a span is left out (some tokenizers count the space before a word to the word), and a
    span that ends inside of a character that people see as one takes all of it (byte tokenizers cut emoji apart). It
    costs by the characters that it has then.
    """
    scores = np.concatenate([read["score"] for read in reads])
    starts = np.concatenate([read["char_start"] for read in reads])
    ends = np.concatenate([read["char_end"] for read in reads])
    best: dict[tuple[int, int], float] = {}
    valid = np.isfinite(scores)
    for start, end, score in zip(starts[valid].tolist(), ends[valid].tolist(), scores[valid].tolist(), strict=True):
        inner = trimmed(context, start, end)
        if inner[0] < inner[1]:
            place = whole(context, *inner)
            score += length_penalty * ((end - start) - (place[1] - place[0]))
            best[place] = max(score, best.get(place, float("-inf")))
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0][0], item[0][1]))
    return [Span(*place, score) for place, score in ranked[:n_best]]
