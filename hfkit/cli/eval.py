"""`hfkit eval`: parses, calls the verb, shows what it yields."""

from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Limit, Model, Offline, Overwrite, Pairs, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform


def evaluate(
    model: Model,
    pairs: Pairs = None,
    *,
    data: Annotated[
        str,
        typer.Option("--data", metavar="D", help="Data with answers: a file, a folder, shipped:NAME, a Hub data set."),
    ],
    task: Annotated[str | None, typer.Option("--task", metavar="T", help="The task; else what the model says.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the folder under RUN/eval.")
    ] = None,
    overwrite: Overwrite = False,
    limit: Limit = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", min=1, help="Examples that pass through the model at once."),
    ] = None,
    hypothesis_only: Annotated[
        bool, typer.Option("--hypothesis-only", help="nli: without the premise, as a baseline.")
    ] = False,
    majority: Annotated[
        bool, typer.Option("--majority", help="Also score always saying the most frequent class.")
    ] = False,
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Score a model on data with answers.

    Example: hfkit eval last --data dev.json
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.evaluate import evaluate

        return evaluate(
            model,
            data,
            task=task,
            name=name,
            overwrite=overwrite,
            limit=limit,
            batch_size=batch_size,
            hypothesis_only=hypothesis_only,
            majority=majority,
            cpu=cpu,
            overrides=given,
            offline=offline,
        )

    perform("eval", verb, json=json, quiet=quiet, offline=offline)
