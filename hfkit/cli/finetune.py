"""`hfkit finetune`: parses, calls the verb, shows what it yields."""

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


def finetune(
    recipe: RecipeName,
    pairs: Pairs = None,
    *,
    model: StartModel = None,
    train: Train = None,
    validation: Annotated[
        str | None,
        typer.Option("--validation", metavar="D", help="Validation data; else the set's own, or a share of train."),
    ] = None,
    output: Output = None,
    epochs: Epochs = None,
    lr: Rate = None,
    batch_size: BatchSize = None,
    max_length: MaxLength = None,
    metric: Metric = None,
    time: Time = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run; start if there is none.")
    ] = False,
    overwrite: Overwrite = False,
    seed: Seed = None,
    limit: Limit = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="Processes to train with; else one per GPU.")
    ] = None,
    cpu: Cpu = False,
    dry_run: DryRun = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Fine-tune a model by a recipe.

    Example: hfkit finetune qa --train my.json --model starter train.lr=1e-4
    """
    flags = {
        "model": model,
        "data.train": train_of(train),
        "data.validation": validation,
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
        from hfkit.verbs.finetune import finetune

        return finetune(
            loaded,
            output=output,
            resume=resume,
            overwrite=overwrite,
            dry_run=dry_run,
            cpu=cpu,
            processes=processes,
            offline=offline,
        )

    perform("finetune", verb, json=json, quiet=quiet, offline=offline)
