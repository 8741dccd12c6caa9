"""`hfkit score`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Offline, Pairs, Quiet, Set, TaskName, overrides
from hfkit.cli.perform import Events, perform


def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="A file of predictions: jsonl, csv, {id: text}, HANS' text.", show_default=False
        ),
    ],
    pairs: Pairs = None,
    *,
    data: Annotated[str, typer.Option("--data", metavar="D", help="The data with answers.", show_default=False)],
    task: TaskName,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score what data and predictions both have; say how many lack.")
    ] = False,
    allow_order: Annotated[
        bool, typer.Option("--allow-order", help="Match by order, not by id: the first prediction is the first row's.")
    ] = False,
    slices: Annotated[
        bool, typer.Option("--slices", help="Also score parts: by question word, length, overlap, class, and so on.")
    ] = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Score a file of predictions; no model is loaded.

    Example: hfkit score predictions.jsonl --data dev.json --task qa
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.score import score

        return score(
            predictions,
            data=data,
            task=task,
            allow_missing=allow_missing,
            allow_order=allow_order,
            slices=slices,
            overrides=given,
            offline=offline,
        )

    perform("score", verb, json=json, quiet=quiet, offline=offline)
