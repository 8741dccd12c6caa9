"""A trained model at work: rows become features, by one process for all, and features answers. For eval and predict."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hfkit.data.few import FEW_ROWS, FewFeatures
from hfkit.engine.processes.world import several
from hfkit.errors import HfkitError
from hfkit.events import Event, note, resolved, warning
from hfkit.models import Checkpoint, check_vocabulary
from hfkit.tasks.base import Task
from hfkit.verbs.prepare import answers_of, features_of, limited_blocks, sample_texts, strange_words, truncated
from hfkit.verbs.together import made_by_first, made_for_all

if TYPE_CHECKING:
    from hfkit.data.rows import Rows
    from hfkit.engine.processes.place import Place
    from hfkit.tasks.base import Prediction

KEY = "hfkit/asked"
# Reads and checks the rows of a command; gives them, and the task with what it takes from data.
Reading = Generator[Event, None, "tuple[Task, Rows]"]


@dataclass(frozen=True)
class Answering:
    """What one model made of one data set."""

    task: Task  # fitted to the rows
    rows: Rows  # none on other processes than the first
    features: Any  # Features or FewFeatures
    precision: str
    main: bool  # whether this process is the one that shows and writes
    answers: Iterator[Prediction]  # in row order; empty on other processes
    seconds: float  # of the model's work

    def with_answers(self, answers: Iterator[Prediction]) -> Answering:
        """The same with the answers kept elsewhere."""
        return replace(self, answers=answers)

    def throughput(self, total_seconds: float) -> dict[str, float]:
        """Rows (blocks of running text) and real tokens per second of the model's work; seconds of the command."""
        seconds = max(self.seconds, 1e-9)
        return {
            "rows_per_s": len(self.features if self.task.blocks else self.rows) / seconds,
            "tokens_per_s": int(self.features.lengths.sum()) / seconds,
            "seconds": total_seconds,
        }


@dataclass(frozen=True)
class Asked:
    """What a model is asked: the task fitted to the rows, the rows, their features.

    Place and tokenizer are each process's own: they are not told to others.
    """

    task: Task
    rows: Rows
    features: Any
    place: Any
    tokenizer: Any


def at_hand(task: Task, rows: Rows) -> Reading:
    """The reading of rows that were read before."""
    yield from ()
    return task, rows


def answering(
    found: Checkpoint,
    task: Task,
    reading: Reading,
    *,
    cpu: bool,
    precision: str,
    batch_size: int | None = None,
    limit: int | None = None,
    processes: int | None = None,
    check: bool = True,
) -> Generator[Event, None, Answering]:
    """Read the rows, load the model, fit the task to the rows, and answer. Yields notes, what was settled, progress.

    `limit` draws blocks where the rows are one running text, which `reading` leaves whole. `check` looks at whether
    the tokenizer knows the words of the rows. Of several processes the first reads and encodes; they part when all
    features were read. Raises what `reading` raises, on all.
    """
    if task.driver == "decode" and precision == "auto":
        precision = "float32"  # in which the text does not depend on the batch

    def join() -> Place:
        from hfkit.engine.processes.place import take_place

        return take_place(cpu=cpu, processes=processes, precision=precision)

    place = join() if several(processes) else None
    if place is not None and not place.world.main:
        from hfkit.models import load_tokenizer

        asked = replace(made_by_first(place, KEY), place=place, tokenizer=load_tokenizer(found, task.head))
    else:
        work = _made_ready(found, reading, (lambda: place) if place else join, limit=limit, check=check)
        asked = yield from (made_for_all(place, KEY, work, _needed) if place else work)
    return (yield from _answered(found, asked, batch_size))


def _made_ready(
    found: Checkpoint, reading: Reading, join: Callable[[], Place], *, limit: int | None, check: bool
) -> Generator[Event, None, Asked]:
    """The rows read, fitted to the model and encoded, by one process for all. Raises Delegated from `join`."""
    early: list[Event] = []  # where this process only starts others, they say it
    try:
        task, rows = _read(reading, early)
    except HfkitError:
        yield from early
        raise
    place = join()
    yield from early
    yield note(place.world.line())
    yield from map(note, found.notes)

    from hfkit.models import load_config, load_tokenizer, max_positions

    tokenizer = load_tokenizer(found, task.head)
    if check:
        check_vocabulary(tokenizer, sample_texts(task, rows), found.name, task.head)
    config = load_config(found)
    yield from map(warning, strange_words(tokenizer, config, task, rows))
    task, resolutions = task.adopt(rows, config)
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    features = limited_blocks((yield from _features(rows, task, tokenizer)), rows, limit)
    yield from map(note, truncated(task, features, max_positions(config)))
    return Asked(task, rows, features, place, tokenizer)


def _read(reading: Reading, events: list[Event]) -> tuple[Task, Rows]:
    """What `reading` gives, its events put into a list."""
    while True:
        try:
            events.append(next(reading))
        except StopIteration as end:
            return end.value


def _features(rows: Rows, task: Task, tokenizer: Any) -> Generator[Event, None, Any]:
    """The features of rows: a few are made at once and forgotten, others are kept in the cache."""
    if len(rows) > FEW_ROWS or task.blocks:
        return (yield from features_of(rows, task, tokenizer, "encoding"))
    return FewFeatures(task.encode(rows, tokenizer))


def _needed(asked: Asked) -> Asked:
    """What the other processes need."""
    return replace(asked, rows=asked.rows.without_rows(), place=None, tokenizer=None)


def _answered(found: Checkpoint, asked: Asked, batch_size: int | None) -> Generator[Event, None, Answering]:
    """The model loaded and the features passed through it, by all processes, which part then."""
    from hfkit.engine.packing import packed
    from hfkit.engine.processes.watch import SAID, losses_named
    from hfkit.models import load_model

    task, place, tokenizer = asked.task, asked.place, asked.tokenizer
    dtype = place.precision if task.driver == "decode" else "float32"
    model, notes = load_model(found, task.head, model_config=task.model_config(), fresh_head="refuse", dtype=dtype)
    if task.driver == "decode":
        notes += prepared_to_write(model, tokenizer, task)
    yield from map(note, notes)
    model = place.accelerator.prepare_model(packed(model.to(place.device), place), evaluation_mode=True)
    begun = time.perf_counter()
    with losses_named(place.world, SAID):
        answers = yield from answers_of(
            model, task, asked.rows, asked.features, place=place, tokenizer=tokenizer, stage="answering",
            micro_batch_size=batch_size,
        )  # fmt: skip
    place.close()
    seconds = time.perf_counter() - begun
    return Answering(task, asked.rows, asked.features, place.precision, place.world.main, answers, seconds)


def prepared_to_write(model: Any, tokenizer: Any, task: Task) -> list[str]:
    """Give the model the task's language and length; lines on what of its generation config is not followed."""
    from hfkit.engine.decoding.encoder_decoder import write_in
    from hfkit.engine.decoding.generation_config import left_out

    write_in(model, tokenizer, task.settings)
    return left_out(model)
