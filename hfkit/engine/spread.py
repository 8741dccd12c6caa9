"""Prompts -> completions over the processes of one world: each decodes a share of the rows, all get all completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfkit.engine.decode import Completion, check_room, decode
from hfkit.engine.place import Place
from hfkit.models.families import max_positions
from hfkit.recipe.keys import Generate

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
) -> list[Completion]:
    """What `decode` gives, on every process; each has the same arguments and its own copy of the model.

    Prompts are dealt out by length, longest first, so that all have about as much to do. What is sampled is keyed by
    the row's id, so in float32 the number of processes changes nothing. Raises what `decode` raises, on all processes.
    """
    names = list(ids) if ids is not None else [str(number) for number in range(len(prompts))]
    check_room([len(prompt) for prompt in prompts], names, max_positions(model.config))
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    mine = order[place.world.rank :: place.world.size]
    found = decode(model, tokenizer, [prompts[row] for row in mine], settings, ids=[names[row] for row in mine])
    whole: list[list[Completion]] = [[] for _ in prompts]
    for rows, completions in place.gather((mine, found)):
        for at, row in enumerate(rows):
            whole[row] = completions[at * settings.samples : (at + 1) * settings.samples]
    return [completion for of_row in whole for completion in of_row]
