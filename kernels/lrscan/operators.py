"""The public operators: arguments checked and named, then the backend of choice; and their single steps.

A step is the scan of one event: on the same backend, stepping through a sequence gives the scan's bits.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lrscan.dispatch import find
from lrscan.gates import KINDS


def _check_sequences(cu_seqlens: Tensor | None, reset: Tensor | None, h0: Tensor | None, like: Tensor) -> None:
    """`like` is the input whose shape rules: [B, T, D], or [N, D] with cu_seqlens."""
    wanted = 3 if cu_seqlens is None else 2
    if like.dim() != wanted:
        layout = "[B, T, D]" if cu_seqlens is None else "[N, D] (packed, because cu_seqlens is given)"
        raise ValueError(f"inputs must be {layout}, got shape {tuple(like.shape)}")
    if like.shape[-2] == 0:
        raise ValueError(f"inputs have no time steps: shape {tuple(like.shape)}")
    sequences = like.shape[0]
    if cu_seqlens is not None:
        if cu_seqlens.dim() != 1 or cu_seqlens.dtype not in (torch.int32, torch.int64) or len(cu_seqlens) < 2:
            raise ValueError("cu_seqlens must be int32 or int64 [S+1], starting with 0")
        bounds = cu_seqlens.tolist()
        if bounds[0] != 0 or bounds[-1] > len(like) or any(b < a for a, b in pairwise(bounds)):
            raise ValueError(f"cu_seqlens must rise from 0 to at most N = {len(like)}, got {bounds[:8]}…")
        sequences = len(cu_seqlens) - 1
    if h0 is not None and h0.shape != (sequences, like.shape[-1]):
        raise ValueError(f"h0 must be {(sequences, like.shape[-1])} (one state a sequence), got {tuple(h0.shape)}")
    if reset is not None and (reset.shape != like.shape[:-1] or reset.dtype != torch.bool):
        raise ValueError(f"reset must be bool {tuple(like.shape[:-1])}, got {reset.dtype} {tuple(reset.shape)}")


def _check_same(reference: Tensor, name: str, other: Tensor, shape: tuple[int, ...] | None = None) -> None:
    shape = tuple(reference.shape) if shape is None else shape
    if tuple(other.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(other.shape)}")
    if other.device != reference.device:
        raise ValueError(f"{name} is on {other.device}, the other inputs on {reference.device}")
    if not other.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {other.dtype}")


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

    a, b: [B, T, D] (or [N, D] packed); h0: [B, D]; reset: bool [B, T], True cuts the state off before that step.
    Returns h like b, and with `return_state` also the final state [B, D]. `reverse` runs from the last step to the
    first. Raises ValueError that names the argument.
    """
    _check_sequences(cu_seqlens, reset, h0, b)
    _check_same(b, "b", b)
    _check_same(b, "a", a)
    h, last = find("linear_scan", b, backend)(a, b, h0, cu_seqlens, reset, reverse)
    return (h, last) if return_state else h


def linear_step(state: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """One event of `linear_scan`: state, a, b [B, D] -> new state [B, D], in the dtype of `state`."""
    return torch.addcmul(b.to(state.dtype), a.to(state.dtype), state)


def gated_scan(
    x: Tensor,
    r: Tensor,
    i: Tensor,
    lam: Tensor,
    h0: Tensor | None = None,
    *,
    kind: str = "bdlru",
    c: float = 1.0,
    eps: float = 0.0,
    cu_seqlens: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    return_state: bool = False,
    backend: str | None = None,
) -> Any:
    """A recurrence with its gates, from pre-activations; kind "bdlru" (RecBLR, arXiv 2406.12580, eq. 6 to 9):

        a_t = exp(-c softplus(lam) sigmoid(r_t)),  h_t = a_t h_{t-1} + sqrt(1 - a_t^2 + eps) sigmoid(i_t) x_t

    x, r, i: [B, T, D] (or [N, D] packed); lam: [D]. The published code adds eps = 1e-8 under the root.
    Otherwise as `linear_scan`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown: choose one of {', '.join(KINDS)}")
    _check_sequences(cu_seqlens, reset, h0, x)
    for name, other in (("x", x), ("r", r), ("i", i)):
        _check_same(x, name, other)
    _check_same(x, "lam", lam, (x.shape[-1],))
    h, last = find("gated_scan", x, backend)(x, r, i, lam, h0, kind, c, eps, cu_seqlens, reset, reverse)
    return (h, last) if return_state else h


def gated_step(
    state: Tensor,
    x: Tensor,
    r: Tensor,
    i: Tensor,
    lam: Tensor,
    *,
    kind: str = "bdlru",
    c: float = 1.0,
    eps: float = 0.0,
    backend: str | None = None,
) -> Tensor:
    """One event of `gated_scan`: state, x, r, i [B, D] -> new state [B, D]."""
    x, r, i = x.unsqueeze(1), r.unsqueeze(1), i.unsqueeze(1)
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
        u = torch.view_as_complex(u.contiguous())
        h0 = None if h0 is None else torch.view_as_complex(h0.contiguous())
    _check_sequences(cu_seqlens, reset, h0, u)
    for name, other in (("log_nu", log_nu), ("theta", theta)):
        if other.shape != u.shape[-1:] or other.is_complex():
            raise ValueError(f"{name} must be real {tuple(u.shape[-1:])}, got {other.dtype} {tuple(other.shape)}")
    h, last = find("complex_scan", u, backend)(u, log_nu, theta, h0, cu_seqlens, reset, reverse)
    if pairs:
        h, last = torch.view_as_real(h), torch.view_as_real(last)
    return (h, last) if return_state else h


def complex_step(state: Tensor, u: Tensor, log_nu: Tensor, theta: Tensor, *, backend: str | None = None) -> Tensor:
    """One event of `complex_scan`: state, u [B, D] complex (or [B, D, 2]) -> new state."""
    last: Tensor = complex_scan(u.unsqueeze(1), log_nu, theta, state, return_state=True, backend=backend)[1]
    return last
