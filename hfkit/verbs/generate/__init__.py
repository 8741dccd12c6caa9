"""`generate`: prompts -> completions of a language model, streamed for one prompt, written in input order for many."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from hfkit.errors import UsageError
from hfkit.events import Event, note
from hfkit.run import shown_path
from hfkit.stopping import saving_first
from hfkit.verbs.generate.lines import logprob_lines
from hfkit.verbs.generate.output import Kept, Output, output_at
from hfkit.verbs.generate.prompts import Prompts, read_prompts
from hfkit.verbs.generate.ready import Plan, check_keys, loaded, planned, wanted
from hfkit.verbs.generate.work import Work
from hfkit.verbs.together import together
from hfkit.verbs.trained import find_by_keys

WINDOW_BATCHES = 16  # batches of a window: prompts are sorted by length inside it, and a stopped job loses it at most


def generate(
    model: str,
    prompts: Sequence[str],
    *,
    prompts_file: Any = None,
    output: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Continue each prompt. `prompts_file` is a data set with a column `prompt`, or a .txt with one prompt a line.

    One prompt without `output` is streamed as "text" events. `output` (jsonl) takes its name when it is whole; until
    then its lines stand in FILE.partial, with which `resume` goes on. A line is what `lines.line` says. An empty prompt
    starts from the model's begin or end token. The rows of `prompts_file` are shared out over the processes of a
    launcher, else over one for each GPU, or `processes`: the first reads and writes.
    Raises UsageError (keys, output, a prompt beyond the context), DataError, ModelError, NetworkError; Stopped, with
    what is written kept.
    """
    started = time.perf_counter()
    check_keys(overrides, "generate", "data")
    target = output_at(output, resume=resume, overwrite=overwrite)
    checkpoint = find_by_keys(model, overrides, offline=offline)
    recipe = wanted(checkpoint, overrides)
    sources = bool(checkpoint.config.get("is_encoder_decoder"))
    read = partial(read_prompts, prompts, prompts_file, recipe, sources=sources, offline=offline)
    shared = _shared(processes, prompts_file)
    plan = yield from planned(checkpoint, recipe.generate, read, cpu=cpu, processes=shared, overrides=overrides)
    world = plan.place.world
    if prompts_file is None and world.size > 1:
        _check_equal(plan.place, read())
    window = max(1, WINDOW_BATCHES * int(plan.settings.batch_size) * world.size // plan.settings.samples)
    if target is not None:
        window, target = together(plan.place, partial(_begun, target, plan, window))
        if target.finished is not None:
            yield note(f"{shown_path(target.target)} is finished: {plan.rows:,} rows, nothing is left to do")
            yield Event("result", target.finished)
            plan.place.close()
            return
        if resume:
            done = f"{target.rows:,} of {plan.rows:,} prompts are done: going on behind them"
            yield note(done if target.rows else "nothing is done yet: starting")
    yield from _run(plan, target, window, started)


def _run(plan: Plan, target: Output | None, window: int, started: float) -> Iterator[Event]:
    """Load the weights, continue what is left of the prompts, and say what was made."""
    model = yield from loaded(plan)
    work = Work(plan, model, streamed=target is None and plan.rows == 1 and plan.settings.samples == 1)
    lines: Output | Kept = target if target is not None else Kept()
    begun = lines.rows
    with saving_first() if target is not None else nullcontext():
        yield from _continued(work, lines, window, may_stop=target is not None)
    plan.place.close()
    if not plan.place.world.main:
        return
    result = {
        "model": plan.checkpoint.name,
        "rows": plan.rows,
        "output": str(target.target) if target is not None else None,
        **({"predictions": lines.found} if isinstance(lines, Kept) else {}),
        "finish_reasons": {name: lines.counts[name] for name in ("eos", "stop", "length") if lines.counts[name]},
        "truncated": lines.counts["truncated"],
        "throughput": {
            "rows_per_s": (plan.rows - begun) / max(work.seconds, 1e-9),
            "tokens_per_s": work.rate(),
            "seconds": time.perf_counter() - started,
        },
    }
    if target is not None:
        target.finish(result)
        yield Event("saved", {"what": "completions", "path": shown_path(target.target)})
    elif isinstance(lines, Kept):
        yield from map(note, logprob_lines(lines.found))
    yield note(work.summary())
    yield Event("result", result)


def _continued(work: Work, lines: Output | Kept, window: int, *, may_stop: bool) -> Iterator[Event]:
    """Window by window, the first process writes what all have made. Raises on all what it raises there."""
    from hfkit.engine.processes.watch import losses_named

    plan = work.plan
    with losses_named(plan.place.world):
        for start in range(lines.rows, plan.rows, window):
            found = yield from work.window(start, min(start + window, plan.rows), may_stop=may_stop)
            together(plan.place, partial(lines.add, found))


def _shared(processes: int | None, prompts_file: Any) -> int | None:
    """How many processes are asked for: texts of the command line are one's work, and standard input reaches one only.

    Raises UsageError when several are asked for and there is no file to share out.
    """
    from hfkit.engine.processes.world import launched

    if prompts_file is None and (processes or 1) > 1:
        raise UsageError(f"--processes {processes} shares out the rows of a file", "give the prompts by --prompts FILE")
    return processes if prompts_file is not None or launched() else 1


def _begun(target: Output, plan: Plan, window: int) -> tuple[int, Output]:
    """How many prompts a window has, and the file as it stands after `Output.begin`."""
    assert plan.prompts is not None, "the first process begins"
    return target.begin(_identity(plan, plan.prompts), window), target


def _check_equal(place: Any, typed: Prompts) -> None:
    """Every process must have been given the same texts. Raises UsageError on all."""
    given = place.gather(typed.fingerprint)
    if other := next((rank for rank, each in enumerate(given) if each != given[0]), 0):
        raise UsageError(
            f"process {other} was given other prompts than the first",
            "give them by --prompts, in a file: standard input reaches one process",
        )


def _identity(plan: Plan, given: Prompts) -> dict[str, Any]:
    """All that the lines of a file depend on, by name.

    Only log-probabilities depend on which rows are decoded together: on the batch size and the number of processes.
    """
    from hfkit.data.features import tokenizer_digest
    from hfkit.files import sha256_of
    from hfkit.models.intake import weights_sha256

    size, task = plan.place.world.size, plan.reader.task
    settings = plan.settings.model_dump(exclude=set() if plan.settings.logprobs else {"batch_size"})
    written = {} if task is None else task.settings.model_dump(mode="json")  # prefix and languages are among them
    assert plan.checkpoint.folder is not None, "what has fresh weights does not write"
    config = plan.checkpoint.folder / "generation_config.json"  # end tokens, forced ones
    return {
        "rows": len(given),
        "the prompts": {"name": given.name, "digest": given.fingerprint},
        "the weights": {"name": plan.checkpoint.name, "digest": weights_sha256(plan.checkpoint.folder)},
        "the tokenizer": {"name": plan.checkpoint.name, "digest": tokenizer_digest(plan.tokenizer)},
        "the generation config": {"name": config.name, "digest": sha256_of(config) if config.exists() else None},
        **{f"{task.name}.{key}": value for key, value in written.items() if task is not None},
        **{f"generate.{key}": value for key, value in settings.items()},
        **({"processes": size} if plan.settings.logprobs and size > 1 else {}),
    }
