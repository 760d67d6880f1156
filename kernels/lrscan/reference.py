"""The oracle: one short sequential loop an operator, in float64, on any device; gradients by autograd of the loop.

Slow on purpose; every other backend is tested against it, and its functions are the contract that they fulfil:
forward functions return the output and the state after the last step of each sequence, backward functions the
gradients of the floating inputs in their order. Nothing returned shares memory with an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

Maybe = Tensor | None


def unavailable() -> str | None:
    return None


def supports(operator: str, sample: Tensor) -> bool:
    return True


def _wide(x: Maybe) -> Maybe:
    """float64, or complex128."""
    return None if x is None else x.to(torch.complex128 if x.is_complex() else torch.float64)


def _loop(a: Tensor, b: Tensor, h0: Maybe, reset: Maybe, reverse: bool) -> tuple[Tensor, Tensor]:
    """h_t = a_t * h_{t-1} + b_t over dim 1 of [B, T, ...]; reset: [B, T]."""
    h = torch.zeros_like(b[:, 0]) if h0 is None else h0
    steps: dict[int, Tensor] = {}
    a_steps, b_steps = a.unbind(1), b.unbind(1)
    for t in reversed(range(b.shape[1])) if reverse else range(b.shape[1]):
        if reset is not None:
            h = torch.where(reset[:, t].view(-1, *[1] * (h.dim() - 1)), torch.zeros_like(h), h)
        h = a_steps[t] * h + b_steps[t]
        steps[t] = h
    return torch.stack([steps[t] for t in range(b.shape[1])], dim=1), h


def _scan(a: Tensor, b: Tensor, h0: Maybe, cu: Maybe, reset: Maybe, reverse: bool) -> tuple[Tensor, Tensor]:
    """As `_loop`, and packed [N, ...] with cu [S+1]; rows of no sequence are zero."""
    if cu is None:
        return _loop(a, b, h0, reset, reverse)
    return _each_sequence(_loop, (a, b), b.shape[1:], h0, cu, reset, reverse)


def _each_sequence(
    loop: Callable[..., tuple[Tensor, Tensor]], given: Sequence[Tensor], state_shape: Sequence[int], h0: Maybe,
    cu: Tensor, reset: Maybe, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """A loop over each sequence of a pack: the last of `given` is like the output."""
    bounds, like = cu.tolist(), given[-1]
    h, last = [], []
    for s, (start, end) in enumerate(pairwise(bounds)):
        first = like.new_zeros(1, *state_shape) if h0 is None else h0[s : s + 1]
        if start == end:
            last.append(first)
            continue
        cut = None if reset is None else reset[None, start:end]
        one, state = loop(*(x[None, start:end] for x in given), first, cut, reverse)
        h.append(one[0])
        last.append(state)
    h.append(torch.zeros_like(like[bounds[-1] :]))
    return torch.cat(h), torch.cat(last)


def _gradients(
    run: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Maybe], g: Tensor, g_last: Maybe
) -> tuple[Any, ...]:
    """Those of (g . output) + (g_last . state) for the inputs of `run` that are not None."""
    with torch.enable_grad():
        leaves = [None if x is None else x.detach().to(_wide(x).dtype).requires_grad_() for x in inputs]  # type: ignore[union-attr]
        y, *_, last = run(*leaves)
        outputs, directions = [y], [_wide(g)]
        if g_last is not None:
            outputs, directions = [y, last], [_wide(g), _wide(g_last)]
        given = [x for x in leaves if x is not None]
        found = torch.autograd.grad(outputs, given, directions, allow_unused=True)
    rest = iter(torch.zeros_like(x) if f is None else f for f, x in zip(found, given, strict=True))
    return tuple(None if x is None else next(rest) for x in leaves)


def linear_forward(a: Tensor, b: Tensor, h0: Maybe, cu: Maybe, reset: Maybe, reverse: bool) -> tuple[Tensor, Tensor]:
    """(h like b, last [B, D])."""
    h, last = _scan(_wide(a), _wide(b), _wide(h0), cu, reset, reverse)  # type: ignore[arg-type]
    return h.to(b.dtype), last.to(b.dtype)


def linear_backward(
    a: Tensor, h: Tensor, h0: Maybe, g: Tensor, g_last: Maybe, cu: Maybe, reset: Maybe, reverse: bool
) -> tuple[Tensor, Tensor, Maybe]:
    """(da, db, dh0); h is linear in b, which is found again from it."""
    before = _previous(_wide(h), _wide(h0), cu, reset, reverse)  # type: ignore[arg-type]
    b = _wide(h) - a.double() * before  # type: ignore[operator]
    return _gradients(lambda *v: _scan(v[0], v[1], v[2], cu, reset, reverse), (a, b, h0), g, g_last)


def _previous(h: Tensor, h0: Maybe, cu: Maybe, reset: Maybe, reverse: bool) -> Tensor:
    """h_{t-1}, zero where a reset cut it off."""
    if cu is None:
        first = torch.zeros_like(h[:, :1]) if h0 is None else h0.unsqueeze(1)
        before = torch.cat([h[:, 1:], first] if reverse else [first, h[:, :-1]], dim=1)
    else:
        before = torch.zeros_like(h)
        for s, (start, end) in enumerate(pairwise(cu.tolist())):
            if start < end:
                one = None if h0 is None else h0[s : s + 1]
                before[start:end] = _previous(h[None, start:end], one, None, None, reverse)[0]
    return before if reset is None else torch.where(reset.unsqueeze(-1), torch.zeros_like(before), before)


def _gates(r: Tensor, i: Maybe, lam: Maybe, kind: str, c: float, eps: float) -> tuple[Tensor, Tensor]:
    """(a, what multiplies x), in float64. The kinds: `lrscan.gates`."""
    if kind == "mingru":
        return torch.sigmoid(-r), torch.sigmoid(r)
    assert lam is not None
    if kind == "hgrn":
        return lam + (1 - lam) * torch.sigmoid(r), (1 - lam) * torch.sigmoid(-r)
    assert i is not None
    u = c * softplus(lam if kind == "bdlru" else -lam) * torch.sigmoid(r)
    return torch.exp(-u), torch.sqrt(-torch.expm1(-2 * u) + eps) * torch.sigmoid(i)


def gated_forward(
    x: Tensor, r: Tensor, i: Maybe, lam: Maybe, h0: Maybe, z: Maybe, kind: str, c: float, eps: float, cu: Maybe,
    reset: Maybe, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(y = silu(z) h, or h where z is None; h; last)."""
    y, h, last = _gated(_wide(x), _wide(r), _wide(i), _wide(lam), _wide(h0), _wide(z), kind, c, eps, cu, reset, reverse)
    return y.to(x.dtype), h.to(x.dtype), last.to(x.dtype)


def _gated(
    x: Any, r: Any, i: Any, lam: Any, h0: Any, z: Any, kind: str, c: float, eps: float, *how: Any
) -> tuple[Tensor, Tensor, Tensor]:
    a, write = _gates(r, i, lam, kind, c, eps)
    h, last = _scan(a, write * x, h0, *how)
    return (h if z is None else silu(z) * h), h, last


def gated_backward(
    x: Tensor, r: Tensor, i: Maybe, lam: Maybe, h0: Maybe, z: Maybe, h: Tensor, g: Tensor, g_last: Maybe, kind: str,
    c: float, eps: float, cu: Maybe, reset: Maybe, reverse: bool,
) -> tuple[Tensor, Tensor, Maybe, Maybe, Maybe, Maybe]:  # fmt: skip
    """(dx, dr, di, dlam, dh0, dz)."""
    how = (kind, c, eps, cu, reset, reverse)
    return _gradients(lambda *leaves: _gated(*leaves, *how), (x, r, i, lam, h0, z), g, g_last)


def complex_forward(
    u: Tensor, log_nu: Tensor, theta: Tensor, h0: Maybe, cu: Maybe, reset: Maybe, reverse: bool
) -> tuple[Tensor, Tensor]:
    """(h like u, last [B, D])."""
    h, last = _complex(*map(_wide, (u, log_nu, theta, h0)), cu, reset, reverse)
    return h.to(u.dtype), last.to(u.dtype)


def _complex(u: Any, log_nu: Any, theta: Any, h0: Any, *how: Any) -> tuple[Tensor, Tensor]:
    eigenvalue = torch.polar(torch.exp(-torch.exp(log_nu)), theta).expand_as(u)
    return _scan(eigenvalue, u, h0, *how)


def complex_backward(
    log_nu: Tensor, theta: Tensor, h: Tensor, h0: Maybe, g: Tensor, g_last: Maybe, cu: Maybe, reset: Maybe,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Maybe]:  # fmt: skip
    """(du, dlog_nu, dtheta, dh0); u is found again from h."""
    wide = [_wide(v) for v in (log_nu, theta, h, h0)]
    eigenvalue = torch.polar(torch.exp(-torch.exp(wide[0])), wide[1])  # type: ignore[arg-type]
    u = wide[2] - eigenvalue * _previous(wide[2], wide[3], cu, reset, reverse)  # type: ignore[arg-type,operator]
    return _gradients(lambda *leaves: _complex(*leaves, cu, reset, reverse), (u, log_nu, theta, h0), g, g_last)


def _covered(x: Tensor, cu: Maybe) -> Tensor:
    """x with zeros in the rows of no sequence."""
    return x if cu is None else torch.cat([x[: int(cu[-1])], torch.zeros_like(x[int(cu[-1]) :])])


def ssd_forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Maybe, S0: Maybe, chunk: int, cu: Maybe, reset: Maybe,
    reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(y like x, last [B, H, P, N])."""
    y, last = _ssd(*map(_wide, (x, dt, A, B, C, D, S0)), cu, reset, reverse)
    return y.to(x.dtype), last.to(x.dtype)


def _ssd(x: Any, dt: Any, A: Any, B: Any, C: Any, D: Any, S0: Any, *how: Any) -> tuple[Tensor, Tensor]:
    copies = x.shape[-2] // B.shape[-2]
    B, C = B.repeat_interleave(copies, -2), C.repeat_interleave(copies, -2)  # [..., H, N]
    entered = (dt.unsqueeze(-1) * x).unsqueeze(-1) * B.unsqueeze(-2)  # [..., H, P, N]
    S, last = _scan(torch.exp(dt * A)[..., None, None].expand_as(entered), entered, S0, *how)
    y = (S * C.unsqueeze(-2)).sum(-1)
    return (y if D is None else y + D.unsqueeze(-1) * _covered(x, how[0])), last


def ssd_backward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Maybe, S0: Maybe, g: Tensor, g_last: Maybe, chunk: int,
    cu: Maybe, reset: Maybe, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Maybe, Maybe]:  # fmt: skip
    """(dx, ddt, dA, dB, dC, dD, dS0)."""
    return _gradients(lambda *leaves: _ssd(*leaves, cu, reset, reverse), (x, dt, A, B, C, D, S0), g, g_last)


def selective_forward(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Maybe, h0: Maybe, cu: Maybe, reset: Maybe, reverse: bool
) -> tuple[Tensor, Tensor]:
    """(y like u, last [B, D, N])."""
    y, last = _selective(*map(_wide, (u, dt, A, B, C, D, h0)), cu, reset, reverse)
    return y.to(u.dtype), last.to(u.dtype)


def _selective(u: Any, dt: Any, A: Any, B: Any, C: Any, D: Any, h0: Any, *how: Any) -> tuple[Tensor, Tensor]:
    entered = (dt * u).unsqueeze(-1) * B.unsqueeze(-2)  # [..., D, N]
    h, last = _scan(torch.exp(dt.unsqueeze(-1) * A), entered, h0, *how)
    y = (h * C.unsqueeze(-2)).sum(-1)
    return (y if D is None else y + D * _covered(u, how[0])), last


def selective_backward(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Maybe, h0: Maybe, g: Tensor, g_last: Maybe, cu: Maybe,
    reset: Maybe, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Maybe, Maybe]:  # fmt: skip
    """(du, ddt, dA, dB, dC, dD, dh0)."""
    return _gradients(lambda *leaves: _selective(*leaves, cu, reset, reverse), (u, dt, A, B, C, D, h0), g, g_last)


def _delta_loop(
    q: Tensor, k: Tensor, decay: Tensor, beta: Tensor, v: Tensor, S0: Maybe, reset: Maybe, reverse: bool
) -> tuple[Tensor, Tensor]:
    """The equation of `lrscan.delta_scan` as it stands there, over dim 1 of [B, T, H, ...]."""
    S = v.new_zeros(len(v), *v.shape[2:], k.shape[-1]) if S0 is None else S0
    unit = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
    out: dict[int, Tensor] = {}
    for t in reversed(range(v.shape[1])) if reverse else range(v.shape[1]):
        if reset is not None:
            S = torch.where(reset[:, t].view(-1, 1, 1, 1), torch.zeros_like(S), S)
        key, a, b = k[:, t].unsqueeze(-2), decay[:, t, :, None, None], beta[:, t, :, None, None]  # [B, H, 1, N or 1]
        S = a * S @ (unit - b * key.mT @ key) + b * v[:, t].unsqueeze(-1) @ key
        out[t] = (S @ q[:, t].unsqueeze(-1)).squeeze(-1)
    return torch.stack([out[t] for t in range(v.shape[1])], dim=1), S


def _delta(q: Any, k: Any, v: Any, decay: Any, beta: Any, S0: Any, *how: Any) -> tuple[Tensor, Tensor]:
    given, (cu, *rest) = (q, k, decay, beta, v), how
    if cu is None:
        return _delta_loop(*given, S0, *rest)
    return _each_sequence(_delta_loop, given, (*v.shape[1:], k.shape[-1]), S0, cu, *rest)


def delta_forward(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Maybe, cu: Maybe, reset: Maybe, reverse: bool
) -> tuple[Tensor, Tensor]:
    """(o like v, last [B, H, P, N])."""
    o, last = _delta(*map(_wide, (q, k, v, decay, beta, S0)), cu, reset, reverse)
    return o.to(v.dtype), last.to(v.dtype)


def delta_backward(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Maybe, g: Tensor, g_last: Maybe, cu: Maybe,
    reset: Maybe, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Maybe]:  # fmt: skip
    """(dq, dk, dv, ddecay, dbeta, dS0)."""
    return _gradients(lambda *leaves: _delta(*leaves, cu, reset, reverse), (q, k, v, decay, beta, S0), g, g_last)
