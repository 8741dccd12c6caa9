"""`hfkit runs list | show | diff | note | rerun`: parses, calls the verb, shows what it yields."""

from typing import Annotated, Literal

import typer

from hfkit.cli.options import Cpu, Debug, Json, Offline, Output, Overwrite, Quiet, Set, refuse_settings
from hfkit.cli.perform import Events, perform

runs = typer.Typer(help="List, show, compare and repeat the runs of this folder (or HFKIT_RUNS).")

Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run folder, last, last:qa, or a part of its name.", show_default=False),
]


@runs.command("list")
def list_(
    *,
    task: Annotated[
        str | None, typer.Option("--task", metavar="T", help="Only runs of this task.", show_default=False)
    ] = None,
    sort: Annotated[
        Literal["started", "metric", "time"],
        typer.Option("--sort", help="Newest first, best score first within a task, or quickest first."),
    ] = "started",
    notes: Annotated[
        bool, typer.Option("--notes", help="Only runs with notes, their scores beside the leaderboard's.")
    ] = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """List the runs, newest first: score with interval, parameters, time, data.

    Example: hfkit runs list --sort metric
    """
    refuse_settings(settings, "runs list")

    def verb() -> Events:
        from hfkit.verbs.runs.listing import list_runs

        return list_runs(task=task, sort=sort, noted=notes)

    perform("runs list", verb, json=json, quiet=quiet, offline=offline)


@runs.command("show")
def show(
    run: Run,
    *,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Show one run: what it was, how it went, what it scored.

    Example: hfkit runs show last
    """
    refuse_settings(settings, "runs show")

    def verb() -> Events:
        from hfkit.verbs.runs.show import show_run

        return show_run(run)

    perform("runs show", verb, json=json, quiet=quiet, offline=offline)


@runs.command("diff")
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A run.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.", show_default=False)],
    *,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Say how two runs differ: recipe, versions, data, scores, slices.

    Example: hfkit runs diff run-a run-b
    """
    refuse_settings(settings, "runs diff")

    def verb() -> Events:
        from hfkit.verbs.runs.diff import diff_runs

        return diff_runs(a, b)

    perform("runs diff", verb, json=json, quiet=quiet, offline=offline)


@runs.command("note")
def note(
    run: Run,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What to remember of the run.", show_default=False)
    ] = None,
    *,
    public: Annotated[
        float | None,
        typer.Option("--public", metavar="X", help="Its score on a public leaderboard.", show_default=False),
    ] = None,
    private: Annotated[
        float | None,
        typer.Option("--private", metavar="X", help="Its score on a private leaderboard.", show_default=False),
    ] = None,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Keep a note and leaderboard scores with a run; without any, show them.

    Example: hfkit runs note last 'longer texts' --public 0.873
    """
    refuse_settings(settings, "runs note")

    def verb() -> Events:
        from hfkit.verbs.runs.notes import note_run

        return note_run(run, text, public=public, private=private)

    perform("runs note", verb, json=json, quiet=quiet, offline=offline)


@runs.command("rerun")
def rerun(
    run: Run,
    *,
    output: Output = None,
    overwrite: Overwrite = False,
    processes: Annotated[
        int | None,
        typer.Option("--processes", metavar="N", min=1, help="Processes to train with; else as many as the run had."),
    ] = None,
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Train a run again from what it wrote, and say whether the same comes out.

    Example: hfkit runs rerun last -o runs/again
    """
    refuse_settings(settings, "runs rerun")

    def verb() -> Events:
        from hfkit.verbs.runs.rerun import rerun

        return rerun(run, output=output, overwrite=overwrite, cpu=cpu, processes=processes, offline=offline)

    perform("runs rerun", verb, json=json, quiet=quiet, offline=offline)
