"""The gates of the fused recurrences, written once: from pre-activations to decay a and write strength b / x.

BD-LRU (RecBLR, arXiv 2406.12580, eq. 6 to 9) and RG-LRU (Griffin, arXiv 2402.19427, eq. 1 to 4), which differ in the
sign of lam:

    u_t = c * softplus(lam) * sigmoid(r_t)      a_t = exp(-u_t)
    beta_t = sqrt(1 - a_t^2 + eps)              b_t = beta_t * sigmoid(i_t) * x_t

minGRU (arXiv 2410.01201, eq. 5):              a_t = 1 - sigmoid(r_t)                   b_t = sigmoid(r_t) * x_t
HGRN (arXiv 2311.04823, eq. 3; lam in [0, 1)): a_t = lam + (1 - lam) * sigmoid(r_t)     b_t = (1 - a_t) * x_t

1 - a^2 is computed as -expm1(-2u): the difference of two floats near 1 loses 3e-5 of beta at r = 0 and 0.6 at r = -12.
1 - sigmoid(r) is computed as sigmoid(-r), which keeps its digits at r = 12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

KINDS = ("bdlru", "rglru", "mingru", "hgrn")
WITH_INPUT_GATE = ("bdlru", "rglru")
WITH_BOUND = ("bdlru", "rglru", "hgrn")
"""Kinds that take lam."""


class Gates(NamedTuple):
    """All [..., D] in the accumulation dtype."""

    decay: Tensor
    """a in [0, 1]"""
    write: Tensor
    """what multiplies x; in BD-LRU and RG-LRU beta * sigmoid(i)"""
    beta: Tensor
    """where there is no beta, the write strength"""
    input_gate: Tensor
    """sigmoid(i); where there is no i, the write strength"""
    recurrence_gate: Tensor
    """sigmoid(r)"""
    rate: Tensor
    """[D] c * softplus(lam) of BD-LRU, c * softplus(-lam) of RG-LRU, 1 - lam of HGRN, [] 1 of minGRU"""


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


def gates(kind: str, r: Tensor, i: Tensor | None, lam: Tensor | None, c: float, eps: float) -> Gates:
    """The gates of any kind. r, i: [..., D]; lam: [D]."""
    if kind in WITH_INPUT_GATE:
        assert i is not None
        assert lam is not None
        return bdlru(r, i, lam if kind == "bdlru" else -lam, c, eps)
    open_, shut = position_free(torch.sigmoid, r), position_free(torch.sigmoid, -r)
    if kind == "mingru":
        return Gates(shut, open_, open_, open_, open_, r.new_ones(()))
    assert lam is not None
    rate = 1 - lam
    write = rate * shut
    return Gates(lam + rate * open_, write, write, write, open_, rate)


def gates_backward(
    kind: str,
    of: Gates,
    x: Tensor,
    r: Tensor,
    i: Tensor | None,
    lam: Tensor | None,
    db: Tensor,
    da: Tensor,
    c: float,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """(dx, dr, di, dlam) from the gradients of b and a. dr, di: [..., D]; dlam: [D]."""
    if kind in WITH_INPUT_GATE:
        assert i is not None
        assert lam is not None
        return _bdlru_backward(
            of, x, r, i, lam if kind == "bdlru" else -lam, db, da, c, 1.0 if kind == "bdlru" else -1.0
        )
    dx, shut = db * of.write, torch.sigmoid(-r)
    if kind == "mingru":
        return dx, (db * x - da) * (of.recurrence_gate * shut), None, None
    dlam_part = (da - db * x) * shut
    return dx, dlam_part * (of.rate * of.recurrence_gate), None, _over_events(dlam_part)


def _over_events(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).sum(0)


def _bdlru_backward(
    of: Gates, x: Tensor, r: Tensor, i: Tensor, lam: Tensor, db: Tensor, da: Tensor, c: float, sign: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """d beta / du = a^2 / beta is infinite at u = 0, but always meets sigmoid(r), and sigmoid(r) / beta -> 0."""
    a, write, beta, si, sr, rate = of
    dx = db * write
    di = db * x * write * torch.sigmoid(-i)
    sr_over_beta = torch.where(beta > 0, sr / beta, 0.0)
    dsr_part = a * (a * (db * si * x) * sr_over_beta - da * sr)  # = du * sigmoid(r)
    dr = dsr_part * rate * torch.sigmoid(-r)
    return dx, dr, di, _over_events(dsr_part) * (sign * c) * torch.sigmoid(lam)
