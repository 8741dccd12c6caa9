"""`hfkit submission`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Model, Offline, Overwrite, Pairs, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform


def submission(
    model: Model,
    pairs: Pairs = None,
    *,
    test: Annotated[
        str,
        typer.Option("--test", metavar="D", help="Rows to answer, as --data of predict.", show_default=False),
    ],
    sample: Annotated[
        Path,
        typer.Option(
            "--sample", metavar="F", help="The sample submission: csv, tsv, jsonl, json, or zip.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the submission goes.", show_default=False)
    ],
    oof: Annotated[
        Path | None,
        typer.Option(
            "--oof",
            metavar="F",
            help="Out-of-fold predictions with gold, to fit thresholds on: JSON lines, or an evaluation's folder.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="What thresholds are fitted for; else the run's metric."),
    ] = None,
    overwrite: Overwrite = False,
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Write a model's answers in the form of a sample submission, checked against it.

    Example: hfkit submission last --test test.csv --sample sample_submission.csv -o submission.csv
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.submission import submission

        return submission(
            model,
            test=test,
            sample=sample,
            output=output,
            oof=oof,
            metric=metric,
            overwrite=overwrite,
            cpu=cpu,
            overrides=given,
            offline=offline,
        )

    perform("submission", verb, json=json, quiet=quiet, offline=offline)
