"""One sample of a prompt on its way through decode.py: its new tokens and its text, until it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hfkit.engine.decoding.context import added_begin, last_tokens
from hfkit.engine.decoding.new_text import NewText
from hfkit.engine.decoding.sampling import noise
from hfkit.recipe.keys import Generate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Completion:
    """The new text alone, nothing trimmed, cut before a stop string; `ids`: all new tokens, an end token too.

    `logprobs`, where asked for: the log-probability of each new token under the model's own softmax, in nats.
    """

    text: str
    ids: tuple[int, ...]
    finish_reason: Literal["eos", "stop", "length"]
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """More text of one sample of the prompt with number `row`; the last piece of a sample has its completion.

    `tokens` counts its new tokens since the piece before: those that add no text are counted with the next.
    """

    row: int
    text: str
    completion: Completion | None = None
    sample: int = 0
    tokens: int = 0


class DecodedRow:
    """One sample of a prompt on its way: its new tokens, its text, its share of the sampling noise."""

    def __init__(
        self,
        number: int,
        sample: int,
        name: str,
        prompt: Sequence[int],
        tokenizer: PreTrainedTokenizerBase,
        settings: Generate,
        limit: int,
        ends: frozenset[int],
        reads_source: bool,
        forced_end: bool,
    ) -> None:
        self.number, self.sample, self.prompt, self.ends, self.limit = number, sample, list(prompt), ends, limit
        self.tokenizer = tokenizer
        self.forced_end = forced_end  # the end token at the last place is no choice of the model's
        before = [] if reads_source else self.prompt  # what the new text goes on from
        self.slides = settings.overflow == "slide" and not reads_source
        self.most = settings.max_new_tokens if self.slides else min(settings.max_new_tokens, limit - len(before))
        self.read_at = 0  # new tokens that were there when the prompt, or what it slid to, was read
        self.uniform = noise(settings.seed, name, self.most, sample) if settings.temperature else None
        self.text = NewText(tokenizer, before, settings.stop)
        self.ids: list[int] = []
        self.told = 0  # of them, how many the pieces so far have counted
        self.logprobs: list[float] = []

    def add(self, token: int, logprob: float | None) -> Piece:
        """Take the next token; the piece has a completion when the row is finished."""
        self.ids.append(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        ended = token in self.ends
        if not ended:
            self.text.add(token)
        full = len(self.ids) >= self.most
        if ended or full or self.text.stopped:
            self.text.end()
            own_end = ended and not (full and self.forced_end)
            reason: Literal["eos", "stop", "length"] = "stop" if self.text.stopped else "eos" if own_end else "length"
            logprobs = tuple(self.logprobs) if self.logprobs else None
            whole = Completion(self.text.text, tuple(self.ids), reason, logprobs)
            return Piece(self.number, self.text.fresh(final=True), whole, self.sample, self._untold())
        text = self.text.fresh()
        return Piece(self.number, text, sample=self.sample, tokens=self._untold() if text else 0)

    def _untold(self) -> int:
        before, self.told = self.told, len(self.ids)
        return self.told - before

    def full(self) -> bool:
        """Whether the context is full, and the row not finished: it slides."""
        return self.slides and len(self.prompt) + len(self.ids) - self.read_at >= self.limit

    def slid(self) -> DecodedRow:
        """The row with the last half of its context in place of its prompt."""
        read = [*self.prompt, *self.ids[self.read_at :]]
        self.prompt = last_tokens(read, self.limit // 2, added_begin(self.tokenizer))
        self.read_at = len(self.ids)
        return self
