"""A conversation by a chat template, as --interactive holds it: turns as tokens, what has no room, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_encoder_decoders
import tiny_models

from hfkit.errors import ModelError, UsageError
from hfkit.models.tokenizer import split_special
from hfkit.recipe.keys import Generate
from hfkit.verbs.generate.chat import Chat
from hfkit.verbs.generate.talk import Typed, talk

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


def said_by(model: Path, *entries: Typed | str, keys: tuple[str, ...] = ()) -> tuple[list[str], int]:
    """All notes and warnings of a conversation, and how many answers it had."""
    typed = [entry if isinstance(entry, Typed) else Typed(entry) for entry in entries]
    overrides = ["generate.max_new_tokens=3", "generate.dtype=float32", *keys]
    events = list(talk(str(model), typed, cpu=True, overrides=overrides))
    return [e.fields["text"] for e in events if e.kind in ("note", "warning")], events[-1].fields["rows"]


def test_a_template_that_a_conversation_does_not_take_is_named(made: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in (made / "7-lm" / "model").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    (model / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    said, _ = said_by(model, "the mill", "/set template=Q: {q}", keys=("generate.template=Q: {q}",))
    assert [line for line in said if "generate.template has no effect" in line] == [said[0]]
    said, _ = said_by(model, "/set template=Q: {q}")
    assert said[0].startswith("a conversation") and said[1].startswith("generate.template has no effect")


def test_quit_ends_whatever_stands_behind_it(made: Path) -> None:
    said, rows = said_by(made / "7-lm" / "model", "the mill", "/quit now", "the river")
    assert rows == 1 and said == ["each line is a prompt to continue; /help shows what else can be typed, Ctrl-D ends"]


def test_a_source_is_not_continued(tmp_path: Path) -> None:
    model = tiny_encoder_decoders.save("t5", tmp_path / "t5")
    said, rows = said_by(model, "the mill", "/set logprobs=true", "the mill", keys=("seq2seq.source_prefix=a: ",))
    assert said[0].startswith("each line is a source to write from;") and rows == 2
    assert len(said) == 1 + 3  # the log-probabilities of the second answer, a line a token


def test_a_prompt_without_room_says_what_to_set(made: Path) -> None:
    said, rows = said_by(made / "7-lm" / "model", "the river " * 150)
    assert rows == 0 and "generate.overflow=truncate" in said[1]
