"""ensemble.json: a folder that stands for several models, their weights, and the task they share; read and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfkit.errors import ModelError
from hfkit.models.checkpoint import Part
from hfkit.models.intake import DIGEST, read_json, weights_sha256

FILE = "ensemble.json"
AGAIN = "make the ensemble again: `hfkit ensemble RUN RUN -o ENS`"


def is_ensemble(folder: Path) -> bool:
    """Whether a folder holds an ensemble."""
    return (folder / FILE).is_file()


def read_ensemble(folder: Path) -> tuple[dict[str, Any], list[Part]]:
    """The content of ensemble.json, and the models that are used, each with its share. Raises ModelError."""
    content = read_json(folder / FILE)
    try:
        parts = [
            Part(_found(folder, str(model["path"])), float(member["weight"]) / len(member["models"]), model["sha256"])
            for member in content["members"]
            if float(member["weight"]) > 0
            for model in member["models"]
        ]
        whole = abs(sum(part.weight for part in parts) - 1) < 1e-6 and content["task"] and "settings" in content
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder / FILE}: not what hfkit writes ({error!r})", AGAIN) from error
    if not whole:
        raise ModelError(f"{folder / FILE}: the weights of its members do not add up to 1", AGAIN)
    return content, parts


def check_part(part: Part, saved: Mapping[str, Any] | None) -> None:
    """Raise ModelError when a member's weights are not those that the ensemble was made of.

    hfkit.json's digest is taken for the weights' own, since loading compares the two.
    """
    now = (saved or {}).get(DIGEST) or weights_sha256(part.folder)
    if now != part.sha256:
        raise ModelError(f"{part.folder}: not the weights that the ensemble was made of", AGAIN)


def described(part: Part, ensemble: Path) -> dict[str, Any]:
    """How ensemble.json in the folder `ensemble` names a model: its path and its weights' sha256.

    The path is relative when both stand in one folder, so that they can be moved together.
    """
    near = part.folder.is_relative_to(ensemble.parent)
    path = Path("..") / part.folder.relative_to(ensemble.parent) if near else part.folder
    return {"path": path.as_posix(), "sha256": part.sha256}


def _found(folder: Path, path: str) -> Path:
    place = (folder / path).resolve()
    if not place.is_dir():
        raise ModelError(f"{folder / FILE} names {path}, which is not there", f"put it back, or {AGAIN}")
    return place
