"""What state-space mixers share: how their steps start, and the record of a state of many numbers a channel.

state_t = exp(delta_t A) state_{t-1} + delta_t (input of t);  half-life at a step = ln 2 / (-A delta_t)
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from recblr.layers.recorder import Record

_SHORTEST, _LONGEST, _FLOOR = 0.001, 0.1, 1e-4


def initial_step_bias(n: int) -> Float[Tensor, " n"]:
    """b such that softplus(b) is log-uniform in [.001, .1]: Mamba's own start."""
    step = torch.exp(torch.empty(n).uniform_(math.log(_SHORTEST), math.log(_LONGEST))).clamp(min=_FLOOR)
    return step + torch.log(-torch.expm1(-step))


def state_record(
    *, decay: Tensor, delta: Tensor, values: Tensor, keys: Tensor, gate: Tensor, queries: Tensor
) -> Record:
    """The factors of a matrix state (`recblr.matrix_trace`), whose write strength is delta.

    decay [B, T, H, P or 1, N or 1]; delta [B, T, H]; values and gate [B, T, H, P]; keys and queries [B, T, G, N]. What
    enters is delta values keys^T.
    """
    steps = delta[..., None, None]
    return {
        "decay": decay,
        "write": steps,
        "delta": steps,
        "values": steps * values.unsqueeze(-1),
        "keys": keys.unsqueeze(-2),
        "gate": gate.unsqueeze(-1),
        "queries": queries.unsqueeze(-2),
    }
