"""h_t = exp(dt_t A) h_{t-1} + (dt_t u_t) B_t,  y_t = sum_n C_tn h_tn + D u_t: N states a channel (Mamba).

One program a sequence and block of channels, the states [BLOCK, N] in registers. No state is saved for the backward
pass: it runs the recurrence again and notes the state every PIECE steps; then, from the last piece to the first, it
replays a piece into a scratch buffer and walks it backwards. v_t is the gradient of h_t, w_t that of dt_t A:

    w_t = v_t h_{t-1} exp(dt_t A)
    v_t = gy_t C_t + exp(dt_{t+1} A) v_{t+1};  dC_t = sum_d gy_t h_t;  dB_t = sum_d v_t dt_t u_t
    ddt_t = sum_n w_t A + u_t sum_n v_t B_t;   du_t = dt_t sum_n v_t B_t + D gy_t;  dA = sum_t w_t dt_t
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from lrscan.triton import configs
from lrscan.triton.common import Sequences, accumulator, extent, launch, rows, wide


@triton.jit(do_not_specialize=["T", "u_batch", "dt_batch", "B_batch", "C_batch"])
@no_type_check
def selective_forward_kernel(
    u, dt, A, B, C, skip, h0, y, last, noted, bounds, reset, T, u_batch, dt_batch, B_batch, C_batch,
    u_time: tl.constexpr, dt_time: tl.constexpr, B_time: tl.constexpr, C_time: tl.constexpr, UNIT: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, STATES: tl.constexpr, STAGES: tl.constexpr,
    ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr, INITIAL: tl.constexpr,
    SKIP: tl.constexpr, NOTE: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """NOTE: write the state before every PIECE-th step instead of y and the last state."""
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    s = tl.arange(0, STATES)
    mask, states = d < D, s < N
    both = mask[:, None] & states[None, :]
    at = d[:, None] * N + s[None, :]
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    slot = first // PIECE + n if PACKED else n * ((T + PIECE - 1) // PIECE)
    rate = tl.load(A + at, mask=both, other=0.0).to(ACC)
    weight = tl.zeros([BLOCK], ACC)
    if SKIP:
        weight = tl.load(skip + d, mask=mask, other=0.0).to(ACC)
    h = tl.zeros([BLOCK, STATES], ACC)
    if INITIAL:
        h = tl.load(h0 + n * D * N + at, mask=both, other=0.0).to(ACC)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = steps - 1 - q if REVERSE else q
        ut = tl.load(u + n * u_batch * UNIT + (first + t) * u_time + d, mask=mask, other=0.0).to(ACC)
        step = tl.load(dt + n * dt_batch * UNIT + (first + t) * dt_time + d, mask=mask, other=0.0).to(ACC)
        Bt = tl.load(B + n * B_batch * UNIT + (first + t) * B_time + s, mask=states, other=0.0).to(ACC)
        if NOTE:
            tl.store(noted + (slot + q // PIECE) * D * N + at, h, mask=both & (at * 0 + q % PIECE == 0))
        if RESET:
            h = tl.where(at * 0 + tl.load(reset + row + t) != 0, 0.0, h)
        h = tl.exp(step[:, None] * rate) * h + (step * ut)[:, None] * Bt[None, :]
        if not NOTE:
            Ct = tl.load(C + n * C_batch * UNIT + (first + t) * C_time + s, mask=states, other=0.0).to(ACC)
            yt = tl.sum(h * Ct[None, :], axis=1) + weight * ut
            tl.store(y + (row + t) * D + d, yt.to(y.dtype.element_ty), mask=mask)
    if not NOTE:
        tl.store(last + n * D * N + at, h.to(last.dtype.element_ty), mask=both)


@triton.jit(do_not_specialize=["T", "u_batch", "dt_batch", "B_batch", "C_batch", "g_batch"])
@no_type_check
def selective_backward_kernel(
    u, dt, A, B, C, skip, g, g_last, noted, scratch, du, ddt, dA, dB, dC, dskip, dh0, bounds, reset, T,
    u_batch, dt_batch, B_batch, C_batch, g_batch,
    u_time: tl.constexpr, dt_time: tl.constexpr, B_time: tl.constexpr, C_time: tl.constexpr, g_time: tl.constexpr,
    UNIT: tl.constexpr, D: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, STATES: tl.constexpr,
    STAGES: tl.constexpr, ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr,
    INITIAL: tl.constexpr, SKIP: tl.constexpr, FINAL: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    block, blocks = tl.program_id(1), tl.num_programs(1)
    d = block * BLOCK + tl.arange(0, BLOCK)
    s = tl.arange(0, STATES)
    mask, states = d < D, s < N
    both = mask[:, None] & states[None, :]
    at = d[:, None] * N + s[None, :]
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    slot = first // PIECE + n if PACKED else n * ((T + PIECE - 1) // PIECE)
    own = scratch + (n * PIECE) * D * N + at
    rate = tl.load(A + at, mask=both, other=0.0).to(ACC)
    weight = tl.zeros([BLOCK], ACC)
    if SKIP:
        weight = tl.load(skip + d, mask=mask, other=0.0).to(ACC)
    carry = tl.zeros([BLOCK, STATES], ACC)
    if FINAL:
        carry = tl.load(g_last + n * D * N + at, mask=both, other=0.0).to(ACC)
    rates = tl.zeros([BLOCK, STATES], ACC)
    skips = tl.zeros([BLOCK], ACC)
    pieces = (steps + PIECE - 1) // PIECE
    for k in range(pieces):
        piece = pieces - 1 - k
        size = tl.minimum(PIECE, steps - piece * PIECE)
        h = tl.load(noted + (slot + piece) * D * N + at, mask=both, other=0.0)
        for j in tl.range(0, size, num_stages=STAGES):
            q = piece * PIECE + j
            t = steps - 1 - q if REVERSE else q
            ut = tl.load(u + n * u_batch * UNIT + (first + t) * u_time + d, mask=mask, other=0.0).to(ACC)
            step = tl.load(dt + n * dt_batch * UNIT + (first + t) * dt_time + d, mask=mask, other=0.0).to(ACC)
            Bt = tl.load(B + n * B_batch * UNIT + (first + t) * B_time + s, mask=states, other=0.0).to(ACC)
            if RESET:
                h = tl.where(at * 0 + tl.load(reset + row + t) != 0, 0.0, h)
            tl.store(own + j * D * N, h, mask=both)
            h = tl.exp(step[:, None] * rate) * h + (step * ut)[:, None] * Bt[None, :]
        tl.debug_barrier()  # the scratch is read by other threads than wrote it
        for j in tl.range(0, size, num_stages=STAGES):
            q = piece * PIECE + size - 1 - j
            t = steps - 1 - q if REVERSE else q
            ut = tl.load(u + n * u_batch * UNIT + (first + t) * u_time + d, mask=mask, other=0.0).to(ACC)
            step = tl.load(dt + n * dt_batch * UNIT + (first + t) * dt_time + d, mask=mask, other=0.0).to(ACC)
            gt = tl.load(g + n * g_batch * UNIT + (first + t) * g_time + d, mask=mask, other=0.0).to(ACC)
            Bt = tl.load(B + n * B_batch * UNIT + (first + t) * B_time + s, mask=states, other=0.0).to(ACC)
            Ct = tl.load(C + n * C_batch * UNIT + (first + t) * C_time + s, mask=states, other=0.0).to(ACC)
            before = tl.load(own + (size - 1 - j) * D * N, mask=both, other=0.0)
            decay = tl.exp(step[:, None] * rate)
            now = decay * before + (step * ut)[:, None] * Bt[None, :]
            v = gt[:, None] * Ct[None, :] + carry
            carry = decay * v
            w = carry * before
            if RESET:
                carry = tl.where(at * 0 + tl.load(reset + row + t) != 0, 0.0, carry)
            rates += w * step[:, None]
            vB = tl.sum(v * Bt[None, :], axis=1)
            skips += gt * ut
            dut = step * vB + weight * gt
            ddtt = tl.sum(w * rate, axis=1) + ut * vB
            dBt = tl.sum(v * (step * ut)[:, None], axis=0)
            dCt = tl.sum(gt[:, None] * now, axis=0)
            tl.store(du + (row + t) * D + d, dut.to(du.dtype.element_ty), mask=mask)
            tl.store(ddt + (row + t) * D + d, ddtt.to(ddt.dtype.element_ty), mask=mask)
            tl.store(dB + ((row + t) * blocks + block) * N + s, dBt, mask=states)
            tl.store(dC + ((row + t) * blocks + block) * N + s, dCt, mask=states)
        tl.debug_barrier()
    tl.store(dA + n * D * N + at, rates, mask=both)
    if SKIP:
        tl.store(dskip + n * D + d, skips, mask=mask)
    if INITIAL:
        tl.store(dh0 + n * D * N + at, carry.to(dh0.dtype.element_ty), mask=both)


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _run(
    kernel: Any, sequences: Sequences, u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, skip: Tensor | None,
    config: configs.Config, **more: Any,
) -> None:  # fmt: skip
    width, states = A.shape
    strided = {"u": rows(u), "dt": rows(dt), "B": rows(B), "C": rows(C)}
    if "g" in more:
        strided["g"] = rows(more.pop("g"))
    launch(
        kernel, (sequences.count, triton.cdiv(width, config.block)), **sequences.arguments(**strided),
        STAGES=config.stages, A=A.contiguous(), skip=_contiguous(skip), D=width, N=states, BLOCK=config.block,
        STATES=configs.power_of_two(states), ACC=accumulator(u.dtype), SKIP=skip is not None,
        PIECE=configs.SELECTIVE_PIECE, num_warps=config.warps, **more,
    )  # fmt: skip


def selective_forward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    h0: Tensor | None,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """(y, last [S, D, N]): u, dt [B, T, D] or packed [N, D]; A [D, N]; B, C [B, T, N]; D [D]; h0 [S, D, N]."""
    sequences = Sequences.of(u, cu_seqlens, reset, reverse)
    config = configs.selective(A.shape[0], A.shape[1], u.dtype)
    y = sequences.empty(u)
    last = torch.empty(sequences.count, *A.shape, dtype=u.dtype, device=u.device)
    _run(
        selective_forward_kernel, sequences, u, dt, A, B, C, D, config, h0=_contiguous(h0), y=y,
        last=last, noted=None, INITIAL=h0 is not None, NOTE=False,
    )  # fmt: skip
    return y, last


def _noted(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, h0: Tensor | None, sequences: Sequences
) -> Tensor:  # fmt: skip
    """[slots, D, N] the state before every piece; sequence n of a pack owns the slots from first_n // PIECE + n on."""
    piece, config = configs.SELECTIVE_PIECE, configs.selective(A.shape[0], A.shape[1], u.dtype)
    if sequences.bounds is None:
        slots = sequences.count * triton.cdiv(sequences.steps, piece)
    else:
        slots = u.shape[0] // piece + sequences.count + 1
    noted = torch.empty(slots, *A.shape, dtype=wide(u.dtype), device=u.device)
    _run(
        selective_forward_kernel, sequences, u, dt, A, B, C, None, config, h0=_contiguous(h0),
        y=None, last=None, noted=noted, INITIAL=h0 is not None, NOTE=True,
    )  # fmt: skip
    return noted


def selective_backward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    h0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(du, ddt, dA, dB, dC, dD, dh0); sums over channels and sequences are of partial sums in a fixed order."""
    sequences = Sequences.of(u, cu_seqlens, reset, reverse)
    config = configs.selective(A.shape[0], A.shape[1], u.dtype, backward=True)
    exact, blocks = wide(u.dtype), triton.cdiv(A.shape[0], config.block)
    noted = _noted(u, dt, A, B, C, h0, sequences)
    scratch = torch.empty(sequences.count, configs.SELECTIVE_PIECE, *A.shape, dtype=exact, device=u.device)
    du, ddt = sequences.empty(u), sequences.empty(dt)
    partial = B.new_empty(1).expand(*B.shape[:-1], blocks * B.shape[-1])
    dB, dC = sequences.empty(partial, exact), sequences.empty(partial, exact)
    dA = torch.empty(sequences.count, *A.shape, dtype=exact, device=u.device)
    dskip = None if D is None else torch.empty(sequences.count, *D.shape, dtype=exact, device=u.device)
    dh0 = None if h0 is None else torch.empty_like(h0, memory_format=torch.contiguous_format)
    _run(
        selective_backward_kernel, sequences, u, dt, A, B, C, D, config, g=g, g_last=_contiguous(g_last), noted=noted,
        scratch=scratch, du=du, ddt=ddt, dA=dA, dB=dB, dC=dC, dskip=dskip, dh0=dh0, INITIAL=h0 is not None,
        FINAL=g_last is not None,
    )  # fmt: skip
    summed = [v.view(*v.shape[:-1], blocks, -1).sum(-2).to(like.dtype) for v, like in ((dB, B), (dC, C))]
    dD = None if D is None or dskip is None else dskip.sum(0).to(D.dtype)
    return du, ddt, dA.sum(0).to(A.dtype), summed[0], summed[1], dD, dh0
