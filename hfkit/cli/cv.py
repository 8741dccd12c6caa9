"""`hfkit cv`: parses, calls the verb, shows what it yields."""

from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Limit, Offline, Output, Overwrite, Pairs, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform
from hfkit.cli.training import (
    BatchSize,
    DryRun,
    Epochs,
    MaxLength,
    Metric,
    Rate,
    RecipeName,
    Seed,
    StartModel,
    Time,
    Train,
    train_of,
)


def cv(
    recipe: RecipeName,
    pairs: Pairs = None,
    *,
    folds: Annotated[
        int | None, typer.Option("--folds", metavar="N", min=2, help="Folds of train; 5 unless the recipe says more.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", min=1, help="Seeds from --seed on, each on all folds; else 1.")
    ] = None,
    model: StartModel = None,
    train: Train = None,
    output: Output = None,
    epochs: Epochs = None,
    lr: Rate = None,
    batch_size: BatchSize = None,
    max_length: MaxLength = None,
    metric: Metric = None,
    time: Time = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where it stopped; what is finished is not trained again.")
    ] = False,
    overwrite: Overwrite = False,
    seed: Seed = None,
    limit: Limit = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="Runs at once; else one per GPU.")
    ] = None,
    cpu: Cpu = False,
    dry_run: DryRun = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Train on all folds but one, for each fold, and score what was not seen.

    Example: hfkit cv classify --train train.csv --folds 5 --seeds 3
    """
    flags = {
        "model": model,
        "data.train": train_of(train),
        "data.folds": folds,
        "train.epochs": epochs,
        "train.lr": lr,
        "train.batch_size": batch_size,
        "max_length": max_length,
        "train.metric": metric,
        "train.time": time,
        "train.seed": seed,
        "data.limit": limit,
    }
    given = overrides(flags, pairs, settings)

    def verb() -> Events:
        from hfkit.recipe.load import load

        loaded = load(recipe, given)
        from hfkit.verbs.cv import cv

        return cv(
            loaded,
            seeds=seeds,
            output=output,
            resume=resume,
            overwrite=overwrite,
            dry_run=dry_run,
            cpu=cpu,
            processes=processes,
            offline=offline,
        )

    perform("cv", verb, json=json, quiet=quiet, offline=offline)
