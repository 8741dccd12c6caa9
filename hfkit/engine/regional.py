"""The repeated layers of a packed model through torch.compile: one compilation serves them all, the rest stays.

How many tokens, sequences and tokens of the longest there are is left open in what is compiled, so rows need no padding
and other counts compile nothing anew. Code is made for a row of always the same shape (one for each power of two of
tokens), in a cache folder of that number: what a run computes depends neither on which batch came first nor on who
compiled before. Passes of training alone are compiled; evaluations run in `eager`, as `hfkit eval` does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hfkit.engine.collate import collate
from hfkit.engine.packing import Packed
from hfkit.engine.processes.place import Place
from hfkit.files import cache_folder

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
FOLDER = "compiled-layers"  # of the cache
LENGTH = 48  # tokens of a sequence of the row, a multiple of packing.ALIGNED
LEAST = 1024  # tokens of the smallest row

Backend = str | Callable[..., Any]


class Regions:
    """The repeated layers of `model`, and how they are compiled; `tokens` are about as many as a micro-batch has."""

    def __init__(self, model: Packed, place: Place, *, tokens: float, backend: Backend = "inductor") -> None:
        self.model, self.place, self.backend = model, place, backend
        self.layers = layers_of(model)
        self.tokens = row_tokens(tokens)

    def compile(self) -> None:
        """Compile the layers, forward and backward, by a pass that leaves no gradients; the cache makes it short.

        Raises what torch raises; the layers are as before then. What this process compiled earlier is forgotten.
        """
        torch.compiler.reset()
        cached_in(cache_folder() / FOLDER / str(self.tokens))
        for layer in self.layers:
            layer.forward = torch.compile(
                layer.forward, dynamic=True, fullgraph=True, backend=self.backend, options=self._options()
            )
        self.model.compiled = True
        try:
            self._pass()
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Layers run as their class says again."""
        for layer in self.layers:
            layer.__dict__.pop("forward", None)
        self.model.compiled = False

    def _options(self) -> dict[str, bool] | None:
        """With train.deterministic, no kernel is chosen by timing it."""
        chosen = self.backend == "inductor" and torch.are_deterministic_algorithms_enabled()
        return {"deterministic": True} if chosen and "deterministic" in torch._inductor.list_options() else None

    def _pass(self) -> None:
        """Hidden states of the row, and their gradients."""
        features = [{"input_ids": [0] * n, "token_type_ids": [0] * n} for n in row_lengths(self.tokens)]
        batch = {name: values.to(self.place.device) for name, values in collate(features, 0).items()}
        training = self.model.training
        self.model.train()
        with self.place.accelerator.autocast():
            hidden = self.model.hidden(batch)
        if hidden.requires_grad:  # not where all but the head is frozen
            hidden.float().sum().backward()
        self.model.zero_grad(set_to_none=True)
        self.model.train(training)


def layers_of(model: nn.Module) -> list[Any]:
    """The repeated layers, as transformers marks them; none for a model whose layers share one set of weights."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def eager() -> AbstractContextManager[Any]:
    """Inside, nothing that is compiled runs so."""
    found: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return found


def row_tokens(tokens: float) -> int:
    """The power of two next to a number of tokens, at least LEAST."""
    return max(LEAST, 2 ** round(math.log2(max(1.0, tokens))))


def row_lengths(tokens: int) -> list[int]:
    """Lengths of sequences, an even number of them, that add up to about `tokens`, an odd number.

    Boundaries are one more. So no size of the row equals another or a width of the model, which torch would take for
    one and the same size.
    """
    count = tokens // LENGTH // 2 * 2
    return [LENGTH] * (count - 1) + [LENGTH - 1]


def cached_in(folder: Path) -> None:
    """Keep what is compiled in `folder`, unless the user's environment names another place.

    torch writes its own default into the environment when it is first asked for; that is no wish of the user.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    given = os.environ.get(VARIABLE)
    if given is None or Path(given).parent.name == FOLDER or given == os.path.abspath(default_cache_dir()):
        os.environ[VARIABLE] = str(folder)
