"""The mean of several models' weights: one model of the same size (a "model soup", Wortsman et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfkit.errors import ModelError
from hfkit.files import sha256_of
from hfkit.models.checkpoint import Checkpoint
from hfkit.models.load import load_model
from hfkit.models.tokenizer import load_config, load_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hfkit.tasks.base import Head

# keys of a config that no weight depends on; dropouts do not concern it either
OF_NO_CONCERN = frozenset(
    {"architectures", "dtype", "initializer_factor", "initializer_range", "problem_type", "torch_dtype"}
    | {"transformers_version", "use_cache"}
)
HALVES = ("bfloat16", "float16")
SHOWN = 5  # keys that differ, in a message


def check_alike(members: Sequence[Checkpoint], head: Head) -> PreTrainedTokenizerBase:
    """The tokenizer of all members. Raises ModelError unless their configs and tokenizers say the same.

    A config may differ in dropouts, which no weight depends on. Labels must be the same in the same order.
    """
    first, *others = members
    config, tokenizer = _telling(first), load_tokenizer(first, head)
    encodes = _encodes(first, tokenizer)
    for other in others:
        theirs = _telling(other)
        if odd := [key for key in sorted({*config, *theirs}) if config.get(key) != theirs.get(key)]:
            shown = "; ".join(f"{key} {config.get(key)!r:.60} and {theirs.get(key)!r:.60}" for key in odd[:SHOWN])
            raise ModelError(
                f"{first.name} and {other.name} are not of one shape: {shown}",
                "average runs of one model; `hfkit ensemble RUN RUN -o DIR` averages answers, of others too",
            )
        if _encodes(other, load_tokenizer(other, head)) != encodes:
            raise ModelError(
                f"{first.name} and {other.name} have different tokenizers, so their embeddings mean other words",
                "average runs of one model; `hfkit ensemble RUN RUN -o DIR` averages answers, of others too",
            )
    return tokenizer


def mean_of(
    members: Sequence[Checkpoint], head: Head, *, model_config: Mapping[str, Any]
) -> tuple[PreTrainedModel, list[float]]:
    """The first member's model with the mean of all members' parameters; how near each is to the first.

    Nearness is the cosine of the angle between all matrices of a member and of the first (not biases and norms, which
    begin alike everywhere). Runs that began from one model have one near 1, models that did not near 0, and their mean
    knows nothing. The mean is taken in float32, and is of a half precision where all members are. Two models and the
    sum are held, however many members there are. Raises ModelError as loading does, and for weights that do not go
    together.
    """
    import torch

    model, _ = load_model(members[0], head, model_config=model_config, fresh_head="refuse")
    weights = dict(model.named_parameters())
    total = {name: weight.detach().clone() for name, weight in weights.items()}
    nearness = [1.0]
    for member in members[1:]:
        other, _ = load_model(member, head, model_config=model_config, fresh_head="refuse")
        theirs = dict(other.named_parameters())
        _check_fit(members[0], member, weights, theirs)
        nearness.append(_cosine(weights, theirs))
        for name, weight in theirs.items():
            total[name] += weight.detach()
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(total[name] / len(members))
    kinds = {str(member.config.get("dtype") or member.config.get("torch_dtype")) for member in members}
    if len(kinds) == 1 and kinds <= {*HALVES}:
        model.to(getattr(torch, kinds.pop()))
    return model, nearness


def _telling(member: Checkpoint) -> dict[str, Any]:
    """What a member's config says of the weights' shapes and of how they are used, defaults filled in."""
    found = load_config(member).to_dict()
    return {
        key: value
        for key, value in found.items()
        if key not in OF_NO_CONCERN and not key.startswith("_") and "drop" not in key
    }


def _encodes(member: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> str:
    """All that decides which numbers a text becomes."""
    if tokenizer.is_fast:
        return str(tokenizer.backend_tokenizer.to_str())
    assert member.folder is not None  # a model that is averaged has weights
    pieces = [sha256_of(path) for kind in ("*.spm", "*.model") for path in sorted(member.folder.glob(kind))]
    return repr((sorted(tokenizer.get_vocab().items()), pieces))


def _check_fit(
    first: Checkpoint, member: Checkpoint, mine: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]
) -> None:
    """Raise ModelError unless both have the same tensors in the same shapes."""
    shapes, others = ({name: tuple(weight.shape) for name, weight in each.items()} for each in (mine, theirs))
    if odd := sorted(name for name in {*shapes, *others} if shapes.get(name) != others.get(name)):
        raise ModelError(
            f"{first.name} and {member.name} differ in {len(odd)} weights, first {odd[0]}: {shapes.get(odd[0])} and "
            f"{others.get(odd[0])}",
            "average runs of one model",
        )


def _cosine(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """The cosine of the angle between the matrices of two sets of weights, each taken as one vector."""
    product = mine = theirs = 0.0
    for name, weight in one.items():
        if weight.dim() < 2:
            continue
        left, right = weight.detach().double().flatten(), other[name].detach().double().flatten()
        product += float(left @ right)
        mine += float(left @ left)
        theirs += float(right @ right)
    return product / ((mine * theirs) ** 0.5 or 1.0)
