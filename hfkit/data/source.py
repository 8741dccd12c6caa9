"""From what the user wrote to where the rows are: local files, shipped files, a Hub data set, or rows in memory."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.data.place import SPLITS, HubName, Place
from hfkit.data.readers import FORM_NAMES, form_of
from hfkit.errors import DataError, UsageError

SHIPPED = Path(__file__).parent / "shipped"
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<config>[^:@\s]+))?(:(?P<split>[\w.\[\]%+:-]+))?")


def is_memory(spec: Any) -> bool:
    """Whether a spec is rows themselves: a DataFrame, a mapping's list, or any sequence of mappings."""
    if hasattr(spec, "to_dict") or hasattr(spec, "fingerprint"):
        return True
    return isinstance(spec, Sequence) and not isinstance(spec, str) and len(spec) > 0 and isinstance(spec[0], Mapping)


def locate(spec: Any, split: str | None = None) -> list[Place]:
    """The places of a data set. `split` chooses where a set has several ("train", "validation", "test"), only there.

    Without `split` a set of several splits gives validation. Raises DataError when something is not there, UsageError
    for a spec that is no data set at all.
    """
    if is_memory(spec):
        return [Place("rows in memory", records=_records(spec))]
    if isinstance(spec, os.PathLike):
        spec = os.fspath(spec)
    if isinstance(spec, str):
        return _locate_one(spec, split)
    if isinstance(spec, (list, tuple)):
        if not spec:
            raise DataError("the data is an empty list: 0 rows", "give at least one row")
        return [place for part in spec for place in locate(part, split)]
    raise UsageError(
        f"data cannot be a {type(spec).__name__}", "give a path, a Hub name, a list of mappings, or a DataFrame"
    )


def _records(spec: Any) -> Sequence[Mapping[str, Any]]:
    if not hasattr(spec, "to_dict"):
        return spec
    records: list[dict[str, Any]] = spec.to_dict("records")
    return [{str(key): _plain(value) for key, value in record.items()} for record in records]


def _plain(value: Any) -> Any:
    """A frame's value as files have it: missing ones (NaN, also in columns of text; NA, NaT) null, arrays as lists."""
    if type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return None
    if type(value).__name__ == "ndarray":
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _locate_one(spec: str, split: str | None) -> list[Place]:
    if not spec.strip():
        raise UsageError(
            "the name of the data set is empty", "give a file, a folder, shipped:NAME, or a Hub data set owner/name"
        )
    if spec.startswith("shipped:"):
        return _shipped(spec, split)
    if spec.startswith("hub:"):
        return [_hub(spec.removeprefix("hub:"), split)]
    path = Path(spec).expanduser()
    if path.is_dir():
        return _folder(path, spec, split)
    if path.exists():
        return [_file(path, spec)]
    pair = [Path(part).expanduser() for part in spec.split(",")]
    if len(pair) == 2 and all(_looks_like_path(part) or Path(part).expanduser().exists() for part in spec.split(",")):
        for part in pair:
            if not part.is_file():
                raise _no_file(str(part))
        return [Place(spec, files=(pair[0].absolute(), pair[1].absolute()))]
    if _looks_like_path(spec) or not _HUB.fullmatch(spec):
        raise _no_file(spec)
    if path.parent.is_dir():
        error = _no_file(spec)
        raise DataError(error.message, f"the folder {path.parent} exists; for a data set on the Hub write hub:{spec}")
    return [_hub(spec, split)]


def _looks_like_path(spec: str) -> bool:
    return (
        spec.startswith((".", "/", "~", "\\"))
        or form_of(Path(spec)) is not None
        or spec.count("/") > 1
        or Path(spec).is_absolute()
    )


def _hub(spec: str, split: str | None) -> Place:
    found = _HUB.fullmatch(spec)
    if not found:
        raise DataError(
            f"'{spec}' is no name of a Hub data set", "Hub names are owner/name, owner/name@config or owner/name:split"
        )
    return Place(spec, hub=HubName(found["repo"], found["config"], found["split"] or split))


def _no_file(spec: str) -> DataError:
    path = Path(spec).expanduser()
    folder = path.parent
    if not folder.is_dir():
        return DataError(
            f"no such file: {spec} (the folder {folder} does not exist)", "paths are relative to the current directory"
        )
    near = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], 1)
    if near:
        return DataError(
            f"no such file: {spec}", f"did you mean {folder / near[0] if str(folder) != '.' else near[0]}?"
        )
    return DataError(f"no such file: {spec}", "give a file, a folder, shipped:NAME, or a Hub data set owner/name")


def _file(path: Path, name: str) -> Place:
    if form_of(path) is None:
        raise DataError(
            f"{name}: unknown form '{''.join(path.suffixes) or 'without a suffix'}'", f"known forms are {FORM_NAMES}"
        )
    return Place(name, files=(path.absolute(),))


def _shipped(spec: str, split: str | None) -> list[Place]:
    """shipped:quickstart is quickstart-train.json and quickstart-validation.json inside the package."""
    name = spec.removeprefix("shipped:")
    files: dict[str, list[Path]] = {}
    known: set[str] = set()
    for path in sorted(SHIPPED.glob("*")) if SHIPPED.is_dir() else []:
        stem, _, part = path.name.split(".")[0].rpartition("-")
        if form_of(path) and part in SPLITS:
            known.add(stem)
            if stem == name:
                files.setdefault(part, []).append(path)
    if not files:
        near = difflib.get_close_matches(name, sorted(known), 1)
        listed = f"shipped are {', '.join(sorted(known))}" if known else "no data is shipped"
        raise DataError(f"no shipped data named '{name}'", f"did you mean shipped:{near[0]}?" if near else listed)
    return _choose(files, spec, split)


def splits_of(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by split, as their stems say: train.jsonl, validation-00000-of-00002.parquet, dev.json"""
    found: dict[str, list[Path]] = {}
    for path in data_files(folder):
        stem = path.name.split(".")[0].lower()
        for name, stems in SPLITS.items():
            if any(stem == known or re.fullmatch(rf"{known}[-_]\d+.*", stem) for known in stems):
                found.setdefault(name, []).append(path)
    return {name: found[name] for name in SPLITS if name in found}


def data_files(folder: Path) -> list[Path]:
    """The files of a folder whose form is known, by name; hidden files and README.txt are none."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and not path.name.startswith((".", "_"))
        and form_of(path)
        and path.stem.lower() not in ("readme", "license")
    ]


def _folder(folder: Path, spec: str, split: str | None) -> list[Place]:
    splits = splits_of(folder)
    if splits:
        for name, paths in splits.items():
            if (
                len({path.name.split(".")[0] for path in paths}) < len(paths)
                or len({_family(path) for path in paths}) > 1
            ):
                listed = ", ".join(path.name for path in paths)
                raise DataError(f"{spec}: several files for {name}: {listed}", "name the file instead of the folder")
        return _choose(splits, spec, split)
    paths = data_files(folder)
    if not paths:
        raise DataError(f"{spec}: the folder holds no data files", f"known forms are {FORM_NAMES}")
    forms = {form_of(path) for path in paths}
    if len(forms) > 1:
        listed = ", ".join(path.name for path in paths[:6])
        raise DataError(
            f"{spec}: the folder holds files of several forms: {listed}", "name the file instead of the folder"
        )
    return [Place(str(Path(spec) / path.name), files=(path.absolute(),)) for path in paths]


def _family(path: Path) -> str:
    return re.split(r"[-_.]", path.name.lower(), maxsplit=1)[0]


def _choose(splits: dict[str, list[Path]], spec: str, split: str | None) -> list[Place]:
    wanted = split or ("validation" if "validation" in splits else next(iter(splits)))
    if wanted not in splits:
        listed = ", ".join(f"{name} ({paths[0].name})" for name, paths in splits.items())
        raise DataError(f"{spec}: has no {wanted} part, only {listed}", "name the file instead")
    return [Place(f"{spec} ({path.name})", files=(path.absolute(),)) for path in splits[wanted]]


def own_validation(spec: Any, *, offline: bool, say: Callable[[str], None] | None = None) -> list[Place] | None:
    """The validation part that a data set brings itself; None when it has none or when `spec` names one part only.

    Of several sets all must bring one: what some bring would not stand for the rest. `say` gets a line on those parts.
    """
    if not isinstance(spec, (str, os.PathLike)):
        if not isinstance(spec, (list, tuple)) or is_memory(spec):
            return None
        parts = [own_validation(part, offline=offline) for part in spec]
        names = [os.fspath(part) if isinstance(part, (str, os.PathLike)) else "rows in memory" for part in spec]
        having = [name for name, part in zip(names, parts, strict=True) if part is not None]
        lacking = [name for name, part in zip(names, parts, strict=True) if part is None]
        if having and lacking and say is not None:
            say(
                f"the validation part of {', '.join(having)} is not used, since {', '.join(lacking)} has none; "
                "data.validation (--validation) takes it nevertheless"
            )
        return None if lacking else [place for part in parts for place in part or ()]
    text = os.fspath(spec)
    path = Path(text).expanduser()
    if path.is_dir():
        return _folder(path, text, "validation") if "validation" in splits_of(path) else None
    if text.startswith("shipped:"):
        places = _shipped(text, None)
        return places if any("-validation." in place.name for place in places) else None
    (place, *_) = locate(text, "train")
    if place.hub is None or _HUB.fullmatch(text.removeprefix("hub:"))["split"]:  # type: ignore[index]
        return None
    from hfkit.data import hub

    name = hub.validation_split(place.hub, offline=offline)
    return None if name is None else [Place(place.name, hub=HubName(place.hub.repo, place.hub.config, name))]
