"""The gates of the fused recurrences, written once: from pre-activations to decay and write strength.

BD-LRU (RecBLR, arXiv 2406.12580, eq. 6 to 9):

    u_t = c * softplus(lam) * sigmoid(r_t)      a_t = exp(-u_t)
    beta_t = sqrt(1 - a_t^2 + eps)              b_t = beta_t * sigmoid(i_t) * x_t

1 - a^2 is computed as -expm1(-2u): the difference of two floats near 1 loses 3e-5 of beta at r = 0 and 0.6 at r = -12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

KINDS = ("bdlru",)


class Gates(NamedTuple):
    """All [..., D] in the accumulation dtype."""

    decay: Tensor
    """a in (0, 1]"""
    write: Tensor
    """beta * sigmoid(i): what multiplies x"""
    beta: Tensor
    input_gate: Tensor
    """sigmoid(i)"""
    recurrence_gate: Tensor
    """sigmoid(r)"""
    rate: Tensor
    """[D] c * softplus(lam)"""


_LANES = 64
_GRAIN = 32768
"""torch's CPU loops split work over threads in pieces of at least this many elements."""


def position_free(function: Callable[..., Tensor], x: Tensor) -> Tensor:
    """`function` elementwise on x, with bits that depend on each value alone and not on where it stands.

    torch's CPU loops compute what is left of a vector at the end of a thread's piece by another exponential than the
    vectors before it. Splitting a sequence would then change its last bit; so every piece is made of whole vectors.
    """
    if x.device.type != "cpu":
        return function(x)
    n = x.numel()
    pieces = min(torch.get_num_threads(), -(-n // _GRAIN)) if n >= _GRAIN else 1
    whole = _LANES * pieces
    if n % whole == 0 and x.is_contiguous():
        return function(x)
    padded = x.new_zeros(-(-n // whole) * whole)
    padded[:n].view(x.shape).copy_(x)
    return function(padded)[:n].view(x.shape)


def bdlru(r: Tensor, i: Tensor, lam: Tensor, c: float, eps: float) -> Gates:
    """r, i: [..., D]; lam: [D]."""
    rate = c * softplus(lam)  # [D]
    recurrence_gate = position_free(torch.sigmoid, r)
    u = rate * recurrence_gate
    decay = position_free(torch.exp, -u)
    beta = torch.sqrt(eps - position_free(torch.expm1, -2.0 * u))
    input_gate = position_free(torch.sigmoid, i)
    return Gates(decay, beta * input_gate, beta, input_gate, recurrence_gate, rate)


def bdlru_backward(
    gates: Gates, x: Tensor, r: Tensor, i: Tensor, lam: Tensor, db: Tensor, da: Tensor, c: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(dx, dr, di, dlam) from the gradients of b and a. dr, di: [..., D]; dlam: [D].

    d beta / du = a^2 / beta is infinite at u = 0, but always meets sigmoid(r), and sigmoid(r) / beta -> 0.
    1 - sigmoid(r) is computed as sigmoid(-r), which keeps its digits at r = 12.
    """
    a, write, beta, si, sr, rate = gates
    dx = db * write
    di = db * x * write * torch.sigmoid(-i)
    sr_over_beta = torch.where(beta > 0, sr / beta, 0.0)
    dsr_part = a * (a * (db * si * x) * sr_over_beta - da * sr)  # = du * sigmoid(r)
    dr = dsr_part * rate * torch.sigmoid(-r)
    dlam = dsr_part.reshape(-1, dsr_part.shape[-1]).sum(0) * c * torch.sigmoid(lam)
    return dx, dr, di, dlam
