"""`hfkit finetune`: parses, calls the verb, shows what it yields."""

from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Limit, Offline, Output, Overwrite, Pairs, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform


def finetune(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.", show_default=False),
    ],
    pairs: Pairs = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="M", help="The model to start from: a run, a folder, a Hub name, starter, scratch:NAME."
        ),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(
            "--train",
            metavar="D",
            help="Training data: a file, a folder, shipped:NAME, a Hub data set; may be repeated.",
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option("--validation", metavar="D", help="Validation data; else the set's own, or a share of train."),
    ] = None,
    output: Output = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", metavar="N", help="Passes over the training data.")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", metavar="X", help="Peak learning rate.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", min=1, help="Examples per optimizer step, over all devices."),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", metavar="N", min=1, help="Tokens per example at most.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME", help="Metric that picks the best checkpoint.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="2h", help="Time limit; the schedule is fitted to it.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run; start if there is none.")
    ] = False,
    overwrite: Overwrite = False,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="Seed of weights, order and dropout.")
    ] = None,
    limit: Limit = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="Processes to train with; else one per GPU.")
    ] = None,
    cpu: Cpu = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, measure what fits and how long it takes.")
    ] = False,
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
        "data.train": train[0] if train and len(train) == 1 else train or None,
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
