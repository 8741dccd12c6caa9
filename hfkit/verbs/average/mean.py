"""The mean of models as a folder that loads like each of them: weights, config, tokenizer, hfkit.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.events import Event, warning
from hfkit.machine import versions
from hfkit.models import save_model
from hfkit.verbs.average.members import Member

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AVERAGE_OF = "average_of"  # key of hfkit.json: the names of the models, as given
NEAR = 0.9  # cosine of two models' matrices: above 0.99 for runs that began from one, near 0 for those that did not


def write_mean(members: Sequence[Member], tokenizer: PreTrainedTokenizerBase, folder: Path) -> list[float]:
    """Write the mean of `members` as the new folder `folder`; returns how near each is to the first.

    Raises ModelError and ResourceError.
    """
    from hfkit.models.mean import mean_of

    # labels are in the members' own configs, which are the same
    model, nearness = mean_of([member.found for member in members], members[0].task.head, model_config={})
    save_model(model, tokenizer, folder, saved_of(members))
    return nearness


def saved_of(members: Sequence[Member]) -> dict[str, Any]:
    """The content of the mean's hfkit.json: the first member's settings, and what all began from."""
    first = members[0]
    settings, saved = first.task.settings, first.found.saved or {}
    bases = {(member.found.saved or {}).get("base_model") for member in members}
    return {
        "hfkit": versions().get("hfkit"),
        "task": first.task_name,
        "settings": settings.model_dump(mode="json", exclude=settings.on_request),
        **({"base_model": bases.pop()} if len(bases) == 1 and None not in bases else {}),
        **({"generate": saved["generate"]} if "generate" in saved else {}),
        AVERAGE_OF: [member.name for member in members],
    }


def doubts(members: Sequence[Member], nearness: Sequence[float]) -> Iterator[Event]:
    """A warning of members whose weights are not near the first one's."""
    far = [f"{member.name} ({near:.2f})" for member, near in zip(members, nearness, strict=True) if near < NEAR]
    if far:
        yield warning(
            f"far from {members[0].name} by the cosine of their weights: {', '.join(far)}. Models that did not begin "
            "from one have a mean that knows nothing: score it before it is used"
        )
