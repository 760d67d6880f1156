"""The gated delta rule: a state that is a table of values by key, from which a step erases before it writes.

B, T, D as in `lrscan`; H heads, P numbers of a value, N of a key; S the state
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lrscan import ops
from lrscan.checks import check_layout, check_reset, check_tensor
from lrscan.dispatch import choose
from lrscan.operators import PER_SEQUENCE


def delta_scan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor,
    S0: Tensor | None = None,
    *,
    cu_seqlens: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    return_state: bool = False,
    backend: str | None = None,
) -> Any:
    """S_t = decay_t S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T,  o_t = S_t q_t   (arXiv 2412.06464).

    q, k: [B, T, H, N]; v: [B, T, H, P]; decay, beta: [B, T, H]; S0: [B, H, P, N]. Packed: a leading [N_events] in place
    of [B, T]. Keys are taken as they come: the state stays bounded where decay <= 1 and beta |k|^2 lies in [0, 2], as
    with keys of length 1 and beta in (0, 1). Returns o like v, and with `return_state` also the final state like S0.
    Otherwise as `linear_scan`.
    """
    sequences = check_layout("v", v, cu_seqlens, "H P")
    time, (heads, width) = tuple(v.shape[:-2]), v.shape[-2:]
    check_tensor("v", v, tuple(v.shape), v)
    if k.dim() != v.dim() or k.shape[-1] == 0:
        raise ValueError(f"k must be {(*time, heads, 'N')}, got {tuple(k.shape)}")
    for name, key in (("k", k), ("q", q)):
        check_tensor(name, key, (*time, heads, k.shape[-1]), v)
    for name, gate in (("decay", decay), ("beta", beta)):
        check_tensor(name, gate, (*time, heads), v)
    if S0 is not None:
        check_tensor("S0", S0, (sequences, heads, width, k.shape[-1]), v, PER_SEQUENCE)
    check_reset(reset, v, cu_seqlens is not None)
    chosen = choose("delta_scan", v, backend)
    o, last = ops.delta_scan(q, k, v, decay, beta, S0, cu_seqlens, reset, reverse, chosen)
    return (o, last) if return_state else o


def delta_step(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, *, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """One event of `delta_scan`: state [B, H, P, N], q, k [B, H, N], v [B, H, P], decay, beta [B, H] -> (o, state)."""
    q, k, v, decay, beta = (x.unsqueeze(1) for x in (q, k, v, decay, beta))
    o, last = delta_scan(q, k, v, decay, beta, state, return_state=True, backend=backend)
    return o.squeeze(1), last
