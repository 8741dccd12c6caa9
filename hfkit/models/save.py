"""Writes a model so that plain transformers loads it, with hfkit.json beside it so that a copy scores the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.errors import ModelError
from hfkit.files import as_os_error, atomic_folder, cannot_write, write_json
from hfkit.models.intake import DIGEST, check_tokenizer, check_weights, read_config, weights_sha256
from hfkit.models.quiet import quiet
from hfkit.models.tokenizer import clear_stored

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    saved: dict[str, Any],
    *,
    weights: dict[str, Any] | None = None,
) -> None:
    """Write config, safetensors weights, tokenizer and hfkit.json (`saved`) into `folder`.

    `weights` stand for the model's own, by their plain names, where it holds shares of them or adapters beside them.

    A folder that exists is written into (the caller makes it whole by a rename, and has a manifest of its own);
    otherwise it appears at once, whole, and hfkit.json holds the weights' sha256, which `load_model` compares.
    The tokenizer's truncation and padding are cleared. Raises ResourceError, and ModelError when a file did not arrive.
    """
    if folder.is_dir():
        _write(model, tokenizer, folder, saved, weights)
        return
    with atomic_folder(folder) as temporary:
        _write(model, tokenizer, temporary, saved, weights)
        write_json(temporary / "hfkit.json", {**saved, DIGEST: weights_sha256(temporary)})


def _write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    saved: dict[str, Any],
    weights: dict[str, Any] | None,
) -> None:
    from safetensors import SafetensorError

    clear_stored(tokenizer)
    try:
        with quiet():
            model.save_pretrained(folder, state_dict=weights)
            tokenizer.save_pretrained(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    except SafetensorError as error:
        raise cannot_write(folder, as_os_error(error)) from error
    write_json(folder / "hfkit.json", saved)
    read_config(folder)
    check_tokenizer(folder)
    if check_weights(folder) != "safetensors":
        raise ModelError(f"{folder}: the weights were not written", "look at the folder's free space and permissions")
