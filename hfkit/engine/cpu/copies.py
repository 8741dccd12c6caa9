"""16-bit copies of weights that are kept in float32, made again when a weight has changed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from hfkit.engine.products import Gelu, Product, product


class Copies:
    """Weights of one or several layers, one under the other, and their biases.

    `inputs_first` says that weights lie as (inputs, outputs). A deep copy of a layer, whose parameters share memory
    with the layer's, and all threads share one.
    """

    def __init__(self, layers: Sequence[nn.Module], dtype: torch.dtype, *, inputs_first: bool = False) -> None:
        self.weights = [layer.weight for layer in layers]
        self.biases = [layer.bias for layer in layers if layer.bias is not None]
        self.dtype, self.inputs_first = dtype, inputs_first
        self._made: tuple[tuple[Any, ...], torch.Tensor, torch.Tensor | None] | None = None
        self._product: Product | None = None
        self._making = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Copies:
        return self

    def get(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight (outputs, inputs), a view, and bias in the 16-bit format."""
        with self._making:
            return self._current()

    def product(self, gelu: Gelu | None = None) -> Product:
        """The layer as a function, without gradients, from weights that are laid out for it once; always one `gelu`."""
        with self._making:
            weight, bias = self._current()
            if self._product is None:
                self._product = product(weight, bias, gelu=gelu)
            return self._product

    def _current(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        # Data pointers too: assigning .data leaves the version as it is.
        seen = tuple((p._version, p.data_ptr()) for p in (*self.weights, *self.biases))
        if self._made is None or self._made[0] != seen:
            with torch.inference_mode(False), torch.no_grad():
                weight = self._joined(self.weights)
                self._made = seen, weight.t() if self.inputs_first else weight, self._bias()
                self._product = None
        return self._made[1], self._made[2]

    def _bias(self) -> torch.Tensor | None:
        return self._joined(self.biases) if self.biases else None

    def _joined(self, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        made = [p.detach().to(self.dtype) for p in parameters]
        return made[0] if len(made) == 1 else torch.cat(made)
