"""The Typer application: which commands there are, in the order of the help page."""

from typing import Annotated

import typer

from hfkit import __version__
from hfkit.cli.eval import evaluate
from hfkit.cli.finetune import finetune
from hfkit.cli.predict import predict

app = typer.Typer(
    name="hfkit",
    help="Fine-tune BERT and GPT-2 models on your data, score them honestly, and use them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def show_version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        typer.echo(f"hfkit {__version__}")
        raise typer.Exit()


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune BERT and GPT-2 models on your data, score them honestly, and use them."""


app.command("finetune")(finetune)
app.command("eval")(evaluate)
app.command("predict")(predict)

GROUPS: dict[str, tuple[str, ...]] = {}


def command_names() -> dict[str, tuple[str, ...]]:
    """Every command in the order of the help page, and the commands of the groups among them."""
    return {name: GROUPS.get(name, ()) for name in ("finetune", "eval", "predict", *GROUPS)}
