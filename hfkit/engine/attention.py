"""Attention over packed rows, registered with transformers as `hfkit_packed`: each token sees its own sequence only.

transformers hands `cu_seq_lens_q` from a model's call through to here. Given `position_ids` alone, BERT under sdpa lets
every token see the whole row, and says nothing; here a batch without the boundaries is refused.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface

from hfkit.engine.cpu import attention as cpu
from hfkit.engine.cpu.attention import Pattern

NAME = "hfkit_packed"
AGREED = ((False, None), (True, None), (False, 5))  # causal, window
_varlen_works: dict[torch.device, bool] = {}  # what `look_for_varlen` found


def register() -> None:
    """Make the name known to transformers; done once, harmless when repeated."""
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, no_mask)


def no_mask(*_: Any, attention_mask: torch.Tensor | None = None, **__: Any) -> None:
    """A packed row needs no mask. Raises ValueError for a padded batch, whose pads would be attended to.

    Looks at the shape alone: looking into the mask would wait for the device.
    """
    if attention_mask is not None and attention_mask.shape[0] != 1:
        raise ValueError(f"{NAME} takes one packed row, not a padded batch of {attention_mask.shape[0]}")


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """(1, tokens, heads, size) from query, key, value (1, heads, tokens, size).

    Raises ValueError without the boundaries of the sequences, or for more than one row.
    """
    if cu_seq_lens_q is None or max_length_q is None or query.shape[0] != 1 or attention_mask is not None:
        raise ValueError(f"{NAME} takes one packed row with cu_seq_lens_q and max_length_q, and no mask")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    pattern = Pattern(scaling, bool(getattr(module, "is_causal", False)), _window(module), dropout)
    q, k, v = (_same(x, value).squeeze(0).transpose(0, 1) for x in (query, key, value))
    if q.device.type == "cpu" and not torch.compiler.is_compiling():  # lengths as numbers are not known then
        out = cpu.attention(q, k, v, cu_seq_lens_q.diff().tolist(), pattern)
    elif not dropout and q.dtype != torch.float32 and _varlen_works.get(q.device):
        out = _varlen(q, k, v, cu_seq_lens_q, max_length_q, pattern)
    else:
        out = _padded(q, k, v, cu_seq_lens_q, max_length_q, pattern)
    return out[None], None


def _same(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Rotary embeddings leave query and key in float32."""
    return values if values.dtype == like.dtype else values.to(like.dtype)


def _window(module: nn.Module) -> int | None:
    """How far a token sees to each side. Modules hold one more, as flash attention counts."""
    window = getattr(module, "sliding_window", None)
    return None if window is None else int(window) - 1


def look_for_varlen(device: torch.device) -> bool:
    """Whether torch's variable-length attention works: it needs compute capability 8.0, and torch 2.11.

    Looked up once, where a model is packed: not in a pass, whose tensors may be watched to be computed again, nor in a
    compiled layer, which can read the answer, but not find it. It is taken only where it gives what padded attention
    gives; warns where it does not.
    """
    device = torch.empty(0, device=device).device  # with its number, as tensors have it
    if device not in _varlen_works:
        _varlen_works[device] = device.type == "cuda" and _has_varlen(device) and _varlen_agrees(device)
    return _varlen_works[device]


def _has_varlen(device: torch.device) -> bool:
    if torch.version.hip or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"scale", "window_size"} <= set(inspect.signature(varlen_attn).parameters)


def _varlen_agrees(device: torch.device) -> bool:
    """Whether outputs and gradients are those of padded attention, on a small case of each pattern of families here."""
    draw = torch.Generator(device).manual_seed(0)  # training's own draws stay as they are
    try:
        with torch.inference_mode(False), torch.enable_grad():
            boundaries = torch.tensor([0, 3, 20, 60], dtype=torch.int32, device=device)
            case = [torch.randn(60, 2, 64, device=device, generator=draw) for _ in range(4)]
            for pattern in (Pattern(0.1, causal, window, 0.0) for causal, window in AGREED):
                found = []
                for attend, dtype in ((_varlen, torch.bfloat16), (_padded, torch.float32)):
                    q, k, v = (values.to(dtype, copy=True).requires_grad_() for values in case[:3])
                    out = attend(q, k, v, boundaries, 40, pattern)
                    (out.float() * case[3]).sum().backward()
                    found.append([out.detach().float(), *(values.grad.float() for values in (q, k, v))])
                if not all(torch.allclose(a, b, rtol=0.05, atol=0.05) for a, b in zip(*found, strict=True)):
                    raise RuntimeError("its results differ")
    except (RuntimeError, TypeError, ValueError) as error:
        warnings.warn(f"torch's variable-length attention is not taken: {error}", RuntimeWarning, stacklevel=2)
        return False
    return True


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    boundaries: torch.Tensor,
    longest: int,
    pattern: Pattern,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    reach = -1 if pattern.window is None else pattern.window
    out: Any = varlen_attn(
        query, key, value, boundaries, boundaries, longest, longest,
        scale=pattern.scaling, window_size=(reach, 0 if pattern.causal else reach),
    )  # fmt: skip
    return out


def _padded(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    boundaries: torch.Tensor,
    longest: int,
    pattern: Pattern,
) -> torch.Tensor:
    """The sequences side by side for this one product: older GPUs, float32, dropout of attention, mps."""
    lengths = boundaries.diff()
    place = torch.arange(longest, device=query.device)
    real = place[None, :] < lengths[:, None]  # (sequences, longest)
    # A place of the grid -> its token; those past a sequence's end point at some other token and are never seen.
    token = (boundaries[:-1, None] + place[None, :]).clamp(max=query.shape[0] - 1)
    ahead = place[None, :] - place[:, None]
    seen = real[:, None, None, :]
    if pattern.causal:
        seen = seen & (ahead <= 0)
    if pattern.window is not None:
        seen = seen & (ahead.abs() <= pattern.window)
    q, k, v = (x[token].transpose(1, 2) for x in (query, key, value))
    # Rows past the end see something, or their softmax is not a number and so is its gradient.
    seen = seen | ~real[:, None, :, None]
    out = nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=seen, dropout_p=pattern.dropout, scale=pattern.scaling
    )
    sequence = torch.repeat_interleave(lengths, output_size=query.shape[0])
    rank = torch.arange(query.shape[0], device=query.device) - boundaries[sequence]
    return out.transpose(1, 2)[sequence, rank]
