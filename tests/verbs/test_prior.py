"""What `--resume` goes on with: found by 8 hex digits, also where hfkit has more keys now than it had then."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hfkit.errors import UsageError
from hfkit.recipe import Recipe
from hfkit.recipe.load import as_dict, build, digits_of
from hfkit.recipe.yaml import dump as dump_yaml
from hfkit.run import Run, digest
from hfkit.verbs.finetune.folder import find_prior, open_again
from hfkit.verbs.prior import Identity, prior_of

RECIPE = build({"task": "nli", "train": {"lr": 1e-4}})


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HFKIT_RUNS", str(tmp_path))
    return tmp_path


def of_older(recipe: Recipe = RECIPE) -> dict[str, Any]:
    """The recipe of an hfkit that had no tricks and one key of train fewer."""
    values = as_dict(recipe)
    del values["tricks"], values["train"]["head_lr"]
    return values


def begun(folder: Path, values: dict[str, Any], digits: str) -> Path:
    """A run that was started with this recipe and killed."""
    folder = folder.with_name(f"{folder.name}-{digits}")
    folder.mkdir()
    (folder / "recipe.yaml").write_text(dump_yaml(values), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({"identity": digits, "attempt": 0}), encoding="utf-8")
    return folder


def test_a_run_of_fewer_keys_is_found_and_stays_so(runs: Path) -> None:
    old = begun(runs / "20260101-nli-bert", of_older(), digits_of(of_older()))
    assert digits_of(of_older()) != Identity(RECIPE).suffix
    (runs / "20260103-damaged-00000000").mkdir()
    (runs / "20260103-damaged-00000000" / "run.json").write_text("{", encoding="utf-8")
    prior = find_prior(RECIPE, None, resume=True, overwrite=False)
    assert prior is not None and prior.path == old

    for other in ("train.lr=2e-4", "tricks.r_drop=1.0", "train.head_lr=0.01"):
        assert Identity(build(as_dict(RECIPE), [other])).newest() is None, "it is none of an older one"

    place: Any = SimpleNamespace(world=SimpleNamespace(size=1), describe=lambda: ["cpu"])
    open_again(prior, RECIPE, SimpleNamespace(place=place))  # type: ignore[arg-type]
    assert find_prior(RECIPE, None, resume=True, overwrite=False).path == old  # type: ignore[union-attr]
    new = begun(runs / "20260102-nli-bert", as_dict(RECIPE), Identity(RECIPE).suffix)
    assert Identity(RECIPE).newest() == new


def test_a_changed_default_is_another_recipe(runs: Path) -> None:
    values = of_older()
    values["train"]["epochs"] = 3.0  # the default then
    begun(runs / "20260101-nli-bert", values, digits_of(values))
    assert Identity(RECIPE).newest() is None
    assert Identity(build(as_dict(RECIPE), ["train.epochs=3"])).newest() is not None


def test_sweeps_and_competitions_of_fewer_keys_are_gone_on_with(runs: Path) -> None:
    def digits(values: Any, axes: str = "lr") -> str:
        return digest([values, axes])[:8]

    old = begun(runs / "20260101-sweep-nli-bert", of_older(), digits(of_older()))
    how: dict[str, Any] = {"resume": True, "overwrite": False, "kind": "sweep", "of": "other values"}
    assert prior_of(Identity(RECIPE, digits), None, **how) == Run(old)
    assert prior_of(Identity(RECIPE, digits), old, **how) == Run(old)
    with pytest.raises(UsageError, match="was started with other values"):
        prior_of(Identity(RECIPE, lambda values: digits(values, "epochs")), old, **how)
    assert find_prior(RECIPE, None, resume=True, overwrite=False) is None, "a sweep is no run"
