"""Rows -> predictions by greedy decoding: what answer.py does, for tasks whose driver is "decode"."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hfkit.engine.answer import parts
from hfkit.engine.decode import decode
from hfkit.engine.memory import give_back, out_of_memory, too_large
from hfkit.engine.packing import plain
from hfkit.engine.plan import answer_batches
from hfkit.engine.processes.place import Place
from hfkit.recipe.keys import Generate
from hfkit.stopping import Left
from hfkit.tasks.base import Prediction, Row, Task, Written

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hfkit.data.features import Features

BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}  # of sources
BATCH_FEATURES = {"cpu": 128, "cuda": 1024}


def writing(
    model: torch.nn.Module,
    task: Task,
    features: Features,
    *,
    place: Place,
    tokenizer: PreTrainedTokenizerBase,
    micro_batch_size: int | None = None,
    leave: Callable[[], bool] = lambda: False,
) -> Generator[int, None, list[Written]]:
    """Decode all features, yielding how many are done; returns what was written, in feature order, on the main process.

    Every process takes whole batches of one plan, so one and several processes write the same. `leave` is asked
    before each batch; when any process says yes, all raise Left.
    """
    inner: Any = plain(getattr(model, "module", model))
    kind = place.device.type
    size = micro_batch_size or BATCH_FEATURES.get(kind, BATCH_FEATURES["cpu"])
    found: list[Written] = []
    for first, last in parts(features.rows, task.blocks):
        batches = answer_batches(features.lengths[first:last], BATCH_TOKENS.get(kind, BATCH_TOKENS["cpu"]), size)
        mine: dict[int, Written] = {}
        for indices in batches[place.world.rank :: place.world.size]:
            if leave():
                break
            waiting = [indices + first]
            while waiting:
                part = waiting.pop()
                written = _decoded(inner, task, features, part, tokenizer)
                if written is None:  # memory ran out
                    give_back(place.device)
                    waiting += np.array_split(part, 2)
                else:
                    mine.update(zip(part.tolist(), written, strict=True))
            yield min(last, first + len(mine) * place.world.size)
        found += _met(mine, first, last, place, left=leave())
    return found


def merged(task: Task, rows: Sequence[Row], features: Features, written: Sequence[Written]) -> Iterator[Prediction]:
    """The prediction of each row from what was written for its features. Raises RuntimeError when it has none (a bug).

    `written` is complete: one entry for each feature.
    """
    starts = np.flatnonzero(np.diff(features.rows, prepend=-1)).tolist()
    owners = features.rows[starts].tolist()
    if owners != list(range(len(rows))):
        raise RuntimeError(f"{len(owners)} of {len(rows)} rows have features")
    for row, start, end in zip(rows, starts, [*starts[1:], len(written)], strict=True):
        yield task.merge(row, written[start:end])


def greedy(longest: int, batch_size: int) -> Generate:
    """Settings of an evaluation: the likeliest token each time, up to `longest` of them."""
    return Generate(
        temperature=0, top_k=0, top_p=1, max_new_tokens=longest, batch_size=batch_size, logprobs=True, dtype="float32"
    )


def _decoded(
    model: Any, task: Task, features: Features, indices: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> list[Written] | None:
    """What is written for these features; None when memory ran out and there is something to divide.

    Raises ResourceError when it does not suffice for one.
    """
    sources = [[int(token) for token in feature["input_ids"]] for feature in features.take(indices.tolist())]
    try:
        completions = decode(model, tokenizer, sources, greedy(int(task.settings.max_target_length), len(sources)))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        if len(indices) == 1:
            raise too_large(len(sources[0])) from error
        return None
    return [Written(c.text, float(sum(c.logprobs or ())), len(c.ids), c.finish_reason) for c in completions]


def _met(mine: dict[int, Written], first: int, last: int, place: Place, *, left: bool) -> list[Written]:
    """What all processes wrote of these features, in order; nothing on others than the main process.

    Raises Left on all when one left, RuntimeError when a feature was not written (a bug).
    """
    told = [(left, mine)] if place.world.size == 1 else place.gather((left, mine))
    if any(gone for gone, _ in told):
        raise Left
    if not place.world.main:
        return []
    whole = {number: written for _, part in told for number, written in part.items()}
    if len(whole) != last - first:
        raise RuntimeError(f"{last - first - len(whole)} features were not written")
    return [whole[number] for number in range(first, last)]
