"""The Typer application: which commands there are, in the order of the help page."""

from collections.abc import Callable
from typing import Annotated

import typer

from hfkit import __version__
from hfkit.cli.compare import compare
from hfkit.cli.convert import convert
from hfkit.cli.doctor import doctor
from hfkit.cli.eval import evaluate
from hfkit.cli.finetune import finetune
from hfkit.cli.generate import generate
from hfkit.cli.help import help_
from hfkit.cli.predict import predict
from hfkit.cli.recipes import recipes
from hfkit.cli.runs import runs
from hfkit.cli.score import score

COMMANDS: dict[str, Callable[..., None]] = {
    "finetune": finetune,
    "eval": evaluate,
    "predict": predict,
    "generate": generate,
    "score": score,
    "compare": compare,
    "convert": convert,
    "doctor": doctor,
    "help": help_,
}
GROUPS = {"recipes": recipes, "runs": runs}

app = typer.Typer(name="hfkit", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def show_version(asked: bool) -> None:
    """Print the version and stop."""
    if asked:
        typer.echo(f"hfkit {__version__}")
        raise typer.Exit()


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune BERT and GPT-2 models on your data, score them honestly, and use them."""


for name, function in COMMANDS.items():
    app.command(name)(function)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def command_names() -> dict[str, tuple[str, ...]]:
    """Every command, and the commands of the groups among them (none for a plain command)."""
    inner = {name: tuple(found.name or "" for found in group.registered_commands) for name, group in GROUPS.items()}
    return {**dict.fromkeys(COMMANDS, ()), **inner}
