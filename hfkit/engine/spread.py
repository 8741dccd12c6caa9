"""Prompts -> completions over the processes of one world: each decodes a share of the rows, all get all completions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hfkit.engine.decode import Completion, Piece, check_fits, pieces
from hfkit.engine.place import Place
from hfkit.recipe.keys import Generate
from hfkit.stopping import Left

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def decode_over(
    place: Place,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: Generate,
    *,
    ids: Sequence[str] | None = None,
    leave: Callable[[], str | None] = lambda: None,
) -> Generator[Piece, None, list[list[Completion]]]:
    """Yield the pieces that this process decodes; returns the samples of every prompt, on every process.

    Each process has the same arguments and its own copy of the model. Prompts are dealt out by length, longest first,
    so that all have about as much to do. What is sampled is keyed by the row's id, so in float32 the number of
    processes changes nothing but the last bits of log-probabilities. `leave` is asked at each piece for a reason to
    stop; when any process has one, all raise Left with it. Raises what `pieces` raises, on all processes.
    """
    names = list(ids) if ids is not None else [str(number) for number in range(len(prompts))]
    check_fits(model, [len(prompt) for prompt in prompts], names)
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    mine = order[place.world.rank :: place.world.size]
    found: dict[int, dict[int, Completion]] = {row: {} for row in mine}
    reason = None
    own = pieces(model, tokenizer, [prompts[row] for row in mine], settings, ids=[names[row] for row in mine])
    for piece in own:
        if reason := leave():
            break
        row = mine[piece.row]
        if piece.completion:
            found[row][piece.sample] = piece.completion
        yield replace(piece, row=row)
    told = place.gather((reason, found))
    if reason := next((each for each, _ in told if each), None):
        raise Left(reason)
    whole = {row: samples for _, part in told for row, samples in part.items()}
    return [[whole[row][sample] for sample in sorted(whole[row])] for row in range(len(prompts))]
