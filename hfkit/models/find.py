"""A name -> a Checkpoint: scratch:NAME, starter, a path, a run, or a Hub model, in that order. The way into models/."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from hfkit.errors import HfkitError, ModelError, NetworkError, UsageError
from hfkit.models import hub
from hfkit.models.checkpoint import Checkpoint
from hfkit.models.ensemble import is_ensemble, read_ensemble
from hfkit.models.intake import check_tokenizer, check_weights, listing, read_config, read_saved
from hfkit.models.manifest import problem_of
from hfkit.models.starter import HUB_NAME, INSTALL, NOTE, starter_folder, verify_starter
from hfkit.run import runs_folder


def find(
    model: str,
    *,
    revision: str | None = None,
    convert: bool = True,
    offline: bool = False,
    runs: Path | None = None,
    ensemble: bool = False,
) -> Checkpoint:
    """The checkpoint that `model` names, its files checked, pickle weights converted into the cache when `convert`.

    Only with `ensemble` it may be one. Raises ModelError (not found, damaged, pickle with convert=False, an ensemble),
    NetworkError (Hub out of reach or offline and not cached) and UsageError (the extra `starter` is missing).
    """
    found = locate(model, revision=revision, convert=convert, offline=offline, runs=runs)
    if found.folder is None or (found.parts and ensemble):
        return found
    if found.parts:
        raise ModelError(
            f"{model} is an ensemble of {len(found.parts)} models, and this needs a single one",
            f"name one of them, such as `{found.parts[0].folder}`",
        )
    if found.folder.parent.name == "checkpoints" and (problem := problem_of(found.folder)):
        raise ModelError(f"{found.folder}: damaged: {problem}", "name another checkpoint of the run")
    kind = check_weights(found.folder)
    if kind == "none":
        raise ModelError(
            f"{found.folder}: no weights; there: {listing(found.folder)}", "a checkpoint holds model.safetensors"
        )
    if kind == "pickle":
        found = _converted(found, convert)
    check_tokenizer(found.folder or Path())
    return found


def locate(
    model: str, *, revision: str | None = None, convert: bool = True, offline: bool = False, runs: Path | None = None
) -> Checkpoint:
    """As `find`, but weights and tokenizer are not looked at and nothing is converted."""
    found = _locate(model, revision, offline, convert, runs if runs is not None else runs_folder())
    if revision and not found.hub:
        raise UsageError(f"model_revision={revision}: {model} is not a Hub model", "leave `model_revision` out")
    return found


def _locate(model: str, revision: str | None, offline: bool, convert: bool, runs: Path) -> Checkpoint:
    if not model.strip():
        raise ModelError("no model was named", "give a run, a folder, a Hub name, `starter` or scratch:NAME")
    if model.startswith("scratch:"):
        return _scratch(model)
    if model == "starter":
        return _starter(offline)
    if model.startswith("hub:"):
        return _from_hub(model.removeprefix("hub:"), revision, offline, convert)
    if _looks_like_path(model):
        return _from_path(Path(model).expanduser(), model)
    if (run := run_named(model, runs)) is not None:
        return _from_path(run, run.name)
    return _by_name(model, revision, offline, convert, runs)


def _looks_like_path(model: str) -> bool:
    return model.startswith((".", "/", "~", "\\")) or bool(re.match(r"[A-Za-z]:[\\/]", model)) or Path(model).exists()


def _scratch(model: str) -> Checkpoint:
    from hfkit.models.scratch import SHAPES

    name = model.removeprefix("scratch:")
    if name not in SHAPES:
        near = get_close_matches(name, SHAPES, n=1)
        raise ModelError(
            f"no scratch model '{name}'",
            f"did you mean scratch:{near[0]}?" if near else f"there are {', '.join(SHAPES)}",
        )
    return Checkpoint(name=model, folder=None, scratch=name, config=dict(SHAPES[name]))


def _starter(offline: bool) -> Checkpoint:
    folder = starter_folder()
    if folder is None:
        try:
            folder, _ = hub.fetch(HUB_NAME, None, offline=offline, convert=False)
        except NetworkError as error:
            raise UsageError(
                "the model `starter` is not installed, and the Hub cannot be asked for it", f"`{INSTALL}`"
            ) from error
    verify_starter(folder)
    config, notes = read_config(folder)
    return Checkpoint(name="starter", folder=folder, scratch=None, config=config, notes=[NOTE, *notes])


def _from_path(path: Path, name: str) -> Checkpoint:
    """A checkpoint folder, an ensemble, or a run folder whose model/ is taken."""
    if not path.exists():
        raise _missing(path)
    if path.is_file():
        raise ModelError(f"{path} is a file; a model is a folder", f"give its folder, `{path.parent}`")
    if is_ensemble(path):
        content, parts = read_ensemble(path)
        here = path.absolute()
        return Checkpoint(name=name, folder=here, scratch=None, config={}, saved=content, run=here, parts=parts)
    run = path if (path / "run.json").exists() or (path / "recipe.yaml").exists() else None
    folder = path
    if not (path / "config.json").exists():
        if (path / "model" / "config.json").exists():
            run, folder = path, path / "model"
        elif run is not None:
            raise _unfinished(run)
        else:
            raise ModelError(
                f"{path}: no config.json; there: {listing(path)}",
                "a checkpoint folder holds config.json and model.safetensors",
            )
    elif path.parent.name == "checkpoints":
        run = path.parent.parent
    elif path.name == "model" and (path.parent / "run.json").exists():
        run = path.parent
    config, notes = read_config(folder)
    return Checkpoint(
        name=name,
        folder=folder.absolute(),
        scratch=None,
        config=config,
        saved=read_saved(folder),
        run=run.absolute() if run else None,
        notes=notes,
    )


def _unfinished(run: Path) -> HfkitError:
    """A run without model/ is not finished; its checkpoints are named so that the user can choose one."""
    if (run / "cv.json").exists():
        return ModelError(
            f"{run} is a cross-validation, a model for each fold",
            f"make one of them: `hfkit ensemble {run} -o {run}-model`",
        )
    steps = sorted(p for p in (run / "checkpoints").glob("step-*") if (p / "manifest.json").exists())
    if steps:
        return ModelError(f"{run}: the run is not finished", f"its newest checkpoint is `{steps[-1]}`")
    return ModelError(f"{run}: the run is not finished and has no checkpoint", "run it again, or name another model")


def _missing(path: Path) -> HfkitError:
    parent = path.parent
    names = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1)
    return ModelError(
        f"no such folder: {path}" + ("" if parent.is_dir() else f" (nor {parent})"),
        f"did you mean `{parent / near[0]}`?"
        if near
        else "a model is a run, a folder, a Hub name, `starter` or scratch:NAME",
    )


def _finished(runs: Path) -> list[Path]:
    """Runs that hold a model, oldest model first."""
    found = [p for p in runs.iterdir() if (p / "model" / "config.json").exists()] if runs.is_dir() else []
    return sorted(found, key=lambda p: ((p / "model" / "config.json").stat().st_mtime_ns, p.name))


def run_named(model: str, runs: Path | None = None) -> Path | None:
    """The run that `last`, `last:TASK`, a name or a unique part of a name means; None when it means no run.

    What `find` takes for something else first (starter, scratch:, hub:, a path) is no run, though it may be part of the
    names of runs. Raises ModelError.
    """
    if model == "starter" or model.startswith(("scratch:", "hub:")) or _looks_like_path(model):
        return None
    runs = runs if runs is not None else runs_folder()
    word, _, task = model.partition(":")
    if word == "last":
        found = [p for p in _finished(runs) if not task or (read_saved(p / "model") or {}).get("task") == task]
        if not found:
            raise ModelError(
                f"no finished run{f' of task {task}' if task else ''} in {runs}", "`hfkit runs list` shows the runs"
            )
        return found[-1]
    if "/" in model or not runs.is_dir():
        return None
    if (runs / model).is_dir():
        return runs / model
    matches = sorted(p for p in runs.iterdir() if p.is_dir() and model in p.name and not p.name.startswith("."))
    if len(matches) > 1 and model not in hub.KNOWN:
        shown = ", ".join(p.name for p in matches[:5]) + (", ..." if len(matches) > 5 else "")
        raise ModelError(f"'{model}' is part of {len(matches)} run names: {shown}", "give more of the name")
    return matches[0] if len(matches) == 1 and model not in hub.KNOWN else None


def _by_name(model: str, revision: str | None, offline: bool, convert: bool, runs: Path) -> Checkpoint:
    """A Hub model, unless the name is more likely a mistyped folder or run."""
    name, _, _ = model.partition("@")
    if name in hub.KNOWN:
        full = hub.KNOWN[name] + model[len(name) :]
        found = _from_hub(full, revision, offline, convert)
        found.notes.insert(0, f"{name} is {hub.KNOWN[name]} on the Hub")
        return found
    if "/" not in model:
        names = [p.name for p in _finished(runs)]
        near = get_close_matches(model, [*names, *hub.KNOWN, "starter", "last"], n=3, cutoff=0.5)
        raise ModelError(
            f"no run, folder or model '{model}'", f"nearest: {', '.join(near)}" if near else "a Hub name is owner/name"
        )
    if Path(name).parent.is_dir():
        error = _missing(Path(name))
        raise ModelError(error.message, f"{error.hint}; for a Hub model write hub:{model}")
    return _from_hub(model, revision, offline, convert)


def _from_hub(model: str, revision: str | None, offline: bool, convert: bool) -> Checkpoint:
    name, _, at = model.partition("@")
    if at and revision and at != revision:
        raise UsageError(f"two revisions: {model} and model_revision={revision}", "give one of them")
    if not hub.NAME.fullmatch(name):
        raise ModelError(f"no such folder: {model}", "a Hub name is owner/name[@revision]; a folder must exist")
    folder, notes = hub.fetch(name, at or revision, offline=offline, convert=convert)
    config, more = read_config(folder)
    saved = read_saved(folder)
    return Checkpoint(
        name=model, folder=folder, scratch=None, config=config, saved=saved, notes=[*notes, *more], hub=True
    )


def _converted(found: Checkpoint, convert: bool) -> Checkpoint:
    from hfkit.models.convert import converted

    return converted(found, allowed=convert)
