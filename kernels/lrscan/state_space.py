"""State-space operators: each channel has a state of N numbers that it writes through B and reads through C.

B, T, D, N as in `lrscan`; H heads, P channels of a head, G groups of heads that share B and C; S the state
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lrscan import ops
from lrscan.checks import check_layout, check_reset, check_tensor
from lrscan.dispatch import choose
from lrscan.operators import PER_SEQUENCE


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    S0: Tensor | None = None,
    *,
    chunk: int = 32,
    cu_seqlens: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    return_state: bool = False,
    backend: str | None = None,
) -> Any:
    """S_t = exp(dt_t A) S_{t-1} + dt_t x_t B_t^T,  y_t = S_t C_t + D x_t   (Mamba-2, arXiv 2405.21060).

    x: [B, T, H, P]; dt: [B, T, H], already positive; A: [H], negative; B, C: [B, T, G, N] with H a multiple of G;
    D: [H]; S0: [B, H, P, N]. Packed: a leading [N_events] in place of [B, T]. Returns y like x, and with
    `return_state` also the final state like S0. `chunk`: the steps that are computed as one matrix product.
    Otherwise as `linear_scan`.
    """
    sequences = check_layout("x", x, cu_seqlens, "H P")
    time, (heads, width) = tuple(x.shape[:-2]), x.shape[-2:]
    check_tensor("x", x, tuple(x.shape), x)
    check_tensor("dt", dt, (*time, heads), x)
    check_tensor("A", A, (heads,), x)
    if B.dim() != x.dim() or heads % max(B.shape[-2], 1) != 0 or B.shape[-2] == 0:
        raise ValueError(f"B must be {(*time, 'G', 'N')} with G a divisor of H = {heads}, got {tuple(B.shape)}")
    check_tensor("B", B, (*time, *B.shape[-2:]), x)
    check_tensor("C", C, tuple(B.shape), x)
    if D is not None:
        check_tensor("D", D, (heads,), x)
    if S0 is not None:
        check_tensor("S0", S0, (sequences, heads, width, B.shape[-1]), x, PER_SEQUENCE)
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    check_reset(reset, x, cu_seqlens is not None)
    chosen = choose("ssd_scan", x, backend)
    y, last = ops.ssd_scan(x, dt, A, B, C, D, S0, chunk, cu_seqlens, reset, reverse, chosen)
    return (y, last) if return_state else y


def ssd_step(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """One event of `ssd_scan`: state [B, H, P, N], x [B, H, P], dt [B, H], B, C [B, G, N] -> (y [B, H, P], state)."""
    x, dt, B, C = (v.unsqueeze(1) for v in (x, dt, B, C))
    y, last = ssd_scan(x, dt, A, B, C, D, state, chunk=1, return_state=True, backend=backend)
    return y.squeeze(1), last


def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    cu_seqlens: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    return_state: bool = False,
    backend: str | None = None,
) -> Any:
    """h_t = exp(dt_t A) h_{t-1} + (dt_t u_t) B_t,  y_t = sum_n C_tn h_tn + D u_t   (Mamba, arXiv 2312.00752).

    u, dt: [B, T, D] (or [N_events, D] packed), dt already positive; A: [D, N], negative; B, C: [B, T, N]; D: [D];
    h0: [B, D, N]. Returns y like u, and with `return_state` also the final state like h0. Otherwise as `linear_scan`.
    """
    sequences = check_layout("u", u, cu_seqlens, "D")
    time, channels = tuple(u.shape[:-1]), u.shape[-1]
    check_tensor("u", u, tuple(u.shape), u)
    check_tensor("dt", dt, tuple(u.shape), u)
    if A.dim() != 2:
        raise ValueError(f"A must be [D, N] with D = {channels}, got {tuple(A.shape)}")
    n_states = A.shape[1]
    check_tensor("A", A, (channels, n_states), u)
    check_tensor("B", B, (*time, n_states), u)
    check_tensor("C", C, (*time, n_states), u)
    if D is not None:
        check_tensor("D", D, (channels,), u)
    if h0 is not None:
        check_tensor("h0", h0, (sequences, channels, n_states), u, PER_SEQUENCE)
    check_reset(reset, u, cu_seqlens is not None)
    chosen = choose("selective_scan", u, backend)
    y, last = ops.selective_scan(u, dt, A, B, C, D, h0, cu_seqlens, reset, reverse, chosen)
    return (y, last) if return_state else y


def selective_step(
    state: Tensor,
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """One event of `selective_scan`: state [B, D, N], u, dt [B, D], B, C [B, N] -> (y [B, D], state)."""
    u, dt, B, C = (v.unsqueeze(1) for v in (u, dt, B, C))
    y, last = selective_scan(u, dt, A, B, C, D, state, return_state=True, backend=backend)
    return y.squeeze(1), last
