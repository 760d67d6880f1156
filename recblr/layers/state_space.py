"""What state-space mixers share: how their steps start, and the record of a state of many numbers a channel.

B batch, T time, C numbers of the state

state_t = exp(delta_t A) state_{t-1} + delta_t (input of t);  half-life at a step = ln 2 / (-A delta_t)
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from lrscan import linear_scan
from torch import Tensor

from recblr.layers.recorder import Record

_SHORTEST, _LONGEST, _FLOOR = 0.001, 0.1, 1e-4


def initial_step_bias(n: int) -> Float[Tensor, " n"]:
    """b such that softplus(b) is log-uniform in [.001, .1]: Mamba's own start."""
    step = torch.exp(torch.empty(n).uniform_(math.log(_SHORTEST), math.log(_LONGEST))).clamp(min=_FLOOR)
    return step + torch.log(-torch.expm1(-step))


def state_record(*, decay: Tensor, delta: Tensor, read: Tensor, entered: Tensor) -> Record:
    """Fields of `LayerTrace`, every number of the state a channel of its own.

    All are [B, T, ...] with the axes of the state and broadcast to `entered`. The write strength is delta: what enters
    is delta times the input.
    """

    def flat(value: Tensor) -> Tensor:
        return value.expand_as(entered).flatten(2)  # [B, T, C]

    steps = flat(delta)
    fields = {"decay": flat(decay), "entered": flat(entered)}
    state = linear_scan(fields["decay"], fields["entered"])
    return {**fields, "state": state, "write": steps, "delta": steps, "read": flat(read)}
