"""A language model made ready to continue prompts: found, its settings without auto, then its weights on the device."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.errors import UsageError
from hfkit.events import Event, note, resolved
from hfkit.recipe.keys import Generate, Recipe
from hfkit.recipe.load import build
from hfkit.verbs.generate.prompts import Prompts
from hfkit.verbs.generate.reader import Reader

if TYPE_CHECKING:
    from hfkit.models import Checkpoint

AT_ONCE = 2000  # prompts made and encoded together


@dataclass(frozen=True)
class Plan:
    """All that is known before the weights are loaded."""

    checkpoint: Checkpoint
    reader: Reader
    settings: Generate  # without auto
    place: Any

    @property
    def device(self) -> Any:
        return self.place.device

    @property
    def tokenizer(self) -> Any:
        return self.reader.tokenizer

    @property
    def limit(self) -> int:
        return self.reader.limit


def wanted(checkpoint: Checkpoint, overrides: Sequence[str]) -> Recipe:
    """A recipe whose keys of `generate` are those of the command line > hfkit.json, from training > defaults."""
    stored = (checkpoint.saved or {}).get("generate", {})
    return build({"task": "lm", "generate": stored}, overrides, name="lm", where=f"{checkpoint.folder}/hfkit.json")


def planned(
    checkpoint: Checkpoint, settings: Generate, prompts: Prompts | None, *, cpu: bool, processes: int | None = 1
) -> Generator[Event, None, Plan]:
    """Everything checked that needs no weights: all prompts are encoded once. Without prompts a context is assumed.

    Joins the world, or starts it and raises Delegated. Raises UsageError when processes read other prompts.
    """
    yield from map(note, checkpoint.notes)
    reader = Reader.of(checkpoint)
    limit, settings = reader.limit, reader.fitting(settings)
    lengths, cut = _lengths(prompts, reader, settings) if prompts is not None else ([limit], 0)

    from hfkit.engine.place import take_place
    from hfkit.engine.precision import auto_precision

    place = take_place(cpu=cpu, processes=processes, precision="float32")
    if place.world.size > 1:
        yield note(place.world.line())
        _check_equal(place, prompts)
    device = place.device
    longest = min(max(lengths) + settings.max_new_tokens, limit)
    settings, lines = resolved_settings(checkpoint, settings, device, longest)
    if settings.dtype == "auto":
        dtype, why = auto_precision(device)
        settings = settings.model_copy(update={"dtype": dtype})
        yield resolved("generate.dtype", dtype, why)
    yield from lines
    if cut:
        of = f"{cut:,} of {len(lengths):,} prompts are cut at their left end"
        yield note(f"{of} to fit the model's context of {limit:,} tokens (generate.overflow={settings.overflow})")
    short = sum(limit - length < settings.max_new_tokens for length in lengths)
    if short and settings.overflow != "slide" and prompts is not None and reader.task is None:
        yield note(f"{short:,} of {len(lengths):,} prompts may reach the end of the model's context, {limit:,} tokens")
    return Plan(checkpoint, reader, settings, place)


def _check_equal(place: Any, prompts: Prompts | None) -> None:
    """Every process must have read the same prompts. Raises UsageError on all."""
    read = place.gather(prompts.fingerprint if prompts is not None else None)
    if other := next((rank for rank, each in enumerate(read) if each != read[0]), 0):
        raise UsageError(
            f"process {other} read other prompts than the first",
            "give them by --prompts, in a file that is the same for all: standard input reaches one process",
        )


def _lengths(prompts: Prompts, reader: Reader, settings: Generate) -> tuple[Sequence[int], int]:
    """The tokens of every prompt as it is read, and how many prompts are cut. Raises UsageError beyond the context."""
    lengths, cut = array("l"), 0
    for start in range(0, len(prompts), AT_ONCE):
        ids, texts = prompts.window(start, min(start + AT_ONCE, len(prompts)))
        found = reader.encode(texts, settings)
        reader.check(found, ids)
        lengths.extend(len(one.ids) for one in found)
        cut += sum(one.cut > 0 for one in found)
    return lengths, cut


def resolved_settings(
    checkpoint: Checkpoint, settings: Generate, device: Any, longest: int
) -> tuple[Generate, list[Event]]:
    """Settings without auto, and what each became; `longest` counts the tokens of a prompt and its completion."""
    from hfkit.engine.decode import resolve

    found, lines = resolve(settings, _stored(checkpoint.folder), device, longest)
    return found, [resolved(line.key, line.value, line.why) for line in lines]


def loaded(plan: Plan) -> Generator[Event, None, Any]:
    """The model on its device, its weights in the number format that was planned."""
    from hfkit.engine.encoder_decoder import write_in
    from hfkit.engine.generation_config import left_out
    from hfkit.models import load_model

    stored = "float32" if plan.settings.dtype == "int8" else str(plan.settings.dtype)  # decoding rounds them
    model, notes = load_model(plan.checkpoint, plan.reader.head, model_config={}, fresh_head="refuse", dtype=stored)
    if plan.reader.task is not None:
        write_in(model, plan.tokenizer, plan.reader.task.settings)
    yield from map(note, [*notes, *left_out(model, plan.settings.num_beams)])
    return model.to(plan.device)


def _stored(folder: Path | None) -> dict[str, Any]:
    """The checkpoint's generation_config.json; empty where there is none."""
    path = folder / "generation_config.json" if folder else None
    if path is None or not path.is_file():
        return {}
    from hfkit.models.intake import read_json

    return read_json(path)
