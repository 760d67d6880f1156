"""Cross-entropy over the full catalogue, a chunk of logits at a time.

    N targets, d model width, V classes

    loss = sum_n s_n [ logsumexp_v(h_n w_v + c_v) - (h_n w_y + c_y) ],  the shares s sum to 1

The [N, V] logits of a batch would be written, read and differentiated through memory several times. Here a chunk
that fits the cache becomes logits, probabilities and both gradients before the next one starts; nothing of size N x V
is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK_BYTES = 1 << 20
_CHUNK_BYTES_GPU = 1 << 28


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, where the probabilities are at hand."""

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
        n, classes = len(hidden), len(weight)
        budget = _CHUNK_BYTES if hidden.device.type == "cpu" else _CHUNK_BYTES_GPU
        rows = max(budget // (4 * classes), 32)
        wide = weight.float()
        d_hidden, d_weight = torch.empty_like(hidden, dtype=torch.float32), torch.zeros_like(wide)
        d_bias = None if bias is None else torch.zeros_like(bias)
        total = hidden.new_zeros((), dtype=torch.float64)
        for at in range(0, n, rows):
            h, y, share = hidden[at : at + rows].float(), targets[at : at + rows, None], shares[at : at + rows, None]
            z = h @ wide.T if bias is None else torch.addmm(bias, h, wide.T)  # [rows, V]
            chosen = z.gather(1, y)
            if smoothing:
                chosen = (1 - smoothing) * chosen + smoothing * z.mean(1, keepdim=True)
            elif banned is not None:
                z.scatter_(1, banned[at : at + rows], -torch.inf).scatter_(1, y, chosen)
            top = z.amax(1, keepdim=True)
            mass = z.sub_(top).exp_().sum(1, keepdim=True)
            total += (share * (mass.log() + top - chosen)).sum()
            z.mul_(share / mass)
            if smoothing:
                z.sub_(share * (smoothing / classes))
            z.scatter_add_(1, y, share * (smoothing - 1))
            torch.mm(z, wide, out=d_hidden[at : at + rows])
            d_weight.addmm_(z.T, h)
            if d_bias is not None:
                d_bias += z.sum(0)
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
