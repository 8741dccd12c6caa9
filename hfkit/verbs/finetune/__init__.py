"""`hfkit finetune`: a recipe becomes a run with a scored, usable model. `finetune` below is the table of contents.

In the order of the work: ready (checked, resolved, encoded), assemble (model, optimizer, schedule), folder (the run),
fit (the loop, with validation in it), closing. torch is imported once the cheap checks have passed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hfkit.card import model_card
from hfkit.data import load_training
from hfkit.data.findings import named
from hfkit.engine.pace import parse_time
from hfkit.engine.processes.world import several
from hfkit.errors import Stopped
from hfkit.events import Event, note, warning
from hfkit.lock import Hold
from hfkit.models import find
from hfkit.recipe import Recipe
from hfkit.recipe.paths import with_absolute_paths
from hfkit.run import Run
from hfkit.stopping import saving_first
from hfkit.tasks import suited, task_class
from hfkit.tasks.base import Task
from hfkit.verbs.finetune.closing import closing, finish, next_commands
from hfkit.verbs.finetune.compiling import check_compile
from hfkit.verbs.finetune.folder import (
    changed_since,
    ending,
    find_prior,
    kept,
    log_early,
    open_or_create,
    recorded,
    take_over,
)
from hfkit.verbs.finetune.parts import check_parts
from hfkit.verbs.finetune.pseudo import check_pseudo
from hfkit.verbs.finetune.ready import Ready, check_metric, make_ready, with_run_found, without_effect
from hfkit.verbs.finetune.tricks import check_tricks

if TYPE_CHECKING:
    from hfkit.engine.processes.place import Place
    from hfkit.verbs.finetune.fit import Fit


def finetune(
    recipe: Recipe,
    *,
    output: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    offline: bool = False,
) -> Generator[Event, None, None]:
    """Fine-tune by `recipe` in the run folder `output` (default: a new one under the runs folder).

    Yields events, the last one "result" with `run`, `best`, `throughput`, `peak_memory_bytes`, `world`. Everything that
    can be checked without torch is checked before it is imported. Raises HfkitError.
    """
    started = time.time()
    recipe = with_run_found(with_absolute_paths(recipe))
    if recipe.train.time is not None:
        parse_time(recipe.train.time)
    prior = find_prior(recipe, output, resume=resume, overwrite=overwrite)
    if prior is not None and (done := prior.facts().get("result")):
        yield note(f"{prior.path} is done; nothing is trained")
        yield Event("result", done)
        return
    early: list[Event] = []  # shown before the run has a folder to log them in
    with Hold() as hold:
        begin = begun(
            recipe, prior, started, hold,
            resume=resume, dry_run=dry_run, cpu=cpu, processes=processes, offline=offline,
        )  # fmt: skip
        fit = yield from kept(begin, early)
        place = fit.ready.place

        from hfkit.engine.processes.watch import SAID, losses_named
        from hfkit.verbs.finetune.shown import plan_items

        if dry_run:
            from hfkit.verbs.finetune.dry import measured

            with losses_named(place.world, SAID):
                items, numbers = yield from measured(fit)
            plan = {**plan_items(fit), **items}
            yield Event("result", {"plan": plan, "measured": numbers, "world": place.world.size})
            place.close()
            return
        if prior is not None:
            yield from map(warning, changed_since(prior, recipe, early, place.world.size))
        run = open_or_create(recipe, fit.ready, prior, output, hold, overwrite=overwrite)
        try:
            with ending(run, main=place.world.main), losses_named(place.world), saving_first():
                yield from trained(fit, run, hold, early)
        except Stopped:  # on all processes, so that they can part
            place.close()
            raise
        place.close()


def trained(fit: Fit, run: Run, hold: Hold, early: list[Event]) -> Iterator[Event]:
    """From the first step to the result: the loop, the model, the card, what to type next."""
    from hfkit.engine.heads import chosen_pooling
    from hfkit.engine.packing import plain
    from hfkit.verbs.finetune.shown import result_of

    main, recipe = fit.ready.place.world.main, fit.ready.recipe
    if main:
        log_early(run, early)
    yield from recorded(run, hold, main, fit.train(run))
    fit.leave_if_asked("all of it saved")
    with fit.training.averaged():
        yield from recorded(run, hold, main, finish(fit, run))
    fit.leave_if_asked("all of it saved")
    result = result_of(fit, run)
    if main:
        pooling = chosen_pooling(plain(fit.training.bare).config)
        run.write("README.md", model_card(run, recipe, fit.ready.task, result, pooling=pooling))
        run.update(status="done", finished=time.time(), exit_code=0, best=result["best"], result=result)
        yield from recorded(run, hold, True, closing(fit.ready, run, result))
        yield Event("next", {"commands": next_commands(run, fit.ready)})
    yield Event("result", result)


def begun(
    recipe: Recipe,
    prior: Run | None,
    started: float,
    hold: Hold,
    *,
    resume: bool,
    dry_run: bool,
    cpu: bool,
    processes: int | None,
    offline: bool,
) -> Generator[Event, None, Fit]:
    """All that comes before the first step: data and model found and checked, then everything ready to train."""
    task = task_class(recipe.task)(recipe.settings)
    check_metric(recipe, task)
    check_pseudo(recipe, task)
    place = None
    if several(processes):  # only the first of them reads, not the one that starts them either
        from hfkit.verbs.finetune.reading import told, told_to_others

        place = place_for(recipe, cpu=cpu, processes=processes)
    if place is not None and not place.world.main:
        ready = told(place, recipe, offline=offline)
    else:
        work = read(recipe, task, place, cpu=cpu, processes=processes, offline=offline, starts=resume and prior is None)
        ready = yield from (told_to_others(place, work) if place is not None else work)
    if prior is not None and not dry_run:
        yield from take_over(prior, ready.place, hold)

    from hfkit.engine.processes.watch import SAID, losses_named
    from hfkit.verbs.finetune.assemble import assemble
    from hfkit.verbs.finetune.shown import plan_items

    with losses_named(ready.place.world, SAID):
        fit = yield from assemble(ready, started=started, resume_from=None if dry_run else prior)
    title = f"{recipe.name}: {ready.found.name} on {ready.train_rows.name}"
    yield Event("plan", {"title": title, "items": plan_items(fit)})
    return fit


def read(
    recipe: Recipe, task: Task, place: Place | None, *, cpu: bool, processes: int | None, offline: bool, starts: bool
) -> Generator[Event, None, Ready]:
    """Data and model found, checked and encoded, by one process for all. `place` is None where it is not known yet."""
    train, validation, lines = load_training(recipe.data, columns=task.columns, group=task.group, offline=offline)
    with named(train):
        warnings = task.check(train, training=True)
    with named(validation):
        warnings += task.check(validation, training=True, train_rows=train)
    found = find(recipe.model, revision=recipe.model_revision, convert=recipe.convert, offline=offline)
    task = suited(task, found.config)
    check_parts(recipe, found)
    check_compile(recipe, found)
    check_tricks(recipe, task)
    # Where this process only starts one for each GPU, they say the rest: nothing is shown before its place is known.
    place = place or place_for(recipe, cpu=cpu, processes=processes)
    yield note(place.world.line())
    if starts:
        yield note("there is no run of this recipe to continue, so a new one starts")
    yield from map(note, lines)
    yield from map(warning, [*warnings, *without_effect(recipe, task)])
    yield from map(note, found.notes)
    return (yield from make_ready(recipe, task, found, train, validation, place, offline=offline))


def place_for(recipe: Recipe, *, cpu: bool, processes: int | None) -> Place:
    """This process's place in the world that the recipe asks for. Raises Delegated where it only starts others."""
    from hfkit.engine.processes.place import take_place

    train = recipe.train
    return take_place(
        cpu=cpu, processes=processes, precision=train.precision, trackers=train.trackers, distributed=train.distributed
    )
