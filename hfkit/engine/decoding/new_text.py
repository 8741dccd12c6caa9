"""New tokens -> new text: whole characters only, cut before a stop string. Used by decode.py and by `generate`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hfkit.tasks.graphemes import goes_on

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONTEXT = 8  # tokens of the prompt that the first new token is decoded with: a blank may depend on them
BROKEN = "\ufffd"  # what a decoder writes for bytes that are not, or not yet, a character


class NewText:
    """The text of one row's new tokens as they come; special tokens are left out.

    `text` is all whole characters so far, up to the first stop string; `fresh()` is what of it can be shown and was not
    yet. Held back is what may be the beginning of a stop string, and a character that may go on: a mark, a joiner, a
    skin tone or the second half of a flag may follow. Letters of scripts that hardly use marks, Latin among them, are
    not held: each piece would lack its last letter.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self._tokenizer: Any = tokenizer
        self._stop = [text for text in stop if text]
        self._known = list(prompt[-CONTEXT:])
        self._known_text = self._decode(self._known)
        if self._known_text.endswith(BROKEN):  # a prompt of tokens that ends inside a character
            self._known, self._known_text = [], ""
        self._open: list[int] = []
        self._shown = 0
        self.text = ""
        self.stopped = False

    def add(self, token: int) -> None:
        """Take one more token. Sets `stopped` when a stop string is complete."""
        self._open.append(token)
        full = self._decode(self._known + self._open)
        if len(full) > len(self._known_text) and not full.endswith(BROKEN):
            self._append(full)

    def end(self) -> None:
        """No more tokens come: what is no whole character is written as U+FFFD."""
        if self._open and not self.stopped:
            self._append(self._decode(self._known + self._open))

    def fresh(self, *, final: bool = False) -> str:
        """The text to show now; `final`: nothing is held back."""
        until = len(self.text)
        if not (final or self.stopped):
            until -= self._held() or self._going_on()
        piece = self.text[self._shown : until]
        self._shown = max(self._shown, until)
        return piece

    def _append(self, full: str) -> None:
        before = len(self.text)
        self.text += full[len(self._known_text) :]
        self._known, self._open = self._open, []
        self._known_text = self._decode(self._known)
        places = [self.text.find(stop, max(0, before - len(stop) + 1)) for stop in self._stop]
        found = [place for place in places if place >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True

    def _held(self) -> int:
        """Characters at the end that are the beginning of a stop string."""
        longest = max(map(len, self._stop), default=1) - 1
        for size in range(min(longest, len(self.text)), 0, -1):
            if any(len(stop) > size and self.text.endswith(stop[:size]) for stop in self._stop):
                return size
        return 0

    def _going_on(self) -> int:
        """Code points at the end that the next one may belong to."""
        if not self.text or not _may_go_on(self.text[-1]):
            return 0
        place = len(self.text) - 1
        while place > self._shown and goes_on(self.text, place):
            place -= 1
        return len(self.text) - place

    def _decode(self, ids: list[int]) -> str:
        if not ids:
            return ""
        if self._tokenizer.is_fast:
            return str(self._tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True))
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _may_go_on(char: str) -> bool:
    """Whether a mark or a joiner is likely behind this code point: an emoji, a mark, an Indic or Thai letter."""
    if char.isascii():
        return False
    kind = unicodedata.category(char)
    return kind[0] in "MSC" or (kind == "Lo" and unicodedata.east_asian_width(char) not in "WF")
