"""`convert`: a checkpoint with pickle weights -> a folder with safetensors weights, written by a child process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hfkit.errors import ModelError, UsageError
from hfkit.events import Event, note
from hfkit.models.convert import convert_folder
from hfkit.models.find import locate
from hfkit.models.intake import check_weights, listing
from hfkit.run import probe_writable


def convert(model: str, output: Path, *, offline: bool = False) -> Iterator[Event]:
    """Write `model`'s weights as safetensors, with its config and tokenizer, to `output`.

    Raises UsageError when `output` is not empty or there is nothing to convert, ModelError when the pickle holds more
    than weights or cannot be read, ResourceError when
    `output` cannot be written, NetworkError when the Hub is needed and out of reach.
    """
    output = Path(output).absolute()
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise UsageError(f"{output} exists and is not empty", "choose a new folder with --output")
    found = locate(model, offline=offline)
    if found.folder is None:
        raise UsageError(f"{model} has no weights yet, so there is nothing to convert", "name a checkpoint")
    kind = check_weights(found.folder)
    if kind == "safetensors":
        raise UsageError(f"{found.folder} holds safetensors already", f"use it as it is: `--model {model}`")
    if kind == "none":
        raise ModelError(f"{found.folder}: no weights; there: {listing(found.folder)}", "a pickle is pytorch_model.bin")
    yield from (note(line) for line in found.notes)
    probe_writable(output)
    if output.is_dir():
        output.rmdir()  # empty, seen above; the new folder takes its place by one rename
    convert_folder(found.folder, output)
    files = sorted(path.name for path in output.iterdir())
    size = sum(path.stat().st_size for path in output.glob("*.safetensors"))
    yield Event("saved", {"what": "model", "path": str(output)})
    yield Event("result", {"model": model, "output": str(output), "files": files, "bytes": size})
