"""Arguments and options of commands that train by a recipe, each written once, and the recipe keys they stand for."""

from typing import Annotated

import typer

RecipeName = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.", show_default=False),
]
StartModel = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="M", help="The model to start from: a run, a folder, a Hub name, starter, scratch:NAME."
    ),
]
Train = Annotated[
    list[str] | None,
    typer.Option(
        "--train", metavar="D", help="Training data: a file, a folder, shipped:NAME, a Hub data set; may be repeated."
    ),
]
Epochs = Annotated[float | None, typer.Option("--epochs", metavar="N", help="Passes over the training data.")]
Rate = Annotated[float | None, typer.Option("--lr", metavar="X", help="Peak learning rate.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", min=1, help="Examples per optimizer step, over all devices.")
]
MaxLength = Annotated[int | None, typer.Option("--max-length", metavar="N", min=1, help="Tokens per example at most.")]
Metric = Annotated[str | None, typer.Option("--metric", metavar="NAME", help="Metric that picks the best checkpoint.")]
Time = Annotated[
    str | None, typer.Option("--time", metavar="2h", help="Time limit of a run; the schedule is fitted to it.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Seed of weights, order and dropout.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan, measure what fits and how long it takes; train nothing.")
]


def train_of(train: list[str] | None) -> str | list[str] | None:
    """What `--train` says as the key data.train has it."""
    return train[0] if train and len(train) == 1 else train or None
