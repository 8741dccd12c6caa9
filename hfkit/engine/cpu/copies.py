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

    `inputs_first` says that weights lie as (inputs, outputs), `gelu` what follows the layer where no gradient is asked
    for. A deep copy of a layer, whose parameters share memory with the layer's, and all threads share one.
    """

    def __init__(
        self, layers: Sequence[nn.Module], dtype: torch.dtype, *, inputs_first: bool = False, gelu: Gelu | None = None
    ) -> None:
        self.weights = [layer.weight for layer in layers]
        self.biases = [layer.bias for layer in layers if layer.bias is not None]
        self.dtype, self.inputs_first, self.gelu = dtype, inputs_first, gelu
        self._seen: tuple[Any, ...] = ()
        self._plain: tuple[torch.Tensor, torch.Tensor | None] | None = None  # of these two, one at a time is held
        self._product: Product | None = None
        self._making = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Copies:
        return self

    def get(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight (outputs, inputs), a view, and bias in the 16-bit format."""
        with self._making:
            self._look()
            if self._plain is None:
                self._plain, self._product = self._copied(), None
            return self._plain

    def product(self) -> Product:
        """The layer and the GELU behind it as a function, without gradients, from weights that are laid out for it."""
        with self._making:
            self._look()
            if self._product is None:
                weight, bias = self._plain or self._copied()
                self._plain, self._product = None, product(weight, bias, gelu=self.gelu)
            return self._product

    def _look(self) -> None:
        """Let go of what was made of other weights."""
        # Data pointers too: assigning .data leaves the version as it is.
        seen = tuple((p._version, p.data_ptr()) for p in (*self.weights, *self.biases))
        if seen != self._seen:
            self._seen, self._plain, self._product = seen, None, None

    def _copied(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        with torch.inference_mode(False), torch.no_grad():
            weight = self._joined(self.weights)
            return weight.t() if self.inputs_first else weight, self._bias()

    def _bias(self) -> torch.Tensor | None:
        return self._joined(self.biases) if self.biases else None

    def _joined(self, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        made = [p.detach().to(self.dtype) for p in parameters]
        return made[0] if len(made) == 1 else torch.cat(made)
