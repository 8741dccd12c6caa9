"""What finetune, eval and predict share: texts for the vocabulary, features and answers with a moving bar."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from hfkit.events import Event, progress
from hfkit.tasks.base import Prediction, Row, Task

if TYPE_CHECKING:
    from hfkit.data.arrow import Features
    from hfkit.data.rows import Rows
    from hfkit.engine.processes.place import Place

MANY = 20_000  # texts looked at
MANY_CUT = 0.01  # of rows; training cuts about so many when it chooses the length itself
T = TypeVar("T")
Report = Callable[[int, int], None]


def texts_of(task: Task | type[Task], rows: Iterable[Row]) -> Iterator[str]:
    """Every text of the rows that the model will read, or write."""
    writes = task.driver == "decode"
    names = [c.name for c in task.columns if (writes or not c.gold) and c.name != "id"]
    for row in rows:
        for name in names:
            if isinstance(row.get(name), str):
                yield row[name]


def sample_texts(task: Task | type[Task], rows: Sequence[Row], count: int = 1000) -> Iterator[str]:
    """Up to `count` texts of rows spread evenly over the data."""
    step = max(1, len(rows) // count)
    return islice(texts_of(task, (rows[i] for i in range(0, len(rows), step))), count)


def strange_words(tokenizer: Any, config: Any, task: Task | type[Task], rows: Sequence[Row]) -> list[str]:
    """Lines about texts that look like the tokenizer's own words, and about a tokenizer too small for the model."""
    from hfkit.models import special_texts, unused_embeddings

    return unused_embeddings(tokenizer, config) + special_texts(tokenizer, sample_texts(task, rows, MANY))


def truncated(task: Task, features: Any, positions: int) -> list[str]:
    """A line when rows fill all the tokens that are read, where what is beyond them is cut off and not windowed.

    It names the setting where many do and the model has `positions` for more: training chose the length for its rows.
    """
    if task.driver == "decode":
        return sources_cut(task, features)
    length = getattr(task.settings, "max_length", None)
    if not isinstance(length, int) or hasattr(task.settings, "stride"):
        return []
    full = int((features.lengths >= length).sum())
    what, cut = ("prompts", "their beginning") if task.driver == "likelihood" else ("rows", "what is beyond")
    longer = min(4 * length, positions)
    many = full > MANY_CUT * len(features) and longer > length
    more = f"; {task.name}.max_length={longer} would read more" if many else ""
    return [f"{full:,} of {len(features):,} {what} fill all {length} tokens: {cut} is not read{more}"] if full else []


def sources_cut(task: Task, features: Any) -> list[str]:
    """A line when sources have more tokens than the encoder reads."""
    length = getattr(task.settings, "max_source_length", None)
    if not isinstance(length, int) or hasattr(task.settings, "stride"):
        return []
    long = (features.lengths >= length).nonzero()[0].tolist()
    cut = sum(feature.get("source_cut", 0) > 0 for feature in features.take(long))
    return [f"{cut:,} of {len(features):,} sources have over {length} tokens: the rest is not read"] if cut else []


def with_progress(stage: str, unit: str, work: Callable[[Report], T]) -> Generator[Event, None, T]:
    """Run `work(report)` in a thread and yield a progress event for each report; returns what `work` returns."""
    reports: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((True, work(lambda done, total: reports.put((done, total)))))
        except BaseException as error:  # carried to the caller's thread, and raised there
            outcome.append((False, error))
        finally:
            reports.put(None)

    threading.Thread(target=run, daemon=True).start()
    while (report := reports.get()) is not None:
        yield progress(stage, report[0], report[1], unit)
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value


def features_of(rows: Rows, task: Task, tokenizer: Any, stage: str) -> Generator[Event, None, Features]:
    """The features of rows, from the cache or made now."""
    from hfkit.data.arrow import encoded

    return (yield from with_progress(stage, "rows", lambda report: encoded(rows, task, tokenizer, on_progress=report)))


def limited_blocks(features: Features, rows: Rows, limit: int | None) -> Features:
    """`limit` blocks of running text, drawn by a fixed seed, order kept; rows were drawn before they were encoded."""
    if limit is None or not rows.stream or limit >= len(features):
        return features
    import numpy as np

    from hfkit.data.split import LIMIT_SEED

    return features.subset(np.sort(np.random.default_rng(LIMIT_SEED).permutation(len(features))[:limit]))


def answers_of(
    model: Any,
    task: Task,
    rows: Rows,
    features: Features,
    *,
    place: Place,
    tokenizer: Any,
    stage: str,
    micro_batch_size: int | None = None,
    leave: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, Iterator[Prediction]]:
    """The predictions of rows, in row order, on the main process. Raises Left on all when `leave` says so on one."""
    work: Generator[int, None, Any]
    merged: Callable[..., Iterator[Prediction]]
    if task.driver == "decode":
        from hfkit.engine.written import merged, writing

        work = writing(
            model, task, features, place=place, tokenizer=tokenizer, micro_batch_size=micro_batch_size, leave=leave
        )
    else:
        from hfkit.engine.answer import merged, reading

        pad_id = int(tokenizer.pad_token_id or 0)
        work = reading(
            model, task, features, place=place, pad_id=pad_id, micro_batch_size=micro_batch_size, leave=leave
        )
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            return merged(task, rows, features, end.value) if place.world.main else iter(())
        yield progress(stage, done, len(features), "windows" if len(features) != len(rows) else "rows")


def rows_of(task: Task, rows: Rows, features: Features) -> Iterator[Row]:
    """The rows that predictions stand for: the data's, or the features themselves where a block is the row."""
    if not task.blocks:
        return iter(rows)
    return (features.take([number])[0] for number in range(len(features)))
