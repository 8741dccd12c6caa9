"""`hfkit generate`: parses, calls the verb, shows what it yields."""

import difflib
import re
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from hfkit.cli.options import MODEL_KEYS, Cpu, Debug, Json, Model, Offline, OutputFile, Overwrite, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform
from hfkit.errors import UsageError
from hfkit.tasks import TASKS

SECTIONS = ("data", "train", "generate", "scratch", *TASKS)
_MODEL_KEY = re.compile(rf"({'|'.join(MODEL_KEYS)})=\S+")
_KEY = re.compile(r"([a-z][a-z0-9_]*)(\.[A-Za-z0-9_]+)+=")


def generate(
    model: Model,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROMPT | KEY=VALUE",
            help="Texts to continue, or - for one on standard input; generate.KEY=VALUE is a recipe key.",
            show_default=False,
        ),
    ] = None,
    *,
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", metavar="D", help="A file of prompts, one a row, in a column named prompt."),
    ] = None,
    output: OutputFile = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", metavar="N", min=1, help="Tokens generated at most.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", metavar="T", min=0, help="0 is greedy; higher is more varied.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", metavar="P", help="Sample among the likeliest tokens up to this probability."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", metavar="K", min=0, help="Sample among the K likeliest tokens; 0 is all.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Seed of sampling.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a file that was stopped; start if there is none.")
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Type one prompt after another; each line of a pipe is one.")
    ] = False,
    overwrite: Overwrite = False,
    processes: Annotated[
        int | None,
        typer.Option("--processes", metavar="N", min=1, help="Processes that share a file; else one per GPU."),
    ] = None,
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Continue texts with a language model.

    Example: hfkit generate last 'Once upon a time' --max-new-tokens 40
    """
    texts, pairs = prompts_and_pairs(words or [])
    flags = {
        "generate.max_new_tokens": max_new_tokens,
        "generate.temperature": temperature,
        "generate.top_p": top_p,
        "generate.top_k": top_k,
        "generate.seed": seed,
    }
    given = overrides(flags, pairs, settings)
    if interactive:
        if texts or prompts is not None or output is not None or resume or overwrite:
            raise UsageError(
                "--interactive takes prompts as they are typed and writes no file",
                "leave the prompts and -o out, as in `hfkit generate last --interactive`",
            )
        if processes is not None:
            raise UsageError("--interactive is answered by one process", "leave --processes out")
        perform("generate", _talking(model, given, cpu, offline), json=json, quiet=quiet, offline=offline)
        return
    if texts and prompts is not None:
        raise UsageError("prompts come from two places", "give them as arguments or by --prompts")
    if not texts and prompts is None:
        if sys.stdin.isatty():
            raise UsageError("no prompt", "give one as in `hfkit generate last PROMPT`, or a file with --prompts")
        texts = ["-"]
    texts = [sys.stdin.read().removesuffix("\n") if text == "-" else text for text in texts]

    def verb() -> Events:
        from hfkit.verbs.generate import generate

        return generate(
            model,
            texts,
            prompts_file=prompts,
            output=output,
            resume=resume,
            overwrite=overwrite,
            cpu=cpu,
            processes=processes,
            overrides=given,
            offline=offline,
        )

    perform("generate", verb, json=json, quiet=quiet, offline=offline)


def _talking(model: str, given: list[str], cpu: bool, offline: bool) -> Callable[[], Events]:
    def verb() -> Events:
        from hfkit.cli.typed import entries
        from hfkit.verbs.generate.talk import talk

        return talk(model, entries(), cpu=cpu, overrides=given, offline=offline)

    return verb


def prompts_and_pairs(words: list[str]) -> tuple[list[str], list[str]]:
    """Prompts, and KEY=VALUE where KEY stands in a section of a recipe. Raises UsageError on a section nearly spelt."""
    texts: list[str] = []
    pairs: list[str] = []
    for word in words:
        found = _KEY.match(word)
        if _MODEL_KEY.fullmatch(word):
            pairs.append(word)
        elif found is None:
            texts.append(word)
        elif found[1] in SECTIONS:
            pairs.append(word)
        elif near := difflib.get_close_matches(found[1], SECTIONS, n=1, cutoff=0.8):
            raise UsageError(
                f"'{word}' is a prompt or a recipe key with a typo",
                f"the key is {near[0]}{word[len(found[1]) :]}; such a prompt goes into a file for --prompts",
            )
        else:
            texts.append(word)
    return texts, pairs
