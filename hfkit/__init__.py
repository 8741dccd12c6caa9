"""hfkit: fine-tune, score and use BERT- and GPT-2-family models in one command. Import is light; names load on use."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "finetune": "hfkit.api",
    "evaluate": "hfkit.api",
    "predict": "hfkit.api",
    "generate": "hfkit.api",
    "score": "hfkit.api",
    "compare": "hfkit.api",
    "check": "hfkit.api",
    "init": "hfkit.api",
    "cv": "hfkit.api",
    "compete": "hfkit.api",
    "ensemble": "hfkit.api",
    "average": "hfkit.api",
    "bundle": "hfkit.api",
    "submission": "hfkit.api",
    "sweep": "hfkit.api",
    "list_runs": "hfkit.api",
    "show_run": "hfkit.api",
    "diff_runs": "hfkit.api",
    "note_run": "hfkit.api",
    "rerun": "hfkit.api",
    "HfkitError": "hfkit.errors",
    "UsageError": "hfkit.errors",
    "DataError": "hfkit.errors",
    "ModelError": "hfkit.errors",
    "ResourceError": "hfkit.errors",
    "DivergenceError": "hfkit.errors",
    "NetworkError": "hfkit.errors",
    "Stopped": "hfkit.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'hfkit' has no attribute '{name}'")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
