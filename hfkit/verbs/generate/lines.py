"""A line of the output: what became of one prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfkit.verbs.generate.context import Encoded

if TYPE_CHECKING:
    from hfkit.engine.decoding.row import Completion


def line(
    name: str, text: str, prompt: Encoded, completions: Sequence[Completion], tokenizer: Any
) -> dict[str, Any]:
    """The object of one prompt: its id and text, its completion, how that ended.

    `tokens` counts all new tokens, an end token and those of a stop string among them. `truncated` is there when the
    prompt was cut; `samples` when it has several completions, of which the first also stands where one alone would.
    """
    found = [_completion(prompt, completion, tokenizer) for completion in completions]
    first = found[0]
    return {
        "id": name,
        "prompt": text,
        "prediction": first["completion"],
        **first,
        **({"truncated": True} if prompt.cut else {}),
        **({"samples": found} if len(found) > 1 else {}),
    }


def logprob_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What people are told of log-probabilities: those of one completion, in nats, a line a token; of more, where they
    are. None where none were asked for."""
    if not any("logprobs" in one for one in found):
        return []
    if len(found) > 1 or "samples" in found[0]:
        return ["the log-probabilities of the tokens stand in the output of --json, and in the file of -o"]
    tokens = found[0]["logprobs"]
    return [f"{one['logprob']:>9.4f}  {json.dumps(one['token'], ensure_ascii=False)}" for one in tokens]


def _completion(prompt: Encoded, completion: Completion, tokenizer: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "completion": completion.text,
        "finish_reason": completion.finish_reason,
        "tokens": len(completion.ids),
    }
    if completion.logprobs is not None:
        texts = token_texts(prompt.ids, completion.ids, tokenizer)
        pairs = zip(texts, completion.logprobs, strict=True)
        found["logprobs"] = [{"token": text, "logprob": logprob} for text, logprob in pairs]
    return found


def token_texts(prompt: Sequence[int], ids: Sequence[int], tokenizer: Any) -> list[str]:
    """What each new token adds to the text; a character stands with the token that completes it.

    A special token, which adds nothing, is shown by its name.
    """
    from hfkit.engine.decoding.new_text import NewText

    special = set(tokenizer.all_special_ids)
    text, texts = NewText(tokenizer, prompt, ()), []
    for token in ids:
        before = len(text.text)
        text.add(token)
        texts.append(tokenizer.convert_ids_to_tokens(token) if token in special else text.text[before:])
    before = len(text.text)
    text.end()
    if texts and len(text.text) > before:
        texts[-1] += text.text[before:]
    return texts
