"""The child process of convert.py: reads pickle weights with weights_only, writes safetensors. Imports no hfkit."""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import Any

REFUSED = 3
FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.spawn",
    "os.startfile",
    "webbrowser.",
)


def main(target: str, files: list[str]) -> int:
    """Convert each of `files` into `target`: one gives model.safetensors, several give shards and an index."""
    import torch
    from safetensors.torch import save_file

    # imported above, so that only the pickle is left to run under the rule
    sys.addaudithook(_forbid)
    weight_map: dict[str, str] = {}
    total = 0
    for number, path in enumerate(files, start=1):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, PermissionError):
            return REFUSED
        tensors = _tensors(state)
        name = "model.safetensors" if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        save_file(tensors, os.path.join(target, name), metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(tensors, name))
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if len(files) > 1:
        with open(os.path.join(target, "model.safetensors.index.json"), "w", encoding="utf-8") as handle:
            json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, handle, indent=2)
    return 0


def _tensors(state: Any) -> dict[str, Any]:
    """The tensors by name, each with its own memory: safetensors stores no sharing; loading ties weights again."""
    import torch

    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise SystemExit("not a table of tensors")
    tensors = {str(k): v.detach().clone().contiguous() for k, v in state.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise SystemExit("no tensors in it")
    return tensors


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(FORBIDDEN):
        raise PermissionError(event)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
