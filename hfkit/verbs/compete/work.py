"""A stage at work: its runs one after the other, what they are worth, and whether the submission is theirs from now."""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hfkit.data.submission import Submission
from hfkit.errors import DataError, DivergenceError, HfkitError, ModelError, ResourceError, UsageError
from hfkit.events import Event, note, warning
from hfkit.recipe import Recipe
from hfkit.tasks.base import Prediction
from hfkit.tasks.blend import blend_of
from hfkit.verbs.compete import cell
from hfkit.verbs.compete.blending import answers_of, blended, together
from hfkit.verbs.compete.clock import Clock, TimeUp
from hfkit.verbs.compete.journal import Journal
from hfkit.verbs.compete.judge import Gain, Judge
from hfkit.verbs.compete.members import Member, held_out, of_test, resumed_or
from hfkit.verbs.compete.models import out_of_play, remove_models
from hfkit.verbs.compete.report import gain_words
from hfkit.verbs.compete.stages import Stage
from hfkit.verbs.compete.standing import Contender, announced, replaces, standing, submit, submitted
from hfkit.verbs.compete.state import after_seconds, best_of, trained

T = TypeVar("T")
Work = Generator[Event, None, None]
SHORTEST_RUN = 2.0  # seconds of training without which no run is begun
UNKNOWN_AFTER = 0.15  # share of a run's time for what comes behind its training, before that was measured
SAFE_AFTER = 1.5  # times what it was measured to take, afterwards
# Of a run: a setting may be one that the model or the task refuses.
PASSED_OVER = (DivergenceError, ModelError, ResourceError, UsageError)
OF_ANSWERS = (*PASSED_OVER, DataError)  # of scoring and averaging: answers that cannot be handed in


@dataclass(frozen=True)
class Contest:
    """A competition at work: its folder, the base recipe, the judge, the sample's shape, the clock, the journal."""

    folder: Path
    recipe: Recipe
    judge: Judge
    shape: Submission
    names: dict[str, str]  # the data's own value of labels
    output: Path
    clock: Clock
    journal: Journal
    how: cell.How

    def members(self) -> list[Member]:
        return trained(self.journal.ended())


def perform(contest: Contest, stage: Stage) -> Work:
    """Do a stage and write down how it ended. Raises TimeUp when it has to be left, Stopped."""
    began = time.monotonic()
    begun = contest.journal.begun()
    if begun is None or begun["member"] != stage.member.entry():
        contest.journal.add({"event": "begun", "name": stage.name, "member": stage.member.entry()})
    yield note(f"{stage.name}: {stage.member.said()}" + (f"; {stage.why}" if stage.why else ""))
    entry: dict[str, Any] = {
        "event": "ended", "name": stage.name, "kind": stage.kind, "what": stage.member.said(),
        "member": stage.member.entry(), "status": "done", "note": stage.why,
    }  # fmt: skip
    dropped = yield from _passing_over(_runs(contest, stage), entry, PASSED_OVER)
    if dropped is not None:
        entry |= {"status": "dropped", "gain": dropped.entry(), "pays": False}
        entry["note"] = f"given up after {dropped.rows:,} rows: no better than {dropped.against} there"
    if entry["status"] == "done":
        closing = time.monotonic()
        yield from _passing_over(_scored(contest, stage, entry), entry, OF_ANSWERS)
        contest.clock.closing_took(time.monotonic() - closing)
    entry["seconds"] = round(time.monotonic() - began, 1)
    contest.journal.add(entry)
    contest.journal.beat(contest.clock.spent, now=True)
    yield note(said(entry, contest.judge.metric))


def _passing_over(
    work: Generator[Event, None, T], entry: dict[str, Any], kinds: tuple[type[HfkitError], ...]
) -> Generator[Event, None, T | None]:
    """Work for a stage, and what it returns. An error that only the stage fails by is written into its `entry`, and
    what stands as the submission goes on standing: a file is replaced whole or not at all."""
    caught: tuple[type[Exception], ...] = (*kinds, RuntimeError, MemoryError)
    try:
        return (yield from work)
    except caught as error:
        entry |= {"status": "failed", "note": passed_over(error, kinds), "taken": False, "pays": False}
        yield warning(f"{entry['name']}: {entry['note']}")
    gc.collect()  # what it held is room for the next
    return None


def passed_over(error: Exception, kinds: tuple[type[HfkitError], ...]) -> str:
    """Why a stage fails, of an error of these kinds, or of too little memory; raises any other error again.

    Memory may not suffice for one row at a time, in an evaluation or for the test rows, nor for all answers at once.
    """
    from hfkit.engine.memory import out_of_memory

    if isinstance(error, kinds):
        return error.message
    if out_of_memory(error):
        return f"out of memory: {str(error).partition(chr(10))[0]}"
    raise error


def _runs(contest: Contest, stage: Stage) -> Generator[Event, None, Gain | None]:
    """Train what is not trained; returns how much worse a setting on trial was where it was given up."""
    runs = list(stage.member.runs(contest.folder))
    end = contest.clock.spent + stage.limit if stage.limit is not None else None
    base = best_of(contest.journal.ended(), contest.judge.metric)
    for number, (fold, place) in enumerate(runs):
        left = contest.clock.left if end is None else min(contest.clock.left, end - contest.clock.spent)
        limit = limit_of(left, len(runs) - number, after_seconds(contest.members(), contest.folder))
        if not (place / cell.DONE).is_file():
            if limit < SHORTEST_RUN:
                raise TimeUp
            made = stage.member.recipe(contest.recipe, fold, limit)
            yield from cell.run(resumed_or(made, place), place, contest.how)
        if stage.kind == "setting" and base is not None and number + 1 < len(runs):
            gain = trial(contest, stage.member, base)
            if gain.value <= 0:
                return gain
    return None


def limit_of(left: float, runs: int, after: float | None) -> float:
    """Seconds that the training of the next of so many runs may take, of those that are left for all of them."""
    share = left / runs
    return share * (1 - UNKNOWN_AFTER) if after is None else share - SAFE_AFTER * after


def trial(contest: Contest, member: Member, base: Member) -> Gain:
    """What a member has more than another on the folds that both have done."""
    held = [held_out(one.finished(contest.folder)) for one in (member, base)]
    return contest.judge.gain(held[0], held[1], base.name)


def _scored(contest: Contest, stage: Stage, entry: dict[str, Any]) -> Work:
    """What the member is worth; it is submitted when it is better than what stands."""
    member = stage.member
    runs = member.finished(contest.folder)
    if stage.kind == "setting" and (base := best_of(contest.journal.ended(), contest.judge.metric)) is not None:
        gain = trial(contest, member, base)
        entry |= {"pays": gain.pays, "trial": gain.entry()}
    answers = of_test(runs, blend_of(contest.judge.task), list(contest.how.test))
    alone = Contender(stage.name, held_out(runs), answers, {member.name: 1.0})
    yield from contend(contest, alone, entry, runs=len(runs))


def average(contest: Contest) -> Work:
    """All members so far as one, if that was not done yet."""
    members = contest.members()
    name = f"ensemble-{len(members)}"
    if len(members) < 2 or any(entry["name"] == name for entry in contest.journal.ended()):
        return
    began = time.monotonic()
    entry: dict[str, Any] = {
        "event": "ended", "name": name, "kind": "ensemble", "what": "", "member": None, "status": "done", "note": "",
    }  # fmt: skip
    yield from _passing_over(_averaged(contest, together(members), entry), entry, OF_ANSWERS)
    seconds = time.monotonic() - began
    contest.clock.closing_took(seconds)
    contest.journal.add(entry | {"seconds": round(seconds, 1)})
    yield note(said(entry, contest.judge.metric))


def _averaged(contest: Contest, members: Sequence[Member], entry: dict[str, Any]) -> Work:
    found = blended(entry["name"], members, contest.judge, contest.how.test, contest.folder)
    if found is None:
        entry["note"] = "no average of the members is better than one of them"
        return
    entry["what"] = ", ".join(f"{share:.2f} {member}" for member, share in found.shares.items())
    yield from contend(contest, found, entry, runs=sum(len(member.held) for member in members))


def tidied(contest: Contest) -> Work:
    """Remove models that neither what stands nor any later average is made of: a disk may not hold those of all."""
    stands = submitted(contest.journal.entries, contest.output) or {}
    try:
        remove_models(out_of_play(contest.journal.ended(), stands.get("shares", {})), contest.folder)
    except OSError as error:  # the competition needs no room yet
        yield warning(f"models that are no longer needed stay: {error}")


def put_back(contest: Contest, likely: Sequence[Prediction]) -> Work:
    """Write the submission that stands once more: its file was there, and is gone, moved away to be handed in.

    `likely` is what it says without a model.
    """
    entry = submitted(contest.journal.entries, contest.output)
    stands = standing(contest.folder, entry)
    if entry is None or stands is None:
        return
    shares: dict[str, float] = entry.get("shares") or {}
    members = [member for member in contest.members() if member.name in shares]
    test = likely
    if shares:
        weights = [shares[member.name] for member in members]
        test = answers_of(members, weights, contest.judge, contest.how.test, contest.folder)
    yield note(f"{contest.output} is gone; the submission of {stands.stage} is written again")
    contender = Contender(stands.stage, stands.held, test, shares)
    yield from submit(contender, contest.judge, contest.shape, contest.names, contest.folder, contest.output)


def contend(contest: Contest, contender: Contender, entry: dict[str, Any], *, runs: int) -> Work:
    """Score a contender; it becomes the submission when it is better than what stands, on the same rows."""
    judge = contest.judge
    entries = contest.journal.entries
    before = standing(contest.folder, submitted(entries, contest.output, besides=contender.stage))
    entry |= judge.score(contender.held).entry() | {"taken": before is None}
    if before is not None:
        gain = judge.gain(contender.held, before.held, before.stage)
        wider = runs > 1 and len(contender.held) > len(before.held)
        entry |= {"gain": gain.entry(), "taken": replaces(gain, wider=wider)}
    if entry["taken"]:
        entry["shares"] = dict(contender.shares)
        contest.journal.add(announced(entry, contest.output))
        yield from submit(contender, judge, contest.shape, contest.names, contest.folder, contest.output)


def said(entry: dict[str, Any], metric: str) -> str:
    """How a stage ended, in a line."""
    if entry["status"] != "done" or "score" not in entry:
        return f"{entry['name']}: {entry['note'] or entry['status']}"
    score = "not defined" if entry["score"] is None else f"{entry['score']:.4g}"
    words = f"{entry['name']}: {metric} {score} on {entry['rows']:,} held-out rows"
    if gain := gain_words(entry.get("gain")):
        words += f", {gain}"
    return f"{words}: {'submitted' if entry['taken'] else 'not submitted'}"
