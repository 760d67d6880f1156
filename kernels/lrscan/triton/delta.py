"""S_t = a_t S_{t-1} (I - b_t k_t k_t^T) + b_t v_t k_t^T,  o_t = S_t q_t: the gated delta rule.

The rows of a head's state never meet, so one program takes a sequence, a head and a block of rows, [BLOCK, N] in
registers, and walks through time. The backward pass goes as in `lrscan.triton.selective`: the state is noted every
PIECE steps, and from the last piece to the first a piece is replayed into a scratch buffer and walked backwards. With
e_t = v_t - a_t S_{t-1} k_t, w_t = b_t e_t, and G_t the gradient of S_t:

    G_t = g_t q_t^T + a_{t+1} M_{t+1};  M_t = G_t - de_t k_t^T;  de_t = dv_t = b_t G_t k_t;  db_t = e_t . G_t k_t
    dq_t = S_t^T g_t;  dk_t = G_t^T w_t - a_t S_{t-1}^T de_t;  da_t = <M_t, S_{t-1}>
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from lrscan.triton import configs
from lrscan.triton.common import Sequences, accumulator, extent, launch, rows, wide


@triton.jit(do_not_specialize=["T", "q_batch", "k_batch", "v_batch", "decay_batch", "beta_batch"])
@no_type_check
def delta_forward_kernel(
    q, k, v, decay, beta, S0, o, last, noted, bounds, reset, T,
    q_batch, k_batch, v_batch, decay_batch, beta_batch, q_time: tl.constexpr, k_time: tl.constexpr,
    v_time: tl.constexpr, decay_time: tl.constexpr, beta_time: tl.constexpr, UNIT: tl.constexpr, H: tl.constexpr,
    P: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, BLOCKS: tl.constexpr, KEYS: tl.constexpr,
    STAGES: tl.constexpr, ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr,
    INITIAL: tl.constexpr, NOTE: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """NOTE: write the state before every PIECE-th step instead of o and the last state."""
    n = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) // BLOCKS
    p = tl.program_id(1) % BLOCKS * BLOCK + tl.arange(0, BLOCK)
    s = tl.arange(0, KEYS)
    mask, keys = p < P, s < N
    both = mask[:, None] & keys[None, :]
    at = (head * P + p)[:, None] * N + s[None, :]
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    slot = first // PIECE + n if PACKED else n * ((T + PIECE - 1) // PIECE)
    S = tl.zeros([BLOCK, KEYS], ACC)
    if INITIAL:
        S = tl.load(S0 + n * H * P * N + at, mask=both, other=0.0).to(ACC)
    for j in tl.range(0, steps, num_stages=STAGES):
        t = steps - 1 - j if REVERSE else j
        kt = tl.load(k + n * k_batch * UNIT + (first + t) * k_time + head * N + s, mask=keys, other=0.0).to(ACC)
        vt = tl.load(v + n * v_batch * UNIT + (first + t) * v_time + head * P + p, mask=mask, other=0.0).to(ACC)
        a = tl.load(decay + n * decay_batch * UNIT + (first + t) * decay_time + head).to(ACC)
        b = tl.load(beta + n * beta_batch * UNIT + (first + t) * beta_time + head).to(ACC)
        if NOTE:
            tl.store(noted + (slot + j // PIECE) * H * P * N + at, S, mask=both & (at * 0 + j % PIECE == 0))
        if RESET:
            S = tl.where(at * 0 + tl.load(reset + row + t) != 0, 0.0, S)
        S = a * S
        w = b * (vt - tl.sum(S * kt[None, :], axis=1))
        S += w[:, None] * kt[None, :]
        if not NOTE:
            qt = tl.load(q + n * q_batch * UNIT + (first + t) * q_time + head * N + s, mask=keys, other=0.0).to(ACC)
            ot = tl.sum(S * qt[None, :], axis=1)
            tl.store(o + ((row + t) * H + head) * P + p, ot.to(o.dtype.element_ty), mask=mask)
    if not NOTE:
        tl.store(last + n * H * P * N + at, S.to(last.dtype.element_ty), mask=both)


@triton.jit(do_not_specialize=["T", "q_batch", "k_batch", "v_batch", "decay_batch", "beta_batch", "g_batch"])
@no_type_check
def delta_backward_kernel(
    q, k, v, decay, beta, g, g_last, noted, scratch, dq, dk, dv, ddecay, dbeta, dS0, bounds, reset, T,
    q_batch, k_batch, v_batch, decay_batch, beta_batch, g_batch, q_time: tl.constexpr, k_time: tl.constexpr,
    v_time: tl.constexpr, decay_time: tl.constexpr, beta_time: tl.constexpr, g_time: tl.constexpr, UNIT: tl.constexpr,
    H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, BLOCKS: tl.constexpr, KEYS: tl.constexpr,
    STAGES: tl.constexpr, ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr,
    INITIAL: tl.constexpr, FINAL: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    head, block = tl.program_id(1) // BLOCKS, tl.program_id(1) % BLOCKS
    p = block * BLOCK + tl.arange(0, BLOCK)
    s = tl.arange(0, KEYS)
    mask, keys = p < P, s < N
    both = mask[:, None] & keys[None, :]
    at = (head * P + p)[:, None] * N + s[None, :]
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    slot = first // PIECE + n if PACKED else n * ((T + PIECE - 1) // PIECE)
    own = scratch + n * PIECE * H * P * N + at
    carry = tl.zeros([BLOCK, KEYS], ACC)
    if FINAL:
        carry = tl.load(g_last + n * H * P * N + at, mask=both, other=0.0).to(ACC)
    pieces = (steps + PIECE - 1) // PIECE
    for i in range(pieces):
        piece = pieces - 1 - i
        size = tl.minimum(PIECE, steps - piece * PIECE)
        S = tl.load(noted + (slot + piece) * H * P * N + at, mask=both, other=0.0)
        for j in tl.range(0, size, num_stages=STAGES):
            t = steps - 1 - (piece * PIECE + j) if REVERSE else piece * PIECE + j
            kt = tl.load(k + n * k_batch * UNIT + (first + t) * k_time + head * N + s, mask=keys, other=0.0).to(ACC)
            vt = tl.load(v + n * v_batch * UNIT + (first + t) * v_time + head * P + p, mask=mask, other=0.0).to(ACC)
            a = tl.load(decay + n * decay_batch * UNIT + (first + t) * decay_time + head).to(ACC)
            b = tl.load(beta + n * beta_batch * UNIT + (first + t) * beta_time + head).to(ACC)
            if RESET:
                S = tl.where(at * 0 + tl.load(reset + row + t) != 0, 0.0, S)
            tl.store(own + j * H * P * N, S, mask=both)
            S = a * S
            S += (b * (vt - tl.sum(S * kt[None, :], axis=1)))[:, None] * kt[None, :]
        tl.debug_barrier()  # the scratch is read by other threads than wrote it
        for j in tl.range(0, size, num_stages=STAGES):
            m = piece * PIECE + size - 1 - j
            t = steps - 1 - m if REVERSE else m
            qt = tl.load(q + n * q_batch * UNIT + (first + t) * q_time + head * N + s, mask=keys, other=0.0).to(ACC)
            kt = tl.load(k + n * k_batch * UNIT + (first + t) * k_time + head * N + s, mask=keys, other=0.0).to(ACC)
            vt = tl.load(v + n * v_batch * UNIT + (first + t) * v_time + head * P + p, mask=mask, other=0.0).to(ACC)
            gt = tl.load(g + n * g_batch * UNIT + (first + t) * g_time + head * P + p, mask=mask, other=0.0).to(ACC)
            a = tl.load(decay + n * decay_batch * UNIT + (first + t) * decay_time + head).to(ACC)
            b = tl.load(beta + n * beta_batch * UNIT + (first + t) * beta_time + head).to(ACC)
            before = tl.load(own + (size - 1 - j) * H * P * N, mask=both, other=0.0)
            missing = vt - a * tl.sum(before * kt[None, :], axis=1)
            w = b * missing
            dqt = tl.sum(gt[:, None] * (a * before + w[:, None] * kt[None, :]), axis=0)
            carry += gt[:, None] * qt[None, :]
            written = tl.sum(carry * kt[None, :], axis=1)
            lacking = b * written
            dkt = tl.sum(carry * w[:, None] - before * (a * lacking)[:, None], axis=0)
            carry -= lacking[:, None] * kt[None, :]
            da = tl.sum(tl.sum(carry * before, axis=1), axis=0)
            db = tl.sum(written * missing, axis=0)
            carry = a * carry
            if RESET:
                carry = tl.where(at * 0 + tl.load(reset + row + t) != 0, 0.0, carry)
            gate = ((row + t) * H + head) * BLOCKS + block
            tl.store(dv + ((row + t) * H + head) * P + p, lacking.to(dv.dtype.element_ty), mask=mask)
            tl.store(dq + gate * N + s, dqt, mask=keys)
            tl.store(dk + gate * N + s, dkt, mask=keys)
            tl.store(ddecay + gate, da)
            tl.store(dbeta + gate, db)
        tl.debug_barrier()
    if INITIAL:
        tl.store(dS0 + n * H * P * N + at, carry.to(dS0.dtype.element_ty), mask=both)


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _run(
    kernel: Any, sequences: Sequences, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, **more: Any
) -> None:
    (heads, width), keys = v.shape[-2:], k.shape[-1]
    config = configs.delta(width, keys, backward="g" in more)
    blocks = triton.cdiv(width, config.block)
    strided = {"q": rows(q.flatten(-2)), "k": rows(k.flatten(-2)), "v": rows(v.flatten(-2))}
    strided |= {"decay": rows(decay), "beta": rows(beta)}
    if "g" in more:
        strided["g"] = rows(more.pop("g").flatten(-2))
    launch(
        kernel, (sequences.count, heads * blocks), **sequences.arguments(**strided), STAGES=config.stages, H=heads,
        P=width, N=keys, BLOCK=config.block, BLOCKS=blocks, KEYS=configs.power_of_two(keys), ACC=accumulator(v.dtype),
        PIECE=configs.DELTA_PIECE, num_warps=config.warps, **more,
    )  # fmt: skip


def delta_forward(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, cu_seqlens: Tensor | None,
    reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(o, last [S, H, P, N]): q, k [B, T, H, N] or packed; v [B, T, H, P]; decay, beta [B, T, H]; S0 [S, H, P, N]."""
    sequences = Sequences.of(v, cu_seqlens, reset, reverse)
    o = sequences.empty(v)
    last = torch.empty(sequences.count, *v.shape[-2:], k.shape[-1], dtype=v.dtype, device=v.device)
    _run(
        delta_forward_kernel, sequences, q, k, v, decay, beta, S0=_contiguous(S0), o=o, last=last, noted=None,
        INITIAL=S0 is not None, NOTE=False,
    )  # fmt: skip
    return o, last


def _noted(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, sequences: Sequences
) -> Tensor:
    """[slots, H, P, N] the state before every piece; packed, sequence n owns the slots from first_n // PIECE + n on."""
    if sequences.bounds is None:
        slots = sequences.count * triton.cdiv(sequences.steps, configs.DELTA_PIECE)
    else:
        slots = len(v) // configs.DELTA_PIECE + sequences.count + 1
    noted = torch.empty(slots, *v.shape[-2:], k.shape[-1], dtype=wide(v.dtype), device=v.device)
    _run(
        delta_forward_kernel, sequences, q, k, v, decay, beta, S0=_contiguous(S0), o=None, last=None, noted=noted,
        INITIAL=S0 is not None, NOTE=True,
    )  # fmt: skip
    return noted


def delta_backward(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, g: Tensor, g_last: Tensor | None,
    cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """(dq, dk, dv, ddecay, dbeta, dS0); sums over blocks of rows are of partial sums in a fixed order."""
    sequences = Sequences.of(v, cu_seqlens, reset, reverse)
    exact, state = wide(v.dtype), (*v.shape[-2:], k.shape[-1])
    blocks = triton.cdiv(v.shape[-1], configs.delta(v.shape[-1], k.shape[-1], backward=True).block)
    noted = _noted(q, k, v, decay, beta, S0, sequences)
    scratch = torch.empty(sequences.count, configs.DELTA_PIECE, *state, dtype=exact, device=v.device)
    by_block = [x.new_empty(1).expand(*x.shape[:3 if cu_seqlens is None else 2], blocks, *rest)
                for x, rest in ((q, k.shape[-1:]), (k, k.shape[-1:]), (decay, ()), (beta, ()))]  # fmt: skip
    dq, dk, ddecay, dbeta = (sequences.empty(x, exact) for x in by_block)
    dv = sequences.empty(v)
    dS0 = None if S0 is None else torch.empty_like(S0, memory_format=torch.contiguous_format)
    _run(
        delta_backward_kernel, sequences, q, k, v, decay, beta, g=g, g_last=_contiguous(g_last), noted=noted,
        scratch=scratch, dq=dq, dk=dk, dv=dv, ddecay=ddecay, dbeta=dbeta, dS0=dS0, INITIAL=S0 is not None,
        FINAL=g_last is not None,
    )  # fmt: skip
    at = 3 if cu_seqlens is None else 2
    summed = [d.sum(at).to(x.dtype) for d, x in ((dq, q), (dk, k), (ddecay, decay), (dbeta, beta))]
    return summed[0], summed[1], dv, summed[2], summed[3], dS0
