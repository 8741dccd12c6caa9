"""Checks on a safetensors file that read only its header, so that a damaged file is named before anything loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hfkit.errors import ModelError

MAX_HEADER_BYTES = 10 * 1024 * 1024
MAX_TENSORS = 50_000  # large models have a few thousand
POINTER = b"version https://git-lfs"
AGAIN = "download or copy the file again"


def check_safetensors(path: Path) -> dict[str, Any]:
    """The header {tensor name: {dtype, shape, data_offsets}} of a file whose header and size agree.

    Raises ModelError for an empty, cut, overlong or foreign file and for a git-lfs pointer.
    """
    size = path.stat().st_size
    with open(path, "rb") as handle:
        start = handle.read(len(POINTER))
        if size == 0:
            raise ModelError(f"{path}: the file is empty", AGAIN)
        if start == POINTER:
            raise ModelError(f"{path}: a git-lfs pointer, not the weights", "run `git lfs pull` in that repository")
        if size < 8:
            raise ModelError(f"{path}: {size} bytes are too few for a safetensors file", AGAIN)
        length = int.from_bytes(start[:8], "little")
        if length > MAX_HEADER_BYTES:
            raise ModelError(f"{path}: not a safetensors file (its header claims {length} bytes)", AGAIN)
        if 8 + length > size:
            raise ModelError(f"{path}: cut short inside the header ({size} bytes)", AGAIN)
        handle.seek(8)
        raw = handle.read(length)
    header = _parse(path, raw)
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise ModelError(f"{path}: not a safetensors file (its header names {len(header):,} tensors)", AGAIN)
    _check_extent(path, header, size - 8 - length)
    return header


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a safetensors file (its header is not JSON)", AGAIN) from error
    if not isinstance(header, dict):
        raise ModelError(f"{path}: not a safetensors file (its header is not an object)", AGAIN)
    return header


def _check_extent(path: Path, header: dict[str, Any], payload: int) -> None:
    """Every byte of the payload must belong to exactly one tensor."""
    try:
        spans = sorted((int(t["data_offsets"][0]), int(t["data_offsets"][1])) for t in header.values())
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{path}: not a safetensors file (a tensor without offsets)", AGAIN) from error
    end = 0
    for first, last in spans:
        if first != end or last < first:
            raise ModelError(f"{path}: tensors overlap or leave gaps; the file is damaged", AGAIN)
        end = last
    if end > payload:
        raise ModelError(f"{path}: cut short, {end - payload} of {end} bytes of weights are missing", AGAIN)
    if end < payload:
        raise ModelError(f"{path}: {payload - end} bytes more than its header says; the file is damaged", AGAIN)
