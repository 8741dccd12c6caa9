"""A model at work on windows of prompts: progress or streamed text on the way, then the lines of the window."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from hfkit.events import Event, progress
from hfkit.stopping import Left, asked, stopped
from hfkit.verbs.generate.context import Encoded
from hfkit.verbs.generate.lines import line
from hfkit.verbs.generate.ready import Plan
from hfkit.verbs.together import dealt

if TYPE_CHECKING:
    from hfkit.engine.decoding.row import Completion, Piece

SHOWN_SECONDS = 1.0  # between two looks at the rate while no prompt is done


class Work:
    """`tokens` and `completions` made so far, `seconds` of decoding in which they were."""

    def __init__(self, plan: Plan, model: Any, *, streamed: bool) -> None:
        self.plan, self.model, self.streamed = plan, model, streamed
        self.tokens = self.completions = 0
        self.seconds = 0.0

    def window(self, start: int, stop: int, *, may_stop: bool) -> Generator[Event, None, list[dict[str, Any]]]:
        """The lines of the prompts [start, stop), in their order; none on other processes than the first, which reads
        the prompts and deals them out. Raises Stopped when asked to stop."""
        from hfkit.engine.spread import Share, decode_over, shares

        plan, place, begun = self.plan, self.plan.place, time.perf_counter()
        before = (self.tokens, self.seconds)
        read: list[tuple[str, str, Encoded]] = []

        def deal() -> list[Share]:
            read.extend(self._read(start, stop))
            return shares([prompt.ids for _, _, prompt in read], [name for name, _, _ in read], place.world.size)

        share = dealt(place, deal)
        leave = asked if may_stop else lambda: None
        work = decode_over(place, self.model, plan.tokenizer, share, plan.settings, leave=leave)
        try:
            found = yield from self._shown(work, start, stop, begun)
        except Left as left:
            said = f"behind {start:,} of {plan.rows:,} prompts, which are kept" if start else "before any text was kept"
            place.close()  # on all processes, so that they can part
            raise stopped(str(left), said) from None
        self.tokens = before[0] + sum(len(one.ids) for samples in found for one in samples)
        self.seconds = before[1] + time.perf_counter() - begun
        self.completions += sum(map(len, found))
        return [line(*one, samples, plan.tokenizer) for one, samples in zip(read, found, strict=True)]

    def _read(self, start: int, stop: int) -> Iterator[tuple[str, str, Encoded]]:
        """Id, text and tokens of each prompt."""
        assert self.plan.prompts is not None, "the first process reads"
        ids, texts = self.plan.prompts.window(start, stop)
        return zip(ids, texts, self.plan.reader.encode(texts, self.plan.settings), strict=True)

    def _shown(
        self, work: Generator[Piece, None, list[list[Completion]]], start: int, stop: int, begun: float
    ) -> Generator[Event, None, list[list[Completion]]]:
        """Text, or how far all processes are, if they are as far as this one; what `work` returns."""
        size, samples = self.plan.place.world.size, self.plan.settings.samples
        made, before, shown = 0, self.seconds, begun
        while True:
            try:
                piece = next(work)
            except StopIteration as end:
                return end.value
            if self.streamed and piece.text:
                yield Event("text", {"text": piece.text})
            now = time.perf_counter()
            self.tokens += piece.tokens * size
            self.seconds = before + now - begun
            made += size if piece.completion else 0
            if not self.streamed and (piece.completion or now - shown >= SHOWN_SECONDS):
                done, shown = min(start + made // samples, stop), now
                yield progress("generate", done, self.plan.rows, "prompts", self.rate())

    def rate(self) -> float:
        """New tokens per second."""
        return self.tokens / max(self.seconds, 1e-9)

    def summary(self) -> str:
        """`4 completions, 256 tokens, 85 tokens/s`."""
        made = {"completion": self.completions, "token": self.tokens}
        counts = [f"{count:,} {what}" + ("" if count == 1 else "s") for what, count in made.items()]
        return f"{', '.join(counts)}, {self.rate():,.0f} tokens/s"
