"""Packing: a trained model with all it needs where there is no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfkit.api.given import name_of, shown, split


def bundle(model: Any, output: str | Path, *, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """A trained model (FinetunedRun, name, path) with hfkit and its packages, in the folder or FILE.zip `output`.

    Returns what `hfkit bundle --json` prints; `options` are the command's other flags: compiled, python_version,
    platform, overwrite, offline. Raises HfkitError.
    """
    from hfkit.verbs.bundle import bundle as verb

    return shown("bundle", verb(name_of(model), output=Path(output), **split(options)), quiet=quiet)
