"""`hfkit compete`: from a competition's files to a submission that is valid within seconds and better until time is up.

In the order of the work: recognise (what is asked for), opening (the folder, rows, checks), fallback (without a model),
then until the clock says so: state and stages (what is next), work (a stage), standing (the submission). `compete`
below is the table of contents.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hfkit.engine.pace import parse_time
from hfkit.engine.processes.world import launched
from hfkit.errors import DataError, Stopped, UsageError
from hfkit.events import Event, note
from hfkit.lock import Hold
from hfkit.machine import process_seconds
from hfkit.run import shown_path
from hfkit.tasks.base import Prediction
from hfkit.verbs.compete import opening
from hfkit.verbs.compete.cell import How
from hfkit.verbs.compete.clock import Clock, TimeUp
from hfkit.verbs.compete.closing import Ending
from hfkit.verbs.compete.fallback import prior, write_sample
from hfkit.verbs.compete.journal import Journal
from hfkit.verbs.compete.judge import Judge
from hfkit.verbs.compete.recognise import recognised
from hfkit.verbs.compete.stages import following, left_out, next_words, upcoming
from hfkit.verbs.compete.standing import Contender, announced
from hfkit.verbs.compete.state import Frame, known, resumed
from hfkit.verbs.compete.work import Contest, average, contend, perform, put_back, tidied
from hfkit.verbs.finetune.folder import ending
from hfkit.verbs.prior import prior_of
from hfkit.verbs.submission import own_names
from hfkit.verbs.trained import read_rows

PRIOR = "prior"  # the stage without a model


def compete(
    train: str,
    test: str,
    sample: Path,
    *,
    time_limit: str,
    models: Sequence[str] = (),
    metric: str | None = None,
    output: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cpu: bool = False,
    overrides: Sequence[str] = (),
    offline: bool = False,
    from_start: bool = False,
) -> Iterator[Event]:
    """Compete on `train`, `test` and a sample submission for `time_limit` (2h, 90m), over all attempts together.

    `models` are tried in their order, by default what is at hand. The time counts `from_start` of this process, or from
    now. Yields events, the last one "result" with `submission`, `score`, `stages`. Raises HfkitError; when the work was
    stopped the best valid file stands.
    """
    clock = Clock(parse_time(time_limit, where="--time"), process_seconds() if from_start else 0.0)
    if launched():
        raise UsageError("compete starts its runs itself", "start it once, without torchrun or srun")
    found = recognised(train, test, sample, models=models, metric=metric, overrides=overrides, offline=offline)
    identity = opening.identity_of([train, test, str(sample)], found)
    before = prior_of(
        identity, output, resume=resume, overwrite=overwrite, kind="competition", of="other files, keys or models"
    )
    if before is not None:
        clock = Clock(clock.budget, clock.spent + Journal(before.path).spent())  # not opened: it may be another's
        done = before.facts().get("result")
        there = opening.submission_path(found, before.path).exists()
        if done and there and before.facts().get("status") == "done" and clock.budget <= done["budget"]:
            yield note(f"{before.path} is done; more --time goes on")
            yield Event("result", done)
            return
    with Hold() as hold:
        run = opening.opened(found, identity.suffix, before, output, hold, overwrite=overwrite)
        path = opening.submission_path(found, run.path)
        yield Event("plan", {"title": f"compete for {time_limit}", "items": {**found.why, "folder": str(run.path)}})
        with ending(run, main=True):
            end = Ending(run, found, clock, Journal.open(run.path), path, (train, test, sample, time_limit))
            try:
                yield from logged(end, hold, work(end, cpu=cpu, offline=offline))
            except (Stopped, KeyboardInterrupt) as error:
                end.interrupted()
                raise stopped_words(error, path) from None
            except Exception:
                end.interrupted("failed")
                raise
            fields = end.done()
    yield Event("saved", {"what": "report", "path": shown_path(Path(fields["report"]))})
    yield Event("next", {"commands": fields["commands"]})
    yield Event("result", fields)


def work(end: Ending, *, cpu: bool, offline: bool) -> Generator[Event, None, None]:
    """All that is done until the time is up: the first file, the rows, then stage after stage."""
    run, found, clock, journal = end.run, end.found, end.clock, end.journal
    kind_task, gold = opening.likely_rows(found, offline=offline)
    test = read_rows(kind_task, end.test, found.test_keys, gold=False, limit=None, offline=offline)
    shape = opening.shape_of(found, test)
    gone = not end.path.exists()
    if gone and not journal.ended():
        write_sample(shape, end.path)
    if not gold:
        raise DataError(f"{end.train}: no row has gold that could be learnt from", "check the columns: data.columns")
    names = own_names(kind_task)
    likely = prior(kind_task, gold, test)
    if not journal.ended():
        journal.add(announced({"name": PRIOR}, end.path))
        shape.write(end.path, likely, names)
        yield note(f"a valid submission stands after {clock.spent:.0f} s, without a model: {shown_path(end.path)}")
    looked = yield from opening.checked(found, run.path, offline=offline)
    end.check = {"failures": looked.failures, "warnings": looked.warnings}
    plan = yield from opening.divided(looked.recipe, offline=offline)
    task, _ = plan.task.adopt(plan.rows, None)
    judge = Judge(task, plan.rows, found.metric, plan.recipe.data.group, shape)
    how = How(clock, test, cpu=cpu, offline=offline, said=set())
    contest = Contest(run.path, plan.recipe, judge, shape, names, end.path, clock, journal, how)
    if not journal.ended():
        yield from first_entry(contest, prior(kind_task, gold, list(plan.rows)), likely)
    elif gone:
        yield from put_back(contest, likely)
    frame = Frame(plan.recipe, found.models, found.given, opening.most_folds(plan), run.path)
    yield from until_time_is_up(contest, frame, end)


def first_entry(
    contest: Contest, held: Sequence[Prediction], test: Sequence[Prediction]
) -> Generator[Event, None, None]:
    """The submission without a model as the first that stands, with its score."""
    entry: dict[str, Any] = {
        "event": "ended", "name": PRIOR, "kind": PRIOR, "what": "no model: what the training rows say is likely",
        "member": None, "status": "done", "note": "", "seconds": round(contest.clock.spent, 1),
    }  # fmt: skip
    contender = Contender(PRIOR, {item["id"]: item for item in held}, test, {})
    yield from contend(contest, contender, entry, runs=0)
    contest.journal.add(entry)


def until_time_is_up(contest: Contest, frame: Frame, end: Ending) -> Generator[Event, None, None]:
    """Stage after stage; what is left out at the end, and why, is kept for the report."""
    clock, journal = contest.clock, contest.journal
    shown = ""
    with suppress(TimeUp):
        while True:
            clock.check()
            yield from average(contest)
            yield from tidied(contest)
            now = known(frame, journal.ended(), budget=clock.budget, left=clock.left)
            planned = upcoming(now)
            end.left_out = left_out(planned)
            stage = resumed(journal, now, contest.folder) or following(now)
            if stage is None:
                break
            if (words := ", ".join(next_words(planned))) != shown:
                shown = words
                yield Event("plan", {"title": f"{clock.left:.0f} s left", "items": next_words(planned)})
            yield from perform(contest, stage)
    if (begun := journal.begun()) is not None:
        end.left_out[begun["name"]] = "the time was up before it came to its end"


def logged(end: Ending, hold: Hold, events: Iterator[Event]) -> Iterator[Event]:
    """The same events, those that are not of every step also in the log; the time that was spent is noted on the way.

    Raises UsageError when the lock was lost.
    """
    for event in events:
        end.journal.beat(end.clock.spent)
        if event.kind not in ("progress", "step"):
            hold.check()
            end.run.append(event)
        yield event


def stopped_words(error: Stopped | KeyboardInterrupt, path: Path) -> Stopped:
    """What is said of work that was stopped: what stands, and how to go on."""
    code = getattr(error, "code", None)
    what = f"stopped; a valid submission stands: {shown_path(path)}" if path.exists() else "stopped before a submission"
    return Stopped(what, "add --resume to the same command to go on", code=code if isinstance(code, int) else 130)
