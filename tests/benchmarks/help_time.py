"""`hfkit --help` and every command's --help against a Typer application with the same commands and empty bodies.

    python tests/benchmarks/help_time.py [--rounds 9]

One JSON line for the empty application against itself, which is the noise of this moment; one for each help page; one
for `hfkit --help` against `hf --help` where `hf` is installed. Limits: 1.25 times the empty application, half of
`hf --help`. Beside other work wall time wanders by a third, processor time by a tenth or more.
The number of instructions does not wander: `valgrind --tool=cachegrind --cache-sim=no hfkit predict --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import typer
from interleaved import ROUNDS, Taken, in_turn, summary

from hfkit.cli.app import application
from hfkit.cli.commands import command_names

BIN = Path(sys.executable).parent
HEAD = '''import typer
app = typer.Typer(name="hfkit", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def top(version: bool = typer.Option(False, "--version", help="Show the version.")) -> None:
    """Fine-tune BERT and GPT-2 models on your data, score them honestly, and use them."""

'''


def empty_application() -> str:
    """Source of an application with hfkit's commands, their arguments, options and help texts, and empty bodies."""
    parts = [HEAD]
    found = typer.main.get_command(application())
    for name, command in found.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            parts.append(f"{name} = typer.Typer(help={command.help!r})\napp.add_typer({name}, name={name!r})\n")
            parts += [function(name, inner, each) for inner, each in command.commands.items()]
        else:
            parts.append(function("app", name, command))
    return "\n\n".join(parts)


def function(owner: str, name: str, command: object) -> str:
    """One command with an empty body."""
    parameters = ", ".join(map(parameter, command.params))  # type: ignore[attr-defined]
    return f"@{owner}.command({name!r})\ndef {owner}_{name}_({parameters}) -> None:\n    {command.help!r}\n"  # type: ignore[attr-defined]


def parameter(found: object) -> str:
    """One argument or option: same flags, help and kind."""
    flag, several = getattr(found, "is_flag", False), found.multiple or found.nargs == -1  # type: ignore[attr-defined]
    kind = "bool" if flag else "list[str]" if several else "str"
    default = "False" if flag else "..." if found.required else "None"  # type: ignore[attr-defined]
    if found.param_type_name == "argument":  # type: ignore[attr-defined]
        return f"{found.name}: {kind} = typer.Argument({default}, metavar={found.metavar!r}, help={found.help!r})"  # type: ignore[attr-defined]
    flags = ", ".join(map(repr, found.opts))  # type: ignore[attr-defined]
    return f"{found.name}: {kind} = typer.Option({default}, {flags}, metavar={found.metavar!r}, help={found.help!r})"  # type: ignore[attr-defined]


def pages() -> Iterator[list[str]]:
    """The words before --help of every help page."""
    yield []
    for name, inner in command_names().items():
        yield [name]
        yield from ([name, each] for each in inner)


def report(title: str, found: dict[str, list[Taken]], limit: float) -> None:
    print(json.dumps({"benchmark": "help_time", "page": title, **summary(found), "limit": limit}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "empty.py").write_text(empty_application(), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": scratch}  # a module, so that its bytecode is cached as hfkit's is
        empty = [sys.executable, "-c", "from empty import app; app()", "predict", "--help"]
        noise = in_turn({"empty": empty, "again": empty}, rounds=rounds, environment=environment)
        report("the empty application against itself", noise, 1.0)
        for words in pages():
            commands = {
                "hfkit": [str(BIN / "hfkit"), *words, "--help"],
                "empty": [sys.executable, "-c", "from empty import app; app()", *words, "--help"],
            }
            report(" ".join(["hfkit", *words]), in_turn(commands, rounds=rounds, environment=environment), 1.25)
    if (BIN / "hf").exists():
        commands = {"hfkit": [str(BIN / "hfkit"), "--help"], "hf": [str(BIN / "hf"), "--help"]}
        report("hfkit against hf", in_turn(commands, rounds=rounds), 0.5)


if __name__ == "__main__":
    main()
