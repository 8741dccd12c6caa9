"""Prompts -> completions over the processes of one world: the first deals them out, and gets all completions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfkit.engine.decode import pieces
from hfkit.engine.decoding.row import Completion, Piece
from hfkit.engine.processes.place import Place
from hfkit.errors import told
from hfkit.recipe.keys import Generate
from hfkit.stopping import Left

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Share:
    """What one process decodes: numbers of prompts, their tokens, their ids."""

    rows: list[int]
    prompts: list[Sequence[int]]
    ids: list[str]


def shares(prompts: Sequence[Sequence[int]], ids: Sequence[str], size: int) -> list[Share]:
    """Prompts dealt out to `size` processes by length, longest first, so that all have about as much to do."""
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    dealt = (order[rank::size] for rank in range(size))
    return [Share(rows, [prompts[row] for row in rows], [ids[row] for row in rows]) for rows in dealt]


def decode_over(
    place: Place,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    share: Share,
    settings: Generate,
    *,
    leave: Callable[[], str | None] = lambda: None,
) -> Generator[Piece, None, list[list[Completion]]]:
    """Yield the pieces that this process decodes; returns the samples of every prompt of all shares, in order, on the
    main process, and nothing on others.

    Each process has its own copy of the model. What is sampled is keyed by the row's id, so in float32 the number of
    processes changes nothing but the last bits of log-probabilities. `leave` is asked at each piece for a reason to
    stop; when any process has one, all raise Left with it. Raises what `pieces` raises on any process, on all.
    """
    found: dict[int, dict[int, Completion]] = {row: {} for row in share.rows}
    reason, failure = None, None  # any failure is told: the others would wait for this process
    try:
        for piece in pieces(model, tokenizer, share.prompts, settings, ids=share.ids):
            if reason := leave():
                break
            row = share.rows[piece.row]
            if piece.completion:
                found[row][piece.sample] = piece.completion
            yield replace(piece, row=row)
    except Exception as error:
        failure = error
    heard = place.gather((failure and told(failure), reason, found))
    for problem in (failure, *(each for each, _, _ in heard)):
        if problem is not None:
            raise problem
    if reason := next((each for _, each, _ in heard if each), None):
        raise Left(reason)
    if not place.world.main:
        return []
    whole = {row: samples for _, _, part in heard for row, samples in part.items()}
    return [[whole[row][sample] for sample in sorted(whole[row])] for row in range(len(whole))]
