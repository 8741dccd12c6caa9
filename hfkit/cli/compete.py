"""`hfkit compete`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Offline, Output, Overwrite, Pairs, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform


def compete(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Training data with answers.", show_default=False)],
    test: Annotated[str, typer.Argument(metavar="TEST", help="The rows to answer.", show_default=False)],
    sample: Annotated[
        Path,
        typer.Argument(
            metavar="SAMPLE", help="The sample submission: csv, tsv, jsonl, json, or zip.", show_default=False
        ),
    ],
    pairs: Pairs = None,
    *,
    time: Annotated[
        str,
        typer.Option("--time", metavar="2h", help="Time for all of it, over all attempts.", show_default=False),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models", metavar="M[,M]", help="Models to try, in this order; may be repeated. Else what is at hand."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="The competition's metric; else by the sample and the target."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="T", help="classify, nli or qa; else by the columns.")
    ] = None,
    output: Output = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped one; start if none.")] = False,
    overwrite: Overwrite = False,
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """A valid submission within seconds, and better ones until the time is up.

    Example: hfkit compete train.csv test.csv sample_submission.csv --time 2h -o competition
    """
    given = overrides({"task": task}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.compete import compete

        return compete(
            train,
            test,
            sample,
            time_limit=time,
            models=[name for text in models or () for name in text.split(",") if name],
            metric=metric,
            output=output,
            resume=resume,
            overwrite=overwrite,
            cpu=cpu,
            overrides=given,
            offline=offline,
            from_start=True,
        )

    perform("compete", verb, json=json, quiet=quiet, offline=offline)
