"""A language model made ready to continue prompts: found, its settings without auto, then its weights on the device."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.engine.processes.world import several
from hfkit.events import Event, note, progress, resolved
from hfkit.recipe.keys import MODEL_KEYS, Generate, Recipe
from hfkit.recipe.load import build
from hfkit.recipe.overrides import check_override_sections, override_settings
from hfkit.tasks.seq2seq.settings import Seq2SeqSettings
from hfkit.verbs.generate.prompts import Prompts
from hfkit.verbs.generate.reader import SOURCE_KEYS, Reader, parted
from hfkit.verbs.together import made_by_first, made_for_all

if TYPE_CHECKING:
    from hfkit.engine.processes.place import Place
    from hfkit.models import Checkpoint

AT_ONCE = 500  # prompts made and encoded together
KEY = "hfkit/prompts"


@dataclass(frozen=True)
class Plan:
    """All that is known before the weights are loaded."""

    checkpoint: Checkpoint
    reader: Reader
    settings: Generate  # without auto
    place: Any
    rows: int = 0  # prompts in all
    prompts: Prompts | None = None  # none on other processes than the first

    @property
    def device(self) -> Any:
        return self.place.device

    @property
    def tokenizer(self) -> Any:
        return self.reader.tokenizer

    @property
    def limit(self) -> int:
        return self.reader.limit


@dataclass(frozen=True, slots=True)
class Measured:
    """What planning takes from the tokens of all prompts: the longest, how many are cut, how many leave less room than
    generate.max_new_tokens."""

    longest: int
    cut: int = 0
    short: int = 0


def check_keys(overrides: Sequence[str], *sections: str) -> None:
    """Keys are looked at before models are: those of `sections`, of a model, and of how a source is read.

    Raises UsageError.
    """
    check_override_sections(overrides, (*sections, *SOURCE_KEYS, *MODEL_KEYS))
    own, others = parted(overrides)
    build({"task": "lm"}, others, name="lm", where="command line")
    override_settings(Seq2SeqSettings(), "seq2seq", own)


def wanted(checkpoint: Checkpoint, overrides: Sequence[str]) -> Recipe:
    """A recipe whose keys of `generate` are those of the command line > hfkit.json, from training > defaults."""
    stored = (checkpoint.saved or {}).get("generate", {})
    _, others = parted(overrides)
    return build({"task": "lm", "generate": stored}, others, name="lm", where=f"{checkpoint.folder}/hfkit.json")


def planned(
    checkpoint: Checkpoint,
    settings: Generate,
    read: Callable[[], Prompts] | None,
    *,
    cpu: bool,
    processes: int | None = 1,
    overrides: Sequence[str] = (),
) -> Generator[Event, None, Plan]:
    """Everything checked that needs no weights: all prompts are encoded once. Without prompts a context is assumed.

    Of `overrides` those count that say how a source is read. Joins the world, or starts it and raises Delegated. Of
    several processes the first reads; the others are told what was settled, and raise what it raises.
    """

    def join() -> Place:
        from hfkit.engine.processes.place import take_place

        return take_place(cpu=cpu, processes=processes, precision="float32")

    place = join() if several(processes) else None
    if place is not None and not place.world.main:
        settings, rows = made_by_first(place, KEY)
        return Plan(checkpoint, Reader.of(checkpoint, overrides), settings, place, rows)
    work = _made_ready(checkpoint, settings, read, (lambda: place) if place else join, overrides)
    if place is None:
        return (yield from work)
    return (yield from made_for_all(place, KEY, work, lambda plan: (plan.settings, plan.rows)))


def _made_ready(
    checkpoint: Checkpoint,
    settings: Generate,
    read: Callable[[], Prompts] | None,
    join: Callable[[], Place],
    overrides: Sequence[str],
) -> Generator[Event, None, Plan]:
    """The plan, by the process that reads the prompts. Raises Delegated from `join`."""
    prompts = read() if read is not None else None  # before torch is imported
    place = join()
    if place.world.size > 1:
        yield note(place.world.line())
    yield from map(note, [*(prompts.notes if prompts is not None else ()), *checkpoint.notes])
    reader = Reader.of(checkpoint, overrides)
    settings = reader.fitting(settings)
    measured = Measured(reader.limit)
    if prompts is not None:
        measured = yield from _measured(prompts, reader, settings)
    longest = min(measured.longest + settings.max_new_tokens, reader.limit)
    settings, lines = resolved_settings(checkpoint, settings, place.device, longest)
    if settings.dtype == "auto":
        from hfkit.engine.precision import auto_precision

        dtype, why = auto_precision(place.device)
        settings = settings.model_copy(update={"dtype": dtype})
        yield resolved("generate.dtype", dtype, why)
    yield from lines
    if prompts is None:
        return Plan(checkpoint, reader, settings, place)
    yield from map(note, _without_room(measured, len(prompts), reader, settings))
    return Plan(checkpoint, reader, settings, place, len(prompts), prompts)


def _measured(prompts: Prompts, reader: Reader, settings: Generate) -> Generator[Event, None, Measured]:
    """Encode every prompt and keep none. Raises UsageError beyond the context, DataError as `Prompts.window` does."""
    longest = cut = short = 0
    for start in range(0, len(prompts), AT_ONCE):
        ids, texts = prompts.window(start, min(start + AT_ONCE, len(prompts)))
        found = reader.encode(texts, settings)
        reader.check(found, ids)
        longest = max(longest, *(len(one.ids) for one in found))
        cut += sum(one.cut > 0 for one in found)
        short += sum(reader.limit - len(one.ids) < settings.max_new_tokens for one in found)
        if len(prompts) > AT_ONCE:
            yield progress("encoding", start + len(found), len(prompts), "prompts")
    return Measured(longest, cut, short)


def _without_room(measured: Measured, rows: int, reader: Reader, settings: Generate) -> Iterator[str]:
    """Lines on prompts that are cut, and on completions that may be."""
    cut, short, limit = measured.cut, measured.short, reader.limit
    if cut:
        rule = f"generate.overflow={settings.overflow}"
        yield f"{cut:,} of {rows:,} prompts are cut at their left end to fit the context of {limit:,} tokens ({rule})"
    if short and settings.overflow != "slide" and reader.task is None:
        yield f"{short:,} of {rows:,} prompts may reach the end of the model's context, {limit:,} tokens"


def resolved_settings(
    checkpoint: Checkpoint, settings: Generate, device: Any, longest: int
) -> tuple[Generate, list[Event]]:
    """Settings without auto, and what each became; `longest` counts the tokens of a prompt and its completion."""
    from hfkit.engine.decode import resolve

    found, lines = resolve(settings, _stored(checkpoint.folder), device, longest)
    return found, [resolved(line.key, line.value, line.why) for line in lines]


def loaded(plan: Plan) -> Generator[Event, None, Any]:
    """The model on its device, its weights in the number format that was planned."""
    from hfkit.engine.decoding.encoder_decoder import write_in
    from hfkit.engine.decoding.generation_config import left_out
    from hfkit.models import load_model

    stored = "float32" if plan.settings.dtype == "int8" else str(plan.settings.dtype)  # decoding rounds them
    model, notes = load_model(plan.checkpoint, plan.reader.head, model_config={}, fresh_head="refuse", dtype=stored)
    if plan.reader.task is not None:
        write_in(model, plan.tokenizer, plan.reader.task.settings)
    samples = bool(plan.settings.temperature)
    yield from map(note, [*notes, *left_out(model, plan.settings.num_beams, samples=samples)])
    return model.to(plan.device)


def _stored(folder: Path | None) -> dict[str, Any]:
    """The checkpoint's generation_config.json; empty where there is none."""
    path = folder / "generation_config.json" if folder else None
    if path is None or not path.is_file():
        return {}
    from hfkit.models.intake import read_json

    return read_json(path)
