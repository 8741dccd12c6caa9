"""`hfkit sweep`: parses, calls the verb, shows what it yields."""

from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Offline, Output, Overwrite, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform
from hfkit.cli.training import RecipeName, StartModel, Train, train_of


def sweep(
    recipe: RecipeName,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUES",
            help="What to search, e.g. train.lr=1e-5,3e-5,1e-4 train.epochs=2..4; and plain KEY=VALUE.",
            show_default=False,
        ),
    ] = None,
    *,
    model: StartModel = None,
    train: Train = None,
    validation: Annotated[
        str | None,
        typer.Option("--validation", metavar="D", help="Validation data; else the set's own, or a share of train."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", metavar="N", min=1, help="Runs at most; else every combination."),
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="2h", help="Time for all of it, the seeds at the end included.")
    ] = None,
    noise_seeds: Annotated[
        int,
        typer.Option(
            "--noise-seeds", metavar="N", min=0, help="Seeds with which the winner and the recipe as it was run again."
        ),
    ] = 3,
    output: Output = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped sweep; start if none.")] = False,
    overwrite: Overwrite = False,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="Runs at once; else one per GPU.")
    ] = None,
    cpu: Cpu = False,
    worker: Annotated[bool, typer.Option("--worker", help="Do trials of a sweep that runs.", hidden=True)] = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Search the values of recipe keys; the best is named, and how much of its gain is noise.

    Example: hfkit sweep classify --train train.csv train.lr=3e-5,1e-4 train.epochs=2..4 -o runs/lr
    """
    given = overrides({"model": model, "data.train": train_of(train), "data.validation": validation}, pairs, settings)

    def verb() -> Events:
        from hfkit.recipe.load import load
        from hfkit.verbs.sweep import sweep
        from hfkit.verbs.sweep.space import split

        axes, fixed = split(given)
        return sweep(
            load(recipe, fixed),
            axes,
            fixed=fixed,
            trials=trials,
            time_limit=time,
            noise_seeds=noise_seeds,
            output=output,
            resume=resume,
            overwrite=overwrite,
            cpu=cpu,
            processes=processes,
            offline=offline,
            worker=worker,
        )

    perform("sweep", verb, json=json, quiet=quiet, offline=offline)
