"""complex_scan in torch: an eigenvalue a channel, constant in time. Contract: `lrscan.reference`.

The eigenvalue is held as a rounded number and what rounding took away: a constant error of 6e-8 a step would add up
over the whole memory.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from lrscan.torch_backend.loops import adjoint, scan

_LANES = 16
"""Whole vectors only: see `lrscan.gates.position_free`."""


def _eigenvalue(log_nu: Tensor, theta: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """(lambda [D] in complex128, lambda rounded to dtype, the rest)."""
    exact = torch.polar(torch.exp(-torch.exp(log_nu.double())), theta.double())
    rounded = exact.to(dtype)
    return exact, rounded, (exact - rounded).to(dtype)


def _whole(x: Tensor) -> Tensor:
    return pad(x, (0, spare)) if (spare := -x.shape[-1] % _LANES) else x


def _maybe_whole(x: Tensor | None) -> Tensor | None:
    return None if x is None else _whole(x)


def complex_forward(
    u: Tensor,
    log_nu: Tensor,
    theta: Tensor,
    h0: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    channels = u.shape[-1]
    _, a, rest = _eigenvalue(log_nu, theta, u.dtype)
    h, last = scan(_whole(a), _whole(u), _maybe_whole(h0), cu, reset, reverse, _whole(rest))
    return h[..., :channels].contiguous(), last[..., :channels].contiguous()


def complex_backward(
    log_nu: Tensor,
    theta: Tensor,
    h: Tensor,
    h0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """With w = lambda conj(sum of v conj(h_{t-1})): dlog_nu = -nu Re(w), dtheta = -Im(w)."""
    exact, a, rest = _eigenvalue(log_nu, theta, h.dtype)
    a, rest = a.conj().resolve_conj(), rest.conj().resolve_conj()
    found = adjoint(a, h, h0, g, g_last, cu, reset, reverse, rest)
    over = (found.v * found.before.conj()).reshape(-1, h.shape[-1])
    d_eigenvalue = torch.complex(*(over_part.sum(0, dtype=torch.float64) for over_part in (over.real, over.imag)))
    turned = d_eigenvalue.conj() * exact  # [D]
    return found.v, -torch.exp(log_nu.double()) * turned.real, -turned.imag, found.dh0
