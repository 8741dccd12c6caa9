"""`hfkit sweep`: parses, calls the verb, shows what it yields."""

from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Offline, Output, Overwrite, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform


def sweep(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.", show_default=False),
    ],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUES",
            help="What to search, e.g. train.lr=1e-5,3e-5,1e-4 train.epochs=2..4; and plain KEY=VALUE.",
            show_default=False,
        ),
    ] = None,
    *,
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
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Search the values of recipe keys; the best is named, and how much of its gain is noise.

    Example: hfkit sweep classify data.train=train.csv train.lr=3e-5,1e-4 train.epochs=2..4 -o runs/lr
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.recipe.load import load
        from hfkit.verbs.sweep import sweep
        from hfkit.verbs.sweep.space import split

        axes, fixed = split(given)
        return sweep(
            load(recipe, fixed),
            axes,
            trials=trials,
            time_limit=time,
            noise_seeds=noise_seeds,
            output=output,
            resume=resume,
            overwrite=overwrite,
            cpu=cpu,
            offline=offline,
        )

    perform("sweep", verb, json=json, quiet=quiet, offline=offline)
