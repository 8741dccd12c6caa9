"""`generate --interactive`: one prompt after another, answers streamed, commands that begin with a slash."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hfkit.errors import HfkitError, UsageError
from hfkit.events import Event, note, resolved, warning
from hfkit.recipe.keys import Generate
from hfkit.recipe.overrides import override_settings
from hfkit.stopping import conversing, interrupted
from hfkit.verbs.generate.chat import Chat
from hfkit.verbs.generate.context import Encoded
from hfkit.verbs.generate.lines import line, logprob_lines
from hfkit.verbs.generate.ready import Plan, check_keys, loaded, planned, resolved_settings, wanted
from hfkit.verbs.generate.template import Template
from hfkit.verbs.trained import find_by_keys

COMMANDS: Mapping[str, str] = {
    "/help": "these lines",
    "/set": "the settings; /set temperature=0.5 changes one",
    "/reset": "settings as at the start, the conversation forgotten",
    "/quit": "end, as Ctrl-D does",
}
HELP = (
    *(f"{name:<8}{text}" for name, text in COMMANDS.items()),
    'Ctrl-C  stops an answer, or drops what is being typed; """ begins and ends a text of several lines',
)

NO_TEMPLATE = "generate.template has no effect on a conversation"


class Typed(NamedTuple):
    """What was typed; a `block` stood between two \"\"\" and is never a command."""

    text: str
    block: bool = False


def talk(
    model: str, entries: Iterable[Typed], *, cpu: bool = False, overrides: Sequence[str] = (), offline: bool = False
) -> Iterator[Event]:
    """Answer each entry until there is none: a prompt to continue or, where the checkpoint has a chat template, a turn.

    A turn that cannot be answered is a warning, not the end. The result has every answer as `generate` gives it;
    `finish_reason` is "interrupted" for one that SIGINT stopped. Raises UsageError, ModelError, NetworkError.
    """
    started = time.perf_counter()
    check_keys(overrides, "generate")
    checkpoint = find_by_keys(model, overrides, offline=offline)
    settings = _one(wanted(checkpoint, overrides).generate)
    plan = yield from planned(checkpoint, settings, None, cpu=cpu, overrides=overrides)
    talking = _Talk(plan, (yield from loaded(plan)))
    yield from map(note, talking.welcome())
    with conversing():
        for entry in entries:
            try:
                if entry.text.split()[:1] == ["/quit"] and not entry.block:
                    break
                yield from talking.turn(entry)
            except HfkitError as error:
                yield warning(f"{error.message}" + (f"\n{error.hint}" if error.hint else ""))
    rates = {"tokens_per_s": talking.tokens / max(talking.seconds, 1e-9), "seconds": time.perf_counter() - started}
    result = {"model": checkpoint.name, "rows": len(talking.lines), "output": None, "predictions": talking.lines}
    yield Event("result", {**result, "throughput": rates})


class _Talk:
    """The model, the settings as they are now, the conversation so far."""

    def __init__(self, plan: Plan, model: Any) -> None:
        self.plan, self.model, self.settings = plan, model, plan.settings
        self.chat = Chat(plan.tokenizer) if plan.tokenizer.chat_template else None
        self.lines: list[dict[str, Any]] = []
        self.tokens, self.seconds = 0, 0.0

    def welcome(self) -> list[str]:
        kind = "each line is a prompt to continue"
        if self.chat:
            kind = "a conversation by the checkpoint's chat template"
        elif self.plan.reader.task is not None:
            kind = "each line is a source to write from"
        idle = [NO_TEMPLATE] if self.chat and self.settings.template is not None else []
        return [*idle, f"{kind}; /help shows what else can be typed, Ctrl-D ends"]

    def turn(self, entry: Typed) -> Iterator[Event]:
        """What an entry asks for."""
        if entry.text.startswith("/") and not entry.block:
            return self.command(*entry.text.strip().partition(" ")[::2])
        if not entry.text:
            return iter(())
        return self.answer(entry.text)

    def command(self, name: str, rest: str) -> Iterator[Event]:
        match name:
            case "/help":
                yield note("\n".join(HELP))
            case "/set" if rest:
                yield self.change(rest.strip())
            case "/set":
                values = self.settings.model_dump(mode="json").items()
                yield note("\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values))
            case "/reset":
                self.settings = self.plan.settings
                if self.chat:
                    self.chat.forget()
                yield note("settings are as at the start" + (", the conversation is forgotten" if self.chat else ""))
            case _:
                near = difflib.get_close_matches(name, COMMANDS, n=1)
                meant = f"did you mean {near[0]}? " if near else ""
                raise UsageError(
                    f"no command {name}", f'{meant}/help lists them; a prompt that begins with / stands between """'
                )

    def change(self, text: str) -> Event:
        """Set one key of `generate`; says what it is now. Raises UsageError."""
        key = text if text.startswith("generate.") else f"generate.{text}"
        found = Generate(**override_settings(self.settings, "generate", [key]).model_dump())
        if found.dtype != self.settings.dtype:
            raise UsageError(f"the weights are loaded as {self.settings.dtype}", "start again with generate.dtype=...")
        if self.chat and found.template != self.settings.template:
            raise UsageError(NO_TEMPLATE, "the checkpoint's chat template says how a turn is read")
        plan = self.plan
        self.settings, _ = resolved_settings(plan.checkpoint, _one(found), plan.device, plan.limit)
        name = key.partition("=")[0]
        return resolved(name, getattr(self.settings, name.removeprefix("generate.")), "as set")

    def answer(self, text: str) -> Iterator[Event]:
        """The completion of a prompt or of the conversation, streamed."""
        prompt, said = self.prompt(text)
        for oldest in said:
            yield note(oldest)
        from hfkit.engine.decode import pieces
        from hfkit.engine.decoding.row import Completion

        begun, shown = time.perf_counter(), ""
        completion = Completion("", (), "length")
        stream = pieces(self.model, self.plan.tokenizer, [prompt.ids], self.settings, ids=[str(len(self.lines))])
        stopped = interrupted()
        for piece in stream:
            shown += piece.text
            yield Event("text", {"text": piece.text})
            completion = piece.completion or completion
            if stopped := interrupted():
                break
        if not shown.endswith("\n"):
            yield Event("text", {"text": "\n"})
        self.seconds += time.perf_counter() - begun
        self.tokens += len(completion.ids)
        found = line(str(len(self.lines)), text, prompt, [completion], self.plan.tokenizer)
        if stopped and not completion.ids:
            found |= {"prediction": shown, "completion": shown, "finish_reason": "interrupted"}
            del found["tokens"]
        self.lines.append(found)
        yield from map(note, logprob_lines([found]))
        if self.chat:
            self.chat.keep(text, found["completion"])

    def prompt(self, text: str) -> tuple[Encoded, list[str]]:
        """The tokens to read, and lines on what was left out of them. Raises UsageError beyond the context."""
        settings, limit = self.settings, self.plan.limit
        if self.chat:
            found, said = self.chat.prompt(text, settings, limit)
        else:
            filled = Template(settings.template).fill_one(text) if settings.template is not None else text
            (found,) = self.plan.reader.encode([filled], settings)
            said = [f"{found.cut:,} tokens at the prompt's left end are left out"] if found.cut else []
        self.plan.reader.check([found], [str(len(self.lines))])
        return found, said


def _one(settings: Generate) -> Generate:
    """Settings that give one completion. Raises UsageError."""
    if settings.samples > 1:
        raise UsageError("--interactive gives one answer to a prompt", "leave generate.samples out")
    return settings
