"""The oracle: one short sequential loop an operator, in float64, differentiable by autograd, for any device.

Slow on purpose; every other backend is tested against it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import softplus


def unavailable() -> str | None:
    return None


def supports(operator: str, sample: Tensor) -> bool:
    return True


def _loop(a: Tensor, b: Tensor, h0: Tensor | None, reset: Tensor | None, reverse: bool) -> tuple[Tensor, Tensor]:
    """h_t = a_t * h_{t-1} + b_t over dim 1 of [B, T, D]."""
    h = torch.zeros_like(b[:, 0]) if h0 is None else h0.to(b.dtype)
    steps: dict[int, Tensor] = {}
    a_steps, b_steps = a.unbind(1), b.unbind(1)
    for t in reversed(range(b.shape[1])) if reverse else range(b.shape[1]):
        if reset is not None:
            h = torch.where(reset[:, t, None], torch.zeros_like(h), h)
        h = a_steps[t] * h + b_steps[t]
        steps[t] = h
    return torch.stack([steps[t] for t in range(b.shape[1])], dim=1), h


def _scan(
    a: Tensor, b: Tensor, h0: Tensor | None, cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    if cu_seqlens is None:
        return _loop(a, b, h0, reset, reverse)
    bounds = cu_seqlens.tolist()
    h, last = [], []
    for s, (start, end) in enumerate(pairwise(bounds)):
        first = None if h0 is None else h0[s : s + 1]
        if start == end:
            last.append(torch.zeros_like(b[:1]) if first is None else first.to(b.dtype))
            continue
        cut = None if reset is None else reset[None, start:end]
        one, state = _loop(a[None, start:end], b[None, start:end], first, cut, reverse)
        h.append(one[0])
        last.append(state)
    h.append(torch.zeros_like(b[bounds[-1] :]))
    return torch.cat(h), torch.cat(last)


def linear_scan(
    a: Tensor, b: Tensor, h0: Tensor | None, cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    h, last = _scan(a.double(), b.double(), None if h0 is None else h0.double(), cu_seqlens, reset, reverse)
    return h.to(b.dtype), last.to(b.dtype)


def gated_scan(
    x: Tensor,
    r: Tensor,
    i: Tensor,
    lam: Tensor,
    h0: Tensor | None,
    kind: str,
    c: float,
    eps: float,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    u = c * softplus(lam.double()) * torch.sigmoid(r.double())
    beta = torch.sqrt(-torch.expm1(-2 * u) + eps)
    b = beta * torch.sigmoid(i.double()) * x.double()
    h, last = _scan(torch.exp(-u), b, None if h0 is None else h0.double(), cu_seqlens, reset, reverse)
    return h.to(x.dtype), last.to(x.dtype)


def complex_scan(
    u: Tensor,
    log_nu: Tensor,
    theta: Tensor,
    h0: Tensor | None,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    nu, angle = torch.exp(log_nu.double()), theta.double()
    eigenvalue = torch.polar(torch.exp(-nu), angle).expand_as(u)
    wide = torch.complex128
    h, last = _scan(eigenvalue, u.to(wide), None if h0 is None else h0.to(wide), cu_seqlens, reset, reverse)
    return h.to(u.dtype), last.to(u.dtype)
