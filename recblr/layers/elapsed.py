"""Time between events in whole seconds, int64 throughout: 32-bit floats hold unix seconds to the nearest 128.

B batch, T time of the reader, S time of the source
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

_FARTHEST = 2**61
NEVER = 2**62
"""A gap that is not there."""


def bounded(times: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """Times within 7e10 years of 1970, so that no difference overflows."""
    return times.clamp(-_FARTHEST, _FARTHEST)


def elapsed(times: Int[Tensor, "B T"], earlier: Int[Tensor, "B S"]) -> Int[Tensor, "B T S"]:
    """|times_t - earlier_s|: a source that is dated after its reader counts as far as it lies ahead."""
    return (bounded(times).unsqueeze(2) - bounded(earlier).unsqueeze(1)).abs()


def smallest_gap(times: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Smallest gap above zero between neighbours among the events 0..t, `NEVER` before there is one."""
    neighbours = bounded(times).diff(dim=1).abs()
    gaps = torch.where(neighbours > 0, neighbours, NEVER)
    first = torch.full_like(times[:, :1], NEVER)
    return torch.cat([first, gaps], dim=1).cummin(dim=1).values


def visible_pairs(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T T"]:
    """Reader t sees source s: s is no later than t, and not padding."""
    steps = mask.shape[1]
    past = torch.ones(steps, steps, dtype=torch.bool, device=mask.device).tril()
    return past & mask.unsqueeze(1)
