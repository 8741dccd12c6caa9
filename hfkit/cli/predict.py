"""`hfkit predict`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hfkit.cli.options import (
    MODEL_KEYS,
    Cpu,
    Debug,
    Json,
    Model,
    Offline,
    OutputFile,
    Overwrite,
    Quiet,
    Set,
    overrides,
    split_pair,
)
from hfkit.cli.perform import Events, perform
from hfkit.errors import UsageError


def predict(
    model: Model,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD=TEXT | KEY=VALUE",
            help="One row by its columns, e.g. question=... context=...; a name with a dot is a recipe key.",
            show_default=False,
        ),
    ] = None,
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="D", help="Rows to answer: a file, a folder, shipped:NAME, a Hub data set."),
    ] = None,
    output: OutputFile = None,
    sample: Annotated[
        Path | None,
        typer.Option("--sample", metavar="CSV", help="A sample submission; the file takes its columns, order and ids."),
    ] = None,
    form: Annotated[Literal["jsonl", "csv", "squad"], typer.Option("--format", help="Form of the file.")] = "jsonl",
    overwrite: Overwrite = False,
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Answer rows of a file, or one row given by its columns.

    Example: hfkit predict last question='Who?' context='It was Ada.'
    """
    fields, pairs = fields_and_pairs(words or [])
    if fields and data is not None:
        raise UsageError(
            f"--data and {next(iter(fields))}=... are given together", "answer a file or one row, not both"
        )
    if not fields and data is None:
        raise UsageError(
            "nothing to answer",
            "give a file as in `hfkit predict last --data D -o FILE`, or columns as in question=... context=...",
        )
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.predict import predict

        return predict(
            model,
            data=data,
            output=output,
            sample=sample,
            form=form,
            fields=fields,
            overwrite=overwrite,
            cpu=cpu,
            overrides=given,
            offline=offline,
        )

    perform("predict", verb, json=json, quiet=quiet, offline=offline)


def fields_and_pairs(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """FIELD=TEXT as a mapping; KEY=VALUE, with a dot in KEY or one of MODEL_KEYS, as it is. Raises UsageError."""
    fields: dict[str, str] = {}
    pairs: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        if equals and name.strip() and "." not in name and name not in MODEL_KEYS:
            if name in fields:
                raise UsageError(f"{name} is given twice", "give each column once")
            fields[name] = text
        else:
            if not equals:
                raise UsageError(
                    f"'{word}' is not FIELD=TEXT", "name the column, as in text='so it goes'; a file goes to --data"
                )
            split_pair(word)
            pairs.append(word)
    return fields, pairs
