"""What training needs, checked and resolved: the task without autos, the tokenizer, the features of both sets."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfkit.data.rows import Rows
from hfkit.errors import UsageError
from hfkit.events import Event, resolved, warning
from hfkit.machine import versions
from hfkit.models import Checkpoint, check_vocabulary
from hfkit.models.find import run_named
from hfkit.recipe import Recipe
from hfkit.run import digest
from hfkit.tasks.base import LOWER_IS_BETTER, Task
from hfkit.verbs.finetune.pseudo import with_pseudo
from hfkit.verbs.finetune.tricks import check_tricks, idle_tricks
from hfkit.verbs.prepare import features_of, limited_blocks, sample_texts, strange_words, texts_of

WRITERS = ("causal-lm", "seq2seq-lm")  # heads whose models `hfkit generate` takes


@dataclass(frozen=True)
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
    pseudo: dict[str, Any] | None = None  # the facts of the pseudo-labelled rows among the features of training

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def saved(self) -> dict[str, Any]:
        """The content of hfkit.json: what a copied model needs to score the same."""
        found = versions()
        return {
            "hfkit": found.get("hfkit"),
            "task": self.recipe.task,
            "settings": self.task.settings.model_dump(mode="json", exclude=self.task.settings.on_request),
            "base_model": self.found.name,
            **({"generate": self.recipe.generate.model_dump(mode="json")} if self.task.head in WRITERS else {}),
        }


def make_ready(
    recipe: Recipe, task: Task, found: Checkpoint, train: Rows, validation: Rows, place: Any, *, offline: bool
) -> Generator[Event, None, Ready]:
    """Tokenizer, resolved task, features of both sets. Yields what every `auto` became."""
    from hfkit.models import load_config, load_tokenizer

    if found.scratch:
        found = scratch_checkpoint(found, recipe, task, train)
    tokenizer = load_tokenizer(found, task.head)
    check_vocabulary(tokenizer, sample_texts(task, train), found.name, task.head)
    config = load_config(found)
    yield from map(warning, strange_words(tokenizer, config, task, train))
    if recipe.train.reset_head:
        config.architectures = None  # the head of the checkpoint will not be used, so its labels say nothing
    task, resolutions = task.resolve(train, tokenizer, config)
    check_tricks(recipe, task)  # again: the task may have found out that its labels are numbers
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    train = yield from usable_rows(task, train, "train")
    metric, better = metric_of(recipe, task)
    limit = recipe.data.limit
    features = learnt(task, (yield from features_of(train, task, tokenizer, "encoding train")))
    features, pseudo = yield from with_pseudo(features, recipe, task, tokenizer, offline=offline)
    return Ready(
        recipe, task, place, found, tokenizer, train, validation, limited_blocks(features, train, limit),
        limited_blocks((yield from features_of(validation, task, tokenizer, "encoding validation")), validation, limit),
        metric, better, pseudo,
    )  # fmt: skip


def learnt(task: Task, features: Any) -> Any:
    """The features that training learns from: all, unless the task says which."""
    choose = getattr(task, "learnt", None)
    return features if choose is None else features.subset(choose(features))


def with_run_found(recipe: Recipe) -> Recipe:
    """`last`, or a part of a run's name, as the folder it means now: the recipe must mean the same later."""
    run = run_named(recipe.model)
    return recipe if run is None else recipe.model_copy(update={"model": str(run.absolute())})


def without_effect(recipe: Recipe, task: Task) -> list[str]:
    """Lines about keys that are set and change nothing here; a recipe with every default written out has none."""
    from hfkit.models.scratch import SHAPES

    writes, fresh = task.head in WRITERS, recipe.model.startswith("scratch:")
    shape = SHAPES.get(recipe.model.removeprefix("scratch:"), {}) if fresh else {}
    idle = (
        ("lora", recipe.lora, recipe.lora.rank is None, "lora.rank is null"),
        ("generate", recipe.generate, not writes, f"a {task.head} model does not generate text"),
        ("scratch", recipe.scratch, not fresh, f"{recipe.model} is not a scratch: model"),
    )
    lines = [
        f"{name}.{key} has no effect: {why}"
        for name, section, is_idle, why in idle
        if is_idle
        for key, value in section.model_dump().items()
        if value != type(section).model_fields[key].default
    ]
    lines += idle_tricks(recipe, task)
    if recipe.data.pseudo is None and recipe.data.pseudo_weight != 1:
        lines.append("data.pseudo_weight has no effect: data.pseudo is null")
    if fresh and recipe.train.reset_head:
        lines.append(f"train.reset_head has no effect: every weight of {recipe.model} is fresh")
    if shape.get("model_type", "bert") != "bert" and not recipe.scratch.lowercase:
        lines.append(f"scratch.lowercase has no effect: the tokenizer of {recipe.model} keeps case as it is")
    return lines


def scratch_checkpoint(found: Checkpoint, recipe: Recipe, task: Task, train: Rows) -> Checkpoint:
    """Config and trained tokenizer of a scratch model, kept in the cache by the data's content."""
    from hfkit.data.cache import entry
    from hfkit.models import build_scratch, locate

    name = str(found.scratch)
    key = digest([name, task.head, recipe.scratch.model_dump(), train.fingerprint])

    def build(path: Path) -> None:
        build_scratch(name, texts_of(task, train), recipe.scratch, task.head, path)

    folder = entry("scratch", key, build)
    config = locate(str(folder)).config
    return Checkpoint(name=found.name, folder=folder, scratch=name, config=config)


def usable_rows(task: Task, rows: Rows, name: str) -> Generator[Event, None, Rows]:
    """The rows with gold; those without are dropped and counted. Raises DataError through `check` when none is left."""
    kept = [i for i, row in enumerate(rows) if task.usable(row)]
    if len(kept) == len(rows):
        return rows
    yield warning(f"{name}: {len(rows) - len(kept):,} of {len(rows):,} rows have no gold label and are left out")
    return rows.subset(kept)


def check_metric(recipe: Recipe, task: Task) -> None:
    """Refuse a metric that no setting of the task gives, before data or torch are loaded. Raises UsageError."""
    known = task.definitions()
    if recipe.train.metric != "auto" and known and recipe.train.metric not in known:
        raise UsageError(
            f"train.metric = '{recipe.train.metric}' is not a metric of this task", "there are " + ", ".join(known)
        )


def metric_of(recipe: Recipe, task: Task) -> tuple[str, str]:
    """The metric that picks the best checkpoint, and which way is better. Raises UsageError."""
    if recipe.train.metric == "auto":
        return task.headline
    check_metric(recipe, task)  # again: now that nothing is auto, fewer may be known
    return recipe.train.metric, "lower" if recipe.train.metric in LOWER_IS_BETTER else "higher"
