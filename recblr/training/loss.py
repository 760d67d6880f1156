"""Cross-entropy over the full catalogue, a chunk of logits at a time.

    N targets, d model width, V classes

    loss = sum_n s_n [ logsumexp_v(h_n w_v + c_v) - (h_n w_y + c_y) ],  the shares s sum to 1

The [N, V] logits of a batch would be written, read and differentiated through memory several times. Here a chunk
that fits the cache becomes logits, probabilities and both gradients before the next one starts; nothing of size N x V
is kept.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK_BYTES = 1 << 22
_CHUNK_BYTES_GPU = 1 << 28
_LOG2_E = math.log2(math.e)
"""Logits are taken to base 2: torch's exp2 is three times as fast as its exp on a CPU."""


def _no_overflow(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether exponentials of all logits, and their sums, are safe in float32 without taking off the largest first."""
    if len(hidden) == 0:
        return True
    largest = torch.linalg.vector_norm(hidden.float(), dim=1).max() * torch.linalg.vector_norm(weight, dim=1).max()
    largest = largest if bias is None else largest + bias.abs().max()
    return bool(largest < 80 - math.log(len(weight)))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, where the probabilities are at hand.

    Of a chunk's logits only their exponentials e are kept: with m_n = sum_v e_nv, both gradients are products with e
    whose small side is scaled, so no pass over [rows, V] is spent on dividing or on subtracting the targets.

        d h_n = s_n (e_n W / m_n - w_y),   d W = e^T (s h / m) - scatter_y(s h)
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        shares: Tensor,
        banned: Tensor | None,
        smoothing: float,
    ) -> Tensor:
        classes = len(weight)
        budget = _CHUNK_BYTES if hidden.device.type == "cpu" else _CHUNK_BYTES_GPU
        rows = max(budget // (4 * classes), 32)
        wide, far = weight.float(), None if bias is None else bias.float()
        d_hidden, d_weight = torch.empty_like(hidden, dtype=torch.float32), torch.zeros_like(wide)
        d_bias = None if far is None else torch.zeros_like(far)
        total = hidden.new_zeros((), dtype=torch.float64)
        mean_weight, mean_bias = wide.mean(0), 0.0 if far is None else far.mean()
        safe = _no_overflow(hidden, wide, far)
        shift = None if far is None else far * _LOG2_E
        room = wide.new_empty(min(rows, len(hidden)), classes)
        for at in range(0, len(hidden), rows):
            part = slice(at, at + rows)
            h, y, share = hidden[part].float(), targets[part], shares[part, None]
            z = torch.mm(h * _LOG2_E, wide.T, out=room[: len(h)])  # [rows, V], to base 2
            z = z if shift is None else z.add_(shift)
            chosen = z.gather(1, y[:, None])
            if banned is not None:
                z.scatter_(1, banned[part], -torch.inf).scatter_(1, y[:, None], chosen)
            top = torch.zeros_like(chosen) if safe else z.amax(1, keepdim=True)
            mass = (z if safe else z.sub_(top)).exp2_().sum(1, keepdim=True)
            aim = (1 - smoothing) * chosen / _LOG2_E + smoothing * ((h @ mean_weight)[:, None] + mean_bias)
            total += (share * (mass.log() + top / _LOG2_E - aim)).sum()
            scale = share / mass
            pull = (1 - smoothing) * wide[y] + smoothing * mean_weight
            d_hidden[part] = torch.mm(z, wide).mul_(scale).sub_(share * pull)
            d_weight.addmm_(z.T, h * scale).index_add_(0, y, h * share, alpha=smoothing - 1)
            if d_bias is not None:
                d_bias.addmv_(z.T, scale[:, 0]).index_add_(0, y, share[:, 0], alpha=smoothing - 1)
        if smoothing:
            d_weight -= smoothing / classes * (shares @ hidden.float())
            d_bias = None if d_bias is None else d_bias - smoothing / classes * shares.sum()
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        ctx.dtypes = hidden.dtype, weight.dtype
        return total.to(torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        return (
            (g * d_hidden).to(ctx.dtypes[0]),
            (g * d_weight).to(ctx.dtypes[1]),
            None if d_bias is None else g * d_bias,
            None,
            None,
            None,
            None,
        )


def cross_entropy(
    hidden: Float[Tensor, "N d"],
    weight: Float[Tensor, "V d"],
    bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " N"],
    *,
    weights: Float[Tensor, " N"] | None = None,
    banned: Int[Tensor, "N S"] | None = None,
    pad_class: bool = False,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean loss of `targets` (internal ids, 1..V-1), weighted; without `pad_class`, row 0 is no class.

    `banned` names items that are no classes for a target, 0 for none; a target itself is never banned. Raises
    ValueError for `banned` with label smoothing, which would ask for the banned.
    """
    if banned is not None:
        if label_smoothing:
            raise ValueError("label_smoothing spreads the target over all items, banned ones too: choose one")
        banned = torch.where(banned > 0, banned, targets.unsqueeze(1))
    if not pad_class:
        weight, bias, targets = weight[1:], None if bias is None else bias[1:], targets - 1
        banned = None if banned is None else banned - 1
    if weights is None:
        weights = torch.ones(len(targets), device=hidden.device)
    shares = weights / weights.sum()
    loss: Tensor = _ChunkedCrossEntropy.apply(hidden, weight, bias, targets, shares, banned, label_smoothing)  # type: ignore[no-untyped-call]
    return loss
