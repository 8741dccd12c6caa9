"""A conversation in the words of a checkpoint's chat template: its turns, and the tokens that ask for the next one."""

from __future__ import annotations

from typing import Any

from hfkit.engine.decoding.context import added_begin
from hfkit.errors import ModelError, UsageError
from hfkit.recipe.keys import Generate
from hfkit.verbs.generate.context import Encoded, fitted

Turn = dict[str, str]  # role (user or assistant) and content


class Chat:
    """The turns so far, oldest first."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.turns: list[Turn] = []

    def keep(self, asked: str, answered: str) -> None:
        """Remember a question and its answer."""
        self.turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]

    def forget(self) -> None:
        """Begin anew."""
        self.turns = []

    def prompt(self, text: str, settings: Generate, limit: int) -> tuple[Encoded, list[str]]:
        """The tokens of the conversation with `text` as its next turn, and lines on what was left out.

        With generate.overflow other than error the oldest turns are forgotten until there is room. Raises UsageError
        when there is none, or when the text holds a special token, which the template would take for its own.
        """
        known = {str(token) for token in self._tokenizer.added_tokens_decoder.values() if token.special}
        if taken := sorted(token for token in known if token in text):
            raise UsageError(f"{taken[0]} is a mark of the chat template and cannot stand in a text", "leave it out")
        turn = {"role": "user", "content": text}
        room = limit - (settings.max_new_tokens if settings.overflow == "truncate" else 1)
        left_out = 0
        while len(ids := self._encode([*self.turns, turn])) > max(room, limit // 2) and self.turns:
            if settings.overflow == "error":
                raise UsageError(
                    f"the conversation has {len(ids):,} tokens, the model's context is {limit:,}",
                    "/reset forgets it; /set overflow=truncate forgets its oldest turns whenever there is no room",
                )
            self.turns = self.turns[2:]
            left_out += 2
        found = fitted(ids, settings, limit, added_begin(self._tokenizer))
        return found, [f"the {left_out} oldest turns are forgotten"] if left_out else []

    def _encode(self, turns: list[Turn]) -> list[int]:
        backend = self._tokenizer.backend_tokenizer
        try:
            text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a program of the checkpoint's author, run by jinja
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"the checkpoint's chat template fails ({first[:160]})", "/reset begins anew") from error
        before = backend.encode_special_tokens
        backend.encode_special_tokens = False  # the template writes special tokens, and means them
        try:
            return list(backend.encode(text, add_special_tokens=False).ids)
        finally:
            backend.encode_special_tokens = before
