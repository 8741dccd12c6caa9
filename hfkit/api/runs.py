"""The runs that are there: listed, shown, compared, annotated, repeated. A run is a FinetunedRun, a folder, a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfkit.api.children import in_children, several_devices
from hfkit.api.given import name_of, path_of, shown


def list_runs(*, quiet: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Every run below the runs folder, as `hfkit runs list --json` has it. `options`: task, sort, noted."""
    from hfkit.verbs.runs.listing import list_runs as verb

    return list(shown("runs list", verb(**options), quiet=quiet)["runs"])


def show_run(run: Any, *, quiet: bool = True) -> dict[str, Any]:
    """What `hfkit runs show --json` prints of one run. Raises HfkitError."""
    from hfkit.verbs.runs.show import show_run as verb

    return shown("runs show", verb(name_of(run)), quiet=quiet)


def diff_runs(a: Any, b: Any, *, quiet: bool = True) -> dict[str, Any]:
    """How two runs differ; returns what `hfkit runs diff --json` prints. Raises HfkitError."""
    from hfkit.verbs.runs.diff import diff_runs as verb

    return shown("runs diff", verb(name_of(a), name_of(b)), quiet=quiet)


def note_run(
    run: Any,
    text: str | None = None,
    *,
    public: float | None = None,
    private: float | None = None,
    quiet: bool = True,
) -> dict[str, Any]:
    """Keep a note and leaderboard scores with a run; returns what `hfkit runs note --json` prints.

    Without any, the notes that are there. Raises HfkitError.
    """
    from hfkit.verbs.runs.notes import note_run as verb

    return shown("runs note", verb(name_of(run), text, public=public, private=private), quiet=quiet)


def rerun(
    run: Any,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    offline: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a run again and say whether the same comes out; returns what `hfkit runs rerun --json` prints.

    `processes`: as many as the run had. Raises HfkitError.
    """
    from hfkit.verbs.runs import facts_of, find
    from hfkit.verbs.runs.rerun import rerun as verb

    name, place = name_of(run), path_of(output)
    options = {"overwrite": overwrite, "cpu": cpu, "offline": offline}
    world = processes or int(facts_of(find(name)).get("world") or 1)
    if world > 1 or (not cpu and several_devices()):
        return in_children(["runs", "rerun", name], place, options, processes=processes, quiet=quiet)
    return shown("runs rerun", verb(name, output=place, processes=world, **options), quiet=quiet)
