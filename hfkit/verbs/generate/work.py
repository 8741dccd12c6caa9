"""A model at work on windows of prompts: progress or streamed text on the way, then the lines of the window."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from hfkit.events import Event, progress
from hfkit.stopping import asked, stopped
from hfkit.verbs.generate.lines import line
from hfkit.verbs.generate.prompts import Prompts
from hfkit.verbs.generate.ready import Plan

if TYPE_CHECKING:
    from hfkit.engine.decode import Completion


class Work:
    """`tokens` and `completions` made so far, `seconds` of decoding in which they were."""

    def __init__(self, plan: Plan, model: Any, given: Prompts, *, streamed: bool) -> None:
        self.plan, self.model, self.given, self.streamed = plan, model, given, streamed
        self.tokens = self.completions = 0
        self.seconds = 0.0

    def window(self, start: int, stop: int, *, may_stop: bool) -> Generator[Event, None, list[dict[str, Any]]]:
        """The lines of the prompts [start, stop), in their order. Raises Stopped when asked to stop."""
        plan, before, begun = self.plan, self.seconds, time.perf_counter()
        ids, texts = self.given.window(start, stop)
        prompts = plan.reader.encode(texts, plan.settings)
        found: list[dict[int, Completion]] = [{} for _ in ids]
        done = start

        from hfkit.engine.decode import pieces

        for piece in pieces(self.model, plan.tokenizer, [one.ids for one in prompts], plan.settings, ids=ids):
            if may_stop and (name := asked()):
                raise stopped(name, f"behind {start:,} of {len(self.given):,} prompts, which are kept")
            if self.streamed and piece.text:
                yield Event("text", {"text": piece.text})
            if piece.completion is None:
                continue
            found[piece.row][piece.sample] = piece.completion
            done += len(found[piece.row]) == plan.settings.samples
            self.tokens += len(piece.completion.ids)
            self.completions += 1
            self.seconds = before + time.perf_counter() - begun
            if not self.streamed:
                yield progress("generate", done, len(self.given), "prompts", self.rate())
        return [
            line(name, text, prompt, [samples[number] for number in sorted(samples)], plan.tokenizer)
            for name, text, prompt, samples in zip(ids, texts, prompts, found, strict=True)
        ]

    def rate(self) -> float:
        """New tokens per second."""
        return self.tokens / max(self.seconds, 1e-9)

    def summary(self) -> str:
        """`4 completions, 256 tokens, 85 tokens/s`."""
        count = f"{self.completions:,} completion" + ("" if self.completions == 1 else "s")
        return f"{count}, {self.tokens:,} tokens, {self.rate():,.0f} tokens/s"
