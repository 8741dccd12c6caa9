"""Start and end probabilities by character, on which models with different tokenizers can be averaged; kept on request.

Of one model and row: the start (end) logit of a character is the highest of the tokens that begin (end) there, over all
windows; with the null logits of the window whose null score is lowest, a softmax makes them probabilities. Characters
are those of `pool`: no white space at the ends, none cut apart. A softmax takes the same from every span, so of one
model this ranks spans as its own answers do, but where several tokens share a character (the bytes of an emoji) or
start and end come from different windows. Several are blended by the weighted mean of their probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.tasks.graphemes import whole
from hfkit.tasks.qa.spans import Span

if TYPE_CHECKING:
    import torch

    from hfkit.tasks.base import Read

KEY = "characters"
FAR = 16.0  # nats below the likeliest character of a context from which on one is left out: 1e-7 of its probability
# JSON types, characters ascending: start [[character, ln p, furthest end of a span from there], ...],
# end [[character, ln p], ...], null [ln p of its start, of its end]
Kept = Mapping[str, Any]


def token_logits(
    start: torch.Tensor,
    end: torch.Tensor,
    batch: Mapping[str, torch.Tensor],
    allowed: torch.Tensor,
    null_index: torch.Tensor,
    *,
    length: int,
) -> dict[str, torch.Tensor]:
    """What `characters` reads of each window: logits and characters of its tokens, (windows, length), and of null.

    start, end: float32 logits (windows, tokens), allowed: bool alike; null_index (windows, 1). Tokens that no span may
    begin or end at have the start logit -inf.
    """
    from torch.nn.functional import pad

    room, none = (0, length - start.shape[1]), float("-inf")
    return {
        "token_start": pad(start.masked_fill(~allowed, none), room, value=none),
        "token_end": pad(end, room),
        "token_from": pad(batch["char_start"].int(), room),
        "token_to": pad(batch["char_end"].int(), room),
        "null_start": start.gather(1, null_index).squeeze(1),
        "null_end": end.gather(1, null_index).squeeze(1),
    }


def characters(context: str, reads: Sequence[Read], spans: Sequence[Span], *, longest: int) -> Kept:
    """What one model says of a row by character, from the reads of its windows; `spans` stay whatever they score.

    `longest` is the model's limit in its own tokens: each start carries the furthest end that a span from there may
    have, so that the limit holds beside models with other tokens.
    """
    starts: dict[int, tuple[float, int]] = {}
    ends: dict[int, float] = {}
    for read in reads:
        places = np.flatnonzero(np.isfinite(read["token_start"]))
        if not len(places):
            continue
        froms, tos = (read[name][places].tolist() for name in ("token_from", "token_to"))
        tos = [_end(context, place) for place in tos]
        scores = (read[name][places].astype(np.float64).tolist() for name in ("token_start", "token_end"))
        for number, (place, begins, ending) in enumerate(zip(froms, *scores, strict=True)):
            begin, furthest = _begin(context, place), tos[min(number + longest, len(tos)) - 1]
            best, reach = starts.get(begin, (begins, furthest))
            starts[begin] = (max(best, begins), max(reach, furthest))
            ends[tos[number]] = max(ending, ends.get(tos[number], ending))
    lowest = min(reads, key=lambda read: float(read["null"]))
    null = [float(lowest["null_start"]), float(lowest["null_end"])]
    opening = {place: score for place, (score, _) in starts.items()}
    totals = [_total([*scores.values(), at]) for scores, at in zip((opening, ends), null, strict=True)]
    first = _likely(opening, totals[0], {span.start for span in spans})
    return {
        "start": [[place, value, starts[place][1]] for place, value in first],
        "end": [list(item) for item in _likely(ends, totals[1], {span.end for span in spans})],
        "null": [round(at - total, 6) for at, total in zip(null, totals, strict=True)],
    }


def blended(kept: Sequence[Kept], weights: Sequence[float]) -> Kept:
    """The weighted mean of probabilities by character; of each start the furthest end that any model allows."""
    used = [(one, float(np.log(weight))) for one, weight in zip(kept, weights, strict=True) if weight > 0]
    reach: dict[int, int] = {}
    for one, _ in used:
        for place, _, furthest in one["start"]:
            reach[place] = max(furthest, reach.get(place, 0))
    found = {}
    for name in ("start", "end"):
        terms: dict[int, list[float]] = {}
        for one, weight in used:
            for item in one[name]:
                terms.setdefault(item[0], []).append(weight + item[1])
        found[name] = {place: round(_total(parts), 6) for place, parts in sorted(terms.items())}
    return {
        "start": [[place, value, reach[place]] for place, value in found["start"].items()],
        "end": [[place, value] for place, value in found["end"].items()],
        "null": [round(_total([weight + one["null"][side] for one, weight in used]), 6) for side in (0, 1)],
    }


def spans_of(kept: Kept, n_best: int, *, length_penalty: float = 0.0) -> list[Span]:
    """The best spans by ln start + ln end, less `length_penalty` for each character, best first.

    Ties go to the lowest start, then to the shorter span.
    """
    if not kept["start"] or not kept["end"]:
        return []
    starts, opening, reach = (np.asarray(column) for column in zip(*kept["start"], strict=True))
    ends, ending = (np.asarray(column) for column in zip(*kept["end"], strict=True))
    # Of each start the ends within its reach alone: all pairs of a context of many windows would not fit into memory.
    low, high = (np.searchsorted(ends, limit, side="right") for limit in (starts, reach))
    counts = np.maximum(high - low, 0)
    first = np.repeat(np.arange(len(starts)), counts)
    last = np.arange(len(first)) + np.repeat(low - (np.cumsum(counts) - counts), counts)
    score = opening[first] + ending[last] - length_penalty * (ends[last] - starts[first])
    order = np.lexsort((ends[last], starts[first], -score))[:n_best]
    return [
        Span(int(starts[one]), int(ends[other]), float(value))
        for one, other, value in zip(first[order].tolist(), last[order].tolist(), score[order].tolist(), strict=True)
    ]


def _likely(scores: Mapping[int, float], total: float, sure: set[int]) -> list[tuple[int, float]]:
    """(character, ln p) of those that are not far below the likeliest, and of the sure ones, ascending."""
    limit = max(scores.values(), default=0.0) - FAR
    return [
        (place, round(value - total, 6)) for place, value in sorted(scores.items()) if value > limit or place in sure
    ]


def _begin(context: str, place: int) -> int:
    """The character that a token from `place` on begins with: the first that is no white space, and all of it."""
    while place < len(context) and context[place].isspace():
        place += 1
    return whole(context, place, len(context))[0]


def _end(context: str, place: int) -> int:
    """One past the character that a token up to `place` ends with."""
    while place > 0 and context[place - 1].isspace():
        place -= 1
    return whole(context, 0, place)[1]


def _total(values: Sequence[float]) -> float:
    """ln of the sum of exp; sorted first, so that the order of the models does not move a bit."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return float(ordered[-1] + np.log(np.exp(ordered - ordered[-1]).sum()))
