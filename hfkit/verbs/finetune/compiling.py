"""train.compile: whether a run's layers are compiled, which `auto` finds out once for the whole life of the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hfkit.errors import HfkitError, ResourceError, UsageError
from hfkit.events import Event, resolved
from hfkit.models import Checkpoint
from hfkit.models.families import PACKED
from hfkit.recipe import Recipe
from hfkit.run import Run
from hfkit.verbs.finetune.ready import Ready

if TYPE_CHECKING:
    from hfkit.engine.train import Training

KEY = "train.compile"
TRIED_ON = ("cuda",)  # on CPUs the lean layers are faster (guide/speed.md), so nothing is tried
BACKEND: Any = "inductor"


def check_compile(recipe: Recipe, found: Checkpoint) -> None:
    """Refuse to compile what cannot be, where the recipe asks for it; before torch is imported. Raises UsageError."""
    if recipe.train.compile is not True:
        return
    kind = str(found.config.get("model_type"))
    if recipe.train.distributed == "fsdp":
        raise UsageError(
            f"{KEY}=true: with train.distributed=fsdp layers gather their weights, which is not compiled",
            "take train.distributed=ddp, or leave train.compile out",
        )
    if kind not in PACKED or kind == "albert":
        why = "share one set of weights among their layers" if kind == "albert" else "run in padded batches"
        raise UsageError(f"{KEY}=true: models of type {kind} {why}; only packed rows are compiled", "leave it out")


def compiled_layers(ready: Ready, model: Any, prior: Run | None) -> tuple[bool | None, str]:
    """Whether layers are compiled, None where that is to be tried, and why. A run goes on as it began.

    Raises UsageError where the recipe asks for it and the model's head cannot.
    """
    from hfkit.engine.packing import can_pack
    from hfkit.engine.regional import layers_of

    asked, place = ready.recipe.train.compile, ready.place
    possible = can_pack(model) and bool(layers_of(model)) and not place.sharded
    if asked is True and not possible:
        raise UsageError(f"{KEY}=true: this head runs in padded batches; only packed rows are compiled", "leave it out")
    if asked != "auto":
        return asked, "given"
    facts = {} if prior is None else prior.facts()
    if "batches" in facts:  # its steps had begun
        return bool(facts.get("compiled")), "as the run began"
    if not possible:
        return False, "only layers of packed rows are, each with weights of its own and whole on every process"
    return (None, "") if place.device.type in TRIED_ON else (False, "on this device it does not pay")


def compile_layers(
    training: Training, ready: Ready, asked: bool | None, why: str, limit: float | None
) -> Iterator[Event]:
    """Put into effect what `compiled_layers` said, trying it where it said None. Yields what `auto` became, and why.

    Raises ResourceError when layers that must be compiled cannot be.
    """
    from hfkit.engine.regional import Regions
    from hfkit.engine.trial import problem_of, tried

    auto = ready.recipe.train.compile == "auto"
    if asked is not False:
        tokens = training.micro_batch_size * float(ready.train.lengths.mean())
        regions = Regions(training.bare, ready.place, tokens=tokens, backend=BACKEND)
        if asked is None:
            trial = tried(training, regions, limit)
            asked, why = trial.pays, trial.why
        else:
            try:
                regions.compile()
            except HfkitError:
                raise
            except Exception as error:
                raise ResourceError(f"{KEY}: {problem_of(error)}", hint_for(ready.place.device.type)) from error
    if auto and ready.place.device.type in TRIED_ON:
        yield resolved(KEY, asked, why)


def hint_for(device: str) -> str:
    """What to try where layers cannot be compiled."""
    need = "triton, which comes with torch for GPUs on Linux" if device == "cuda" else "a C++ compiler such as g++"
    return f"torch.compile needs {need}; start a new run with train.compile=false to do without"
