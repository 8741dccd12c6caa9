"""Local paths of a recipe made absolute, so that a run can be repeated from any directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfkit.recipe.keys import Recipe


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """Local data and model paths made absolute, so that a run can be repeated from any directory."""

    def absolute(spec: str) -> str:
        parts = spec.split(",")
        if all(Path(p).expanduser().exists() for p in parts):
            return ",".join(str(Path(p).expanduser().absolute()) for p in parts)
        return spec

    def all_absolute(value: Any) -> Any:
        return [absolute(v) for v in value] if isinstance(value, list) else absolute(value) if value else value

    names = ("train", "validation", "pseudo", "pseudo_labels")
    data = recipe.data.model_copy(update={name: all_absolute(getattr(recipe.data, name)) for name in names})
    model = recipe.model if recipe.model == "starter" else absolute(recipe.model)
    return recipe.model_copy(update={"data": data, "model": model})
