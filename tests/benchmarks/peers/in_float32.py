"""Runs a Trainer script with bfloat16 off: what an expert switches on where the processor has no bfloat16 products.

    python tests/benchmarks/peers/in_float32.py ../shared/peers/trainer_qa.py --flavour tuned ...

Without such products torch converts every operand of every product, which takes a script several times as long.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

ARGUMENTS, AUTOCAST = transformers.TrainingArguments, torch.autocast


def arguments(**settings: Any) -> Any:
    return ARGUMENTS(**{**settings, "bf16": False})


def autocast(device_type: str, *given: Any, **settings: Any) -> Any:
    return AUTOCAST(device_type, *given[:1], **{**settings, "enabled": False})


if __name__ == "__main__":
    transformers.TrainingArguments = arguments  # type: ignore[assignment,misc]
    torch.autocast = autocast  # type: ignore[assignment,misc]
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
