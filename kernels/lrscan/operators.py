"""The public operators: arguments checked and named, then the backend of choice; and their single steps.

A step is the scan of one event: on the same backend, stepping through a sequence gives the scan's bits.
State-space operators, with a matrix for a state: `lrscan.state_space`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrscan import ops
from lrscan.checks import check_device, check_layout, check_reset, check_tensor
from lrscan.dispatch import choose
from lrscan.gates import KINDS, WITH_BOUND, WITH_INPUT_GATE

PER_SEQUENCE = " (one state a sequence)"


def linear_scan(
    a: Tensor,
    b: Tensor,
    h0: Tensor | None = None,
    *,
    cu_seqlens: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    return_state: bool = False,
    backend: str | None = None,
) -> Any:
    """h_t = a_t * h_{t-1} + b_t.

    a, b: [B, T, D] (or [N, D] packed, sequence s in rows cu_seqlens[s] to cu_seqlens[s+1]); h0: [B, D];
    reset: bool [B, T], True cuts the state off before that step. Returns h like b, and with `return_state` also the
    final state [B, D]. `reverse` runs from the last step to the first. Differentiable once in a, b and h0.
    Raises ValueError that names the argument.
    """
    sequences = check_layout("b", b, cu_seqlens, "D")
    check_tensor("b", b, tuple(b.shape), b)
    check_tensor("a", a, tuple(b.shape), b)
    if h0 is not None:
        check_tensor("h0", h0, (sequences, b.shape[-1]), b, PER_SEQUENCE)
    check_reset(reset, b, cu_seqlens is not None)
    h, last = ops.linear_scan(a, b, h0, cu_seqlens, reset, reverse, choose("linear_scan", b, backend))
    return (h, last) if return_state else h


def linear_step(state: Tensor, a: Tensor, b: Tensor, *, backend: str | None = None) -> Tensor:
    """One event of `linear_scan`: state, a, b [B, D] -> new state [B, D], in the dtype of b."""
    last: Tensor = linear_scan(a.unsqueeze(1), b.unsqueeze(1), state, return_state=True, backend=backend)[1]
    return last


def gated_scan(
    x: Tensor,
    r: Tensor,
    i: Tensor | None = None,
    lam: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    kind: str = "bdlru",
    c: float = 1.0,
    eps: float = 0.0,
    z: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    return_state: bool = False,
    backend: str | None = None,
) -> Any:
    """A recurrence h_t = a_t h_{t-1} + b_t with its gates, from pre-activations. Kinds (`lrscan.gates`):

        bdlru   a = exp(-c softplus(lam) sigmoid(r)),  b = sqrt(1 - a^2 + eps) sigmoid(i) x   (RecBLR, 2406.12580)
        rglru   a = sigmoid(lam)^(c sigmoid(r)),       b = sqrt(1 - a^2 + eps) sigmoid(i) x   (Griffin, 2402.19427)
        mingru  a = 1 - sigmoid(r),                    b = sigmoid(r) x                       (minGRU, 2410.01201)
        hgrn    a = lam + (1 - lam) sigmoid(r),        b = (1 - a) x                          (HGRN, 2311.04823)

    x, r, i, z: [B, T, D] (or [N, D] packed); lam: [D], in hgrn the lower bound in [0, 1); minGRU takes neither i nor
    lam, HGRN no i. Griffin uses c = 8, RecBLR's published code eps = 1e-8. With z the output is silu(z) h; the final
    state is that of h. Otherwise as `linear_scan`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown: choose one of {', '.join(KINDS)}")
    sequences = check_layout("x", x, cu_seqlens, "D")
    for name, used, given in (("i", kind in WITH_INPUT_GATE, i), ("lam", kind in WITH_BOUND, lam)):
        if used != (given is not None):
            raise ValueError(
                f"{name} {'is missing from kind' if used else 'must be None: it has no part in kind'} {kind!r}"
            )
    for name, other in (("x", x), ("r", r), ("i", i), ("z", z)):
        if other is not None:
            check_tensor(name, other, tuple(x.shape), x)
    if lam is not None:
        check_tensor("lam", lam, (x.shape[-1],), x)
    if h0 is not None:
        check_tensor("h0", h0, (sequences, x.shape[-1]), x, PER_SEQUENCE)
    check_reset(reset, x, cu_seqlens is not None)
    chosen = choose("gated_scan", x, backend)
    y, _, last = ops.gated_scan(x, r, i, lam, h0, z, kind, float(c), float(eps), cu_seqlens, reset, reverse, chosen)
    return (y, last) if return_state else y


def gated_step(
    state: Tensor,
    x: Tensor,
    r: Tensor,
    i: Tensor | None = None,
    lam: Tensor | None = None,
    *,
    kind: str = "bdlru",
    c: float = 1.0,
    eps: float = 0.0,
    backend: str | None = None,
) -> Tensor:
    """One event of `gated_scan`: state, x, r, i [B, D] -> new state [B, D]."""
    i = None if i is None else i.unsqueeze(1)
    x, r = x.unsqueeze(1), r.unsqueeze(1)
    last: Tensor = gated_scan(x, r, i, lam, state, kind=kind, c=c, eps=eps, return_state=True, backend=backend)[1]
    return last


def complex_scan(
    u: Tensor,
    log_nu: Tensor,
    theta: Tensor,
    h0: Tensor | None = None,
    *,
    cu_seqlens: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    return_state: bool = False,
    backend: str | None = None,
) -> Any:
    """h_t = lambda h_{t-1} + u_t with lambda = exp(-exp(log_nu) + i theta) constant in time (LRU, arXiv 2303.06349).

    u: complex [B, T, D] (or [N, D] packed), or real with a last axis of 2 (real, imaginary); log_nu, theta: real [D];
    h0 as u without time. Returns h in the form of u. Otherwise as `linear_scan`.
    """
    pairs = not u.is_complex()
    if pairs:
        if u.dim() == 0 or u.shape[-1] != 2:
            raise ValueError(f"u must be complex, or real with a last axis of 2, got {u.dtype} {tuple(u.shape)}")
        u, h0 = _as_complex(u), None if h0 is None else _as_complex(h0)
    sequences = check_layout("u", u, cu_seqlens, "D")
    for name, other in (("log_nu", log_nu), ("theta", theta)):
        if other.shape != u.shape[-1:] or other.is_complex():
            raise ValueError(f"{name} must be real {tuple(u.shape[-1:])}, got {other.dtype} {tuple(other.shape)}")
        check_device(name, other, u)
    if h0 is not None:
        if tuple(h0.shape) != (sequences, u.shape[-1]) or not h0.is_complex():
            raise ValueError(f"h0 must be {h0.dtype if pairs else u.dtype} {(sequences, u.shape[-1])}{PER_SEQUENCE}")
        check_device("h0", h0, u)
    check_reset(reset, u, cu_seqlens is not None)
    h, last = ops.complex_scan(u, log_nu, theta, h0, cu_seqlens, reset, reverse, choose("complex_scan", u, backend))
    if pairs:
        h, last = torch.view_as_real(h), torch.view_as_real(last)
    return (h, last) if return_state else h


def _as_complex(x: Tensor) -> Tensor:
    return torch.view_as_complex((x.float() if x.dtype in (torch.float16, torch.bfloat16) else x).contiguous())


def complex_step(state: Tensor, u: Tensor, log_nu: Tensor, theta: Tensor, *, backend: str | None = None) -> Tensor:
    """One event of `complex_scan`: state, u [B, D] complex (or [B, D, 2]) -> new state."""
    last: Tensor = complex_scan(u.unsqueeze(1), log_nu, theta, state, return_state=True, backend=backend)[1]
    return last
