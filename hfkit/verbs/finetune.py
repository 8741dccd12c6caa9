"""`hfkit finetune`: a recipe becomes a run with a scored, usable model. Read `finetune` first: it is the table of contents."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfkit import run as runs
from hfkit.card import model_card
from hfkit.data import load_training
from hfkit.data.rows import Rows
from hfkit.data.validators import named
from hfkit.engine.pace import parse_time
from hfkit.errors import DivergenceError, HfkitError, ModelError, UsageError
from hfkit.events import Event, note, resolved, warning
from hfkit.models import Checkpoint, check_vocabulary, find
from hfkit.recipe import Recipe
from hfkit.recipe.load import as_dict, differences, dump, identity
from hfkit.run import Run
from hfkit.tasks import task_class
from hfkit.tasks.base import LOWER_IS_BETTER, Task
from hfkit.verbs.closing import closing, opening
from hfkit.verbs.fit import Fit
from hfkit.verbs.prepare import features_of, limited_blocks, sample_texts, texts_of

Events = Generator[Event, None, Any]


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
) -> Iterator[Event]:
    """Fine-tune by `recipe` in the run folder `output` (default: a new one under the runs folder).

    Yields events, the last one "result" with `run`, `best`, `throughput`, `peak_memory_bytes`, `world`. Everything that
    can be checked without torch is checked before it is imported. Raises HfkitError.
    """
    started = time.time()
    recipe = with_absolute_paths(recipe)
    if recipe.train.time is not None:
        parse_time(recipe.train.time)
    prior = find_prior(recipe, output, resume=resume, overwrite=overwrite)
    if prior is not None and (done := prior.facts().get("result")):
        yield note(f"{prior.path} is done; nothing is trained")
        yield Event("result", done)
        return
    kind = task_class(recipe.task)
    train, validation, lines = load_training(recipe.data, columns=kind.columns, group=kind.group, offline=offline)
    task = kind(recipe.settings)
    with named(train):
        warnings = task.check(train, training=True)
    with named(validation):
        warnings += task.check(validation, training=True, train_rows=train)
    found = find(recipe.model, revision=recipe.model_revision, convert=recipe.convert, offline=offline)

    from hfkit.engine.place import take_place

    # Where this process only starts others, they say the rest: nothing is shown before its place is known.
    place = take_place(cpu=cpu, processes=processes, precision=recipe.train.precision, trackers=recipe.train.trackers)
    yield note(place.world.line())
    yield from map(note, lines)
    yield from map(warning, warnings)
    yield from map(note, found.notes)
    ready = yield from make_ready(recipe, kind, task, found, train, validation, place)
    fit = Fit(ready, started=started)
    yield from fit.build(resume_from=None if dry_run else prior)
    yield Event("plan", fit.plan())
    if dry_run:
        yield Event("result", {"plan": fit.plan()["items"], "world": place.world.size})
        return
    run = open_or_create(recipe, ready, prior, output, overwrite=overwrite)
    try:
        yield from recorded(run, place.world.main, trained(fit, run))
    except BaseException as error:
        if place.world.main:
            with suppress(HfkitError):  # a full disk must not hide what happened
                run.update(status=status_of(error), finished=time.time(), exit_code=exit_code_of(error))
        raise
    place.close()


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """Local data and model paths made absolute, so that a run can be repeated from any directory."""

    def absolute(spec: str) -> str:
        parts = spec.split(",")
        if all(Path(p).expanduser().exists() for p in parts):
            return ",".join(str(Path(p).expanduser().absolute()) for p in parts)
        return spec

    def all_absolute(value: Any) -> Any:
        return [absolute(v) for v in value] if isinstance(value, list) else absolute(value) if value else value

    data = recipe.data.model_copy(
        update={"train": all_absolute(recipe.data.train), "validation": all_absolute(recipe.data.validation)}
    )
    return recipe.model_copy(update={"data": data, "model": absolute(recipe.model)})


def find_prior(recipe: Recipe, output: Path | None, *, resume: bool, overwrite: bool) -> Run | None:
    """The run to continue, if any. Raises UsageError when the folder is taken, or holds another recipe's run."""
    if not resume:
        if output is not None and runs.is_taken(output) and not overwrite:
            raise UsageError(f"{output} is not empty", "add --resume or --overwrite, or choose another folder with --output")
        runs.check_output(output if output is not None else runs.runs_folder())
        return None
    path = output if output is not None else runs.find_by_suffix(identity(recipe))
    if path is None or not (path / "run.json").exists():
        if path is not None and runs.is_taken(path):
            raise UsageError(f"{path} is not a run", "choose another folder with --output")
        return None
    written = path / "recipe.yaml"  # after run.json, so a run killed in its first moment lacks it
    changed = differences(as_dict(recipe), written) if written.exists() else []
    if changed:
        raise UsageError(
            f"{path} was started with another recipe:\n" + "\n".join(changed[:8]), "start a new run without --resume"
        )
    return Run(path.absolute())


@dataclass
class Ready:
    """All that training needs, checked and resolved."""

    recipe: Recipe
    task: Task  # resolved; scores validation
    place: Any
    found: Checkpoint
    tokenizer: Any
    train_rows: Rows
    validation_rows: Rows
    train: Any  # Features
    validation: Any  # Features
    metric: str
    better: str  # "higher" | "lower"

    @property
    def saved(self) -> dict[str, Any]:
        """The content of hfkit.json: what a copied model needs to score the same."""
        versions = runs.versions()
        return {
            "hfkit": versions.get("hfkit"),
            "task": self.recipe.task,
            "settings": self.task.settings.model_dump(mode="json"),
            "base_model": self.found.name,
        }


def make_ready(
    recipe: Recipe, kind: type[Task], task: Task, found: Checkpoint, train: Rows, validation: Rows, place: Any
) -> Generator[Event, None, Ready]:
    """Tokenizer, resolved task, features of both sets. Yields what every `auto` became."""
    from hfkit.models import load_config, load_tokenizer

    if found.scratch:
        found = scratch_checkpoint(found, recipe, kind, train)
    tokenizer = load_tokenizer(found, kind.head)
    check_vocabulary(tokenizer, sample_texts(kind, train), found.name)
    config = load_config(found)
    if recipe.train.reset_head:
        config.architectures = None  # the head of the checkpoint will not be used, so its labels say nothing
    task, resolutions = task.resolve(train, tokenizer, config)
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    train = yield from usable_rows(task, train, "train")
    metric, better = metric_of(recipe, task)
    limit = recipe.data.limit
    return Ready(
        recipe, task, place, found, tokenizer, train, validation,
        limited_blocks((yield from features_of(train, task, tokenizer, "encoding train")), train, limit),
        limited_blocks((yield from features_of(validation, task, tokenizer, "encoding validation")), validation, limit),
        metric, better,
    )  # fmt: skip


def scratch_checkpoint(found: Checkpoint, recipe: Recipe, kind: type[Task], train: Rows) -> Checkpoint:
    """Config and trained tokenizer of a scratch model, kept in the cache by the data's content."""
    from hfkit.data.cache import entry
    from hfkit.models import build_scratch, locate

    name = str(found.scratch)
    key = runs.digest([name, kind.head, recipe.scratch.model_dump(), train.fingerprint])
    folder = entry("scratch", key, lambda path: build_scratch(name, texts_of(kind, train), recipe.scratch, kind.head, path))
    config = locate(str(folder)).config
    return Checkpoint(name=found.name, folder=folder, scratch=name, config=config)


def usable_rows(task: Task, rows: Rows, name: str) -> Generator[Event, None, Rows]:
    """The rows with gold; those without are dropped and counted. Raises DataError through `check` when none is left."""
    kept = [i for i, row in enumerate(rows) if task.usable(row)]
    if len(kept) == len(rows):
        return rows
    yield warning(f"{name}: {len(rows) - len(kept):,} of {len(rows):,} rows have no gold label and are left out")
    return rows.subset(kept)


def metric_of(recipe: Recipe, task: Task) -> tuple[str, str]:
    """The metric that picks the best checkpoint, and which way is better. Raises UsageError."""
    if recipe.train.metric == "auto":
        return task.headline
    known = task.definitions()
    if known and recipe.train.metric not in known:
        raise UsageError(f"train.metric = '{recipe.train.metric}' is not a metric of this task", "there are " + ", ".join(known))
    return recipe.train.metric, "lower" if recipe.train.metric in LOWER_IS_BETTER else "higher"


def open_or_create(recipe: Recipe, ready: Ready, prior: Run | None, output: Path | None, *, overwrite: bool) -> Run:
    """The run folder on the main process; the others learn its path."""
    world = ready.place.world
    run: Run | None = None
    failure: HfkitError | None = None
    if world.main:
        try:
            run = open_again(prior, recipe) if prior else new_run(recipe, ready, output, overwrite=overwrite)
        except HfkitError as error:
            failure = error
    told = ready.place.gather((run, failure))[0]
    if told[1] is not None:
        raise told[1]
    return told[0]


def open_again(prior: Run, recipe: Recipe) -> Run:
    """The run, one attempt further."""
    run = runs.open_run(prior.path)
    run.update(status="running")
    if not (run.path / "recipe.yaml").exists():
        run.write("recipe.yaml", dump(recipe))
    return run


def new_run(recipe: Recipe, ready: Ready, output: Path | None, *, overwrite: bool) -> Run:
    """A fresh run folder with recipe.yaml and run.json."""
    suffix = identity(recipe)
    run = runs.create(recipe.name, recipe.model, suffix, output=output, overwrite=overwrite)
    place = ready.place
    run.update(
        **runs.start_facts(
            "finetune",
            {
                "recipe": recipe.name,
                "identity": suffix,
                "task": recipe.task,
                "model": ready.found.name,
                "device": place.describe(),
                "world": place.world.size,
                "precision": place.precision,
                "seed": recipe.train.seed,
                "settings": ready.task.settings.model_dump(mode="json"),
                "data": {"train": data_facts(ready.train_rows), "validation": data_facts(ready.validation_rows)},
            },
        )
    )
    run.write("recipe.yaml", dump(recipe))
    return run


def data_facts(rows: Rows) -> dict[str, Any]:
    """What run.json keeps of a data set."""
    return {"name": rows.name, "rows": len(rows), "fingerprint": rows.fingerprint, "files": rows.files, "columns": rows.mapping}


def recorded(run: Run, main: bool, events: Iterator[Event]) -> Iterator[Event]:
    """The same events, each also appended to the run's events.jsonl."""
    for event in events:
        if main:
            run.append(event)
        yield event


def trained(fit: Fit, run: Run) -> Events:
    """Train, then put the best weights, the card and the result in their places."""
    yield from fit.train(run)
    yield from fit.finish(run)
    result = fit.result(run)
    if fit.ready.place.world.main:
        run.write("README.md", model_card(run, fit.ready.recipe, result))
        run.update(status="done", finished=time.time(), exit_code=0, best=result["best"], result=result)
        yield from closing(fit.ready, run, result)
    yield Event("next", {"commands": next_commands(run, fit.ready)})
    yield Event("result", result)


def next_commands(run: Run, ready: Ready) -> list[str]:
    """What the user may type now."""
    fields = {"qa": "question='...' context='...'", "nli": "premise='...' hypothesis='...'", "classify": "text='...'"}
    shown = runs.shown_path(run.path)
    if ready.task.head == "causal-lm":
        return [f"hfkit generate {shown} {shlex.quote(opening(ready.validation_rows))}"]
    example = fields.get(ready.task.name)
    return [*([f"hfkit predict {shown} {example}"] if example else []), f"hfkit eval {shown} --data FILE"]


def status_of(error: BaseException) -> str:
    """How a run ended, for run.json."""
    if isinstance(error, DivergenceError):
        return "diverged"
    return "interrupted" if isinstance(error, (KeyboardInterrupt, GeneratorExit, SystemExit)) else "failed"


def exit_code_of(error: BaseException) -> int:
    """The code that the command will end with."""
    code = getattr(error, "code", None)
    return code if isinstance(code, int) else 130 if status_of(error) == "interrupted" else 1


def total_steps(recipe: Recipe, per_epoch: int) -> int:
    """max_steps beats epochs."""
    return recipe.train.max_steps or max(1, math.ceil(recipe.train.epochs * per_epoch))


def refuse_changed_data(run: Run, ready: Ready) -> None:
    """A run goes on only with the data it began with. Raises ModelError."""
    before: dict[str, Any] = run.facts().get("data", {})
    names: Sequence[tuple[str, Rows]] = (("train", ready.train_rows), ("validation", ready.validation_rows))
    for name, rows in names:
        known = before.get(name, {}).get("fingerprint")
        if known and known != rows.fingerprint:
            raise UsageError(f"the {name} data changed since {run.path} began", "start a new run without --resume")
    if run.facts().get("settings") not in (None, ready.task.settings.model_dump(mode="json")):
        raise ModelError("the resolved settings changed since the run began", "start a new run without --resume")
