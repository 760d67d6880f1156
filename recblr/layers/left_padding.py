"""Between padding on the right, as everywhere here, and padding on the left, as some published codes have it.

B batch, T time, L slots of the left-padded form, at least the longest row
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def last_step(mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B 1"]:
    """Step of each row's last event."""
    return (mask.sum(dim=1, keepdim=True) - 1).clamp(min=0)


def to_left(values: Tensor, mask: Bool[Tensor, "B T"], length: int) -> Tensor:
    """[B, T, ...] padded on the right -> [B, length, ...] padded with zeros on the left."""
    lengths = mask.sum(dim=1, keepdim=True)
    step = torch.arange(length, device=mask.device) - (length - lengths)  # [B, length]
    rows = torch.arange(len(mask), device=mask.device).unsqueeze(1)
    moved = values[rows, step.clamp(0, mask.shape[1] - 1)]
    return moved.masked_fill((step < 0).view(*step.shape, *[1] * (values.ndim - 2)), 0)


def from_left(values: Tensor, mask: Bool[Tensor, "B T"], axis: int) -> Tensor:
    """[B, ..., L, ...] padded on the left -> [B, ..., T, ...] padded with zeros on the right, along `axis`."""
    length, lengths = values.shape[axis], mask.sum(dim=1, keepdim=True)
    slot = (torch.arange(mask.shape[1], device=mask.device) + length - lengths).clamp(max=length - 1)  # [B, T]
    around = [len(mask), *[1] * (values.ndim - 1)]
    around[axis] = mask.shape[1]
    index = slot.view(around).expand(*[mask.shape[1] if n == axis else s for n, s in enumerate(values.shape)])
    return values.gather(axis, index).masked_fill(~mask.view(around), 0)
