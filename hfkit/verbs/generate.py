"""`generate`: prompts -> completions of a language model, streamed for one prompt, written in input order for many."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.errors import ModelError, UsageError
from hfkit.events import Event, note, progress, resolved
from hfkit.files import atomic_write
from hfkit.recipe.keys import MODEL_KEYS, Generate, Recipe
from hfkit.recipe.load import build, check_override_sections
from hfkit.run import probe_writable
from hfkit.tasks.base import Column
from hfkit.verbs.trained import find_by_keys

if TYPE_CHECKING:
    from hfkit.engine.decode import Completion
    from hfkit.models import Checkpoint

COLUMNS = (Column("id", False), Column("prompt", True, ("text", "question", "instruction", "input")))


@dataclass(frozen=True)
class _Ready:
    """A model on its device, with its prompts as tokens and settings without auto."""

    name: str
    model: Any
    tokenizer: Any
    tokens: list[list[int]]
    settings: Generate


@dataclass(frozen=True)
class Prompts:
    """Prompts with their ids: strings, the row's number where nothing else is given."""

    ids: list[str]
    texts: list[str]
    notes: list[str]


def generate(
    model: str,
    prompts: Sequence[str],
    *,
    prompts_file: Any = None,
    output: Path | None = None,
    overwrite: bool = False,
    cpu: bool = False,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Continue each prompt. `prompts_file` is a data set with a column `prompt`, or a .txt with one prompt a line.

    One prompt without `output` is streamed as "text" events. With `output` (jsonl) the file is written whole or not at
    all: `id`, `prompt`, `prediction` and `completion` (equal), `finish_reason` (eos, stop, length), `tokens`. An empty
    prompt starts from the model's begin or end token. Raises UsageError (keys, output, a prompt beyond the context),
    DataError, ModelError, NetworkError.
    """
    started = time.perf_counter()
    check_override_sections(overrides, ("generate", "data", *MODEL_KEYS))
    recipe = build({"task": "lm"}, overrides, name="lm", where="command line")
    target = _checked_output(output, overwrite)
    given = _prompts(prompts, prompts_file, recipe, offline)
    yield from map(note, given.notes)
    ready = yield from _prepared(model, given, overrides, cpu, offline)
    decoding = time.perf_counter()
    streamed = target is None and len(given.ids) == 1 and ready.settings.samples == 1
    completions = yield from _completions(ready, given, streamed=streamed)
    seconds = time.perf_counter() - decoding
    rows = [_row(given, place, completion, ready.settings) for place, completion in enumerate(completions)]
    result: dict[str, Any] = {"model": ready.name, "rows": len(rows), "output": str(target) if target else None}
    if target is None:
        result["predictions"] = rows
    else:
        with atomic_write(target) as handle:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        yield Event("saved", {"what": "completions", "path": str(target)})
    result["throughput"] = {
        "rows_per_s": len(rows) / seconds,
        "tokens_per_s": sum(row["tokens"] for row in rows) / seconds,
        "seconds": time.perf_counter() - started,
    }
    yield Event("result", result)


def _prepared(
    model: str, given: Prompts, overrides: Sequence[str], cpu: bool, offline: bool
) -> Generator[Event, None, _Ready]:
    """Everything checked that needs no weights, then the model on its device."""
    from hfkit.models import load_config, load_model, load_tokenizer, max_positions

    checkpoint = find_by_keys(model, overrides, offline=offline)
    wanted = _wanted(checkpoint, overrides)
    yield from map(note, checkpoint.notes)
    tokenizer = load_tokenizer(checkpoint)
    tokens = encode(given.texts, tokenizer)
    lengths = [len(ids) for ids in tokens]

    from hfkit.engine.decode import check_room, resolve
    from hfkit.engine.optimize import auto_precision
    from hfkit.engine.place import take_place

    limit = max_positions(load_config(checkpoint))
    check_room(lengths, given.ids, limit)
    place = take_place(cpu=cpu, processes=1, precision="float32")
    longest = min(max(lengths) + wanted.max_new_tokens, limit)
    settings, lines = resolve(wanted, _stored(checkpoint.folder), place.device, longest)
    if settings.dtype == "auto":
        dtype, why = auto_precision(place.device)
        settings = settings.model_copy(update={"dtype": dtype})
        yield resolved("generate.dtype", dtype, why)
    yield from (resolved(line.key, line.value, line.why) for line in lines)
    short = sum(limit - length < settings.max_new_tokens for length in lengths)
    if short:
        yield note(f"{short:,} of {len(tokens):,} prompts may reach the end of the model's context, {limit:,} tokens")
    stored = "float32" if settings.dtype == "int8" else str(settings.dtype)  # decoding rounds them
    loaded, notes = load_model(checkpoint, "causal-lm", model_config={}, fresh_head="refuse", dtype=stored)
    yield from map(note, notes)
    return _Ready(checkpoint.name, loaded.to(place.device), tokenizer, tokens, settings)


def _completions(ready: _Ready, given: Prompts, *, streamed: bool) -> Generator[Event, None, list[Completion]]:
    """The completions in input order; the text of a single prompt as it comes, else how many are done."""
    from hfkit.engine.decode import pieces

    total = len(ready.tokens) * ready.settings.samples
    found: dict[tuple[int, int], Completion] = {}
    for piece in pieces(ready.model, ready.tokenizer, ready.tokens, ready.settings, ids=given.ids):
        if streamed and piece.text:
            yield Event("text", {"text": piece.text})
        if piece.completion:
            found[piece.row, piece.sample] = piece.completion
            if not streamed:
                yield progress("generate", len(found), total, "completions")
    return [found[key] for key in sorted(found)]


def encode(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of each prompt; an empty one is the begin token, else the end token. Raises ModelError."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    found: list[list[int]] = []
    for ids in tokenizer(list(texts), return_attention_mask=False, verbose=False)["input_ids"]:
        if not ids and start is None:
            raise ModelError("the tokenizer has no token to begin an empty prompt with", "give a prompt with text")
        found.append(list(ids) or [start])
    return found


def _checked_output(output: Path | None, overwrite: bool) -> Path | None:
    """The absolute path of the file to write. Raises UsageError when something stands there."""
    if output is None:
        return None
    target = Path(output).expanduser().absolute()
    if target.is_dir():
        raise UsageError(f"{target} is a folder", "name a file such as completions.jsonl with --output")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists", "choose another file with --output, or replace it with --overwrite")
    probe_writable(target.parent)
    return target


def _prompts(prompts: Sequence[str], prompts_file: Any, recipe: Recipe, offline: bool) -> Prompts:
    """Prompts given one by one, or the rows of a data set. Raises UsageError and DataError."""
    if prompts_file is None:
        if not prompts:
            raise UsageError("no prompt", "give one as in `hfkit generate last PROMPT`, or a file with --prompts")
        return Prompts([str(number) for number in range(len(prompts))], list(prompts), [])
    if prompts:
        raise UsageError("prompts come from two places", "give them as arguments or by --prompts")
    from hfkit.data import describe, load, raise_failures
    from hfkit.data.validators import duplicate_ids, named, text_column

    limit = recipe.data.limit
    rows = load(prompts_file, columns=COLUMNS, settings=recipe.data, need_gold=False, limit=limit, offline=offline)
    with named(rows):
        lines = raise_failures([*duplicate_ids(rows, "warning"), *text_column(rows, "prompt", empty="warning")])
    return Prompts([row["id"] for row in rows], [row["prompt"] for row in rows], [*describe(rows), *lines])


def _wanted(checkpoint: Checkpoint, overrides: Sequence[str]) -> Generate:
    """The keys of `generate`: command line > hfkit.json, which has those of the run's recipe > defaults."""
    stored = (checkpoint.saved or {}).get("generate", {})
    return build(
        {"task": "lm", "generate": stored}, overrides, name="lm", where=f"{checkpoint.folder}/hfkit.json"
    ).generate


def _stored(folder: Path | None) -> dict[str, Any]:
    """The checkpoint's generation_config.json; empty where there is none."""
    path = folder / "generation_config.json" if folder else None
    if path is None or not path.is_file():
        return {}
    from hfkit.models.intake import read_json

    return read_json(path)


def _row(given: Prompts, place: int, completion: Completion, settings: Generate) -> dict[str, Any]:
    """A line of the output; `sample` where a prompt has several, `logprobs` (nats, one a token) where asked for."""
    number, sample = divmod(place, settings.samples)
    return {
        "id": given.ids[number],
        "prompt": given.texts[number],
        "prediction": completion.text,
        "completion": completion.text,
        "finish_reason": completion.finish_reason,
        "tokens": len(completion.ids),
        **({"sample": sample} if settings.samples > 1 else {}),
        **({"logprobs": list(completion.logprobs)} if completion.logprobs else {}),
    }
