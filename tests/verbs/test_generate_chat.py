"""A conversation by a chat template, as --interactive holds it: turns as tokens, what has no room, what is refused."""

from __future__ import annotations

import pytest
import tiny_models

from hfkit.errors import ModelError, UsageError
from hfkit.models.tokenizer import split_special
from hfkit.recipe.keys import Generate
from hfkit.verbs.generate.chat import Chat

TEMPLATE = (
    "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
FEW = Generate(max_new_tokens=5)


@pytest.fixture
def chat() -> Chat:
    tokenizer = tiny_models.gpt2()
    split_special(tokenizer)
    tokenizer.chat_template = TEMPLATE
    return Chat(tokenizer)


def test_turns_are_kept_and_the_template_may_write_special_tokens(chat: Chat) -> None:
    tokenizer = chat._tokenizer
    end, plain = tokenizer.eos_token_id, lambda text: tokenizer(text)["input_ids"]
    prompt, said = chat.prompt("the mill", FEW, 100)
    assert prompt.ids == [*plain("user: the mill"), end, *plain("assistant:")] and not said
    chat.keep("the mill", " stands")
    prompt, _ = chat.prompt("who?", FEW, 100)
    first = [*plain("user: the mill"), end, *plain("assistant:  stands"), end]
    assert prompt.ids == [*first, *plain("user: who?"), end, *plain("assistant:")]
    assert tokenizer("<|endoftext|>")["input_ids"] != [end]  # text of other commands is still text
    chat.forget()
    assert len(chat.prompt("who?", FEW, 100)[0].ids) < len(prompt.ids) - len(first) + 1
    with pytest.raises(UsageError, match="mark of the chat template"):
        chat.prompt("a <|endoftext|> b", FEW, 100)


def test_the_oldest_turns_go_when_there_is_no_room(chat: Chat) -> None:
    for number in range(4):
        chat.keep(f"{number} the mill", " stands still")
    size = len(chat.prompt("who?", FEW, 1000)[0].ids)
    with pytest.raises(UsageError, match="the conversation has") as caught:
        chat.prompt("who?", FEW, size)
    assert "/reset" in str(caught.value.hint)
    cut = Generate(max_new_tokens=5, overflow="truncate")
    prompt, said = chat.prompt("who?", cut, size)
    assert len(prompt.ids) + 5 <= size and said == ["the 2 oldest turns are forgotten"]
    assert chat.turns[0]["content"] == "1 the mill"


def test_a_template_that_fails_says_so(chat: Chat) -> None:
    chat._tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ModelError, match="roles must alternate"):
        chat.prompt("a", FEW, 100)
