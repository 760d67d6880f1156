"""S_t = exp(dt_t A) S_{t-1} + dt_t x_t B_t^T,  y_t = S_t C_t + D x_t, one decay a head (Mamba-2), in chunks.

    P channels a head, N states, L steps a chunk; l_i the sum of dt A over the chunk up to step i, e = the last step
    M_ij = exp(l_i - l_j) C_i . B_j  for j <= i
    y_i  = sum_j M_ij dt_j x_j + exp(l_i) S C_i + D x_i
    S'   = exp(l_e) S + sum_j exp(l_e - l_j) dt_j x_j B_j^T

One program a sequence, head and block of P holds its state in registers and walks over the chunks. The backward pass
runs the recurrence again to note the state before every chunk. The gradient of each log decay is summed over the
products that cross that step, and never as the difference of two larger sums.
"""

from dataclasses import replace
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from lrscan.triton import configs
from lrscan.triton.common import Sequences, extent, launch, rows
from lrscan.triton.pieces import Pieces


@triton.jit
@no_type_check
def chunk_decays(steps_a, LENGTH: tl.constexpr):
    """(exp(l_i - l_j) for j <= i, exp(l_i), exp(l_e - l_i), exp(l_e)) from dt A of each step, zero behind the end."""
    i = tl.arange(0, LENGTH)
    until = tl.cumsum(steps_a, axis=0)
    total = tl.sum(steps_a, axis=0)
    between = tl.exp(tl.where(i[:, None] >= i[None, :], until[:, None] - until[None, :], -float("inf")))
    return between, tl.exp(until), tl.exp(total - until), tl.exp(total)


@triton.jit(do_not_specialize=["T", "x_batch", "dt_batch", "B_batch", "C_batch"])
@no_type_check
def ssd_forward_kernel(
    x, dt, A, B, C, skip, S0, y, last, noted, bounds, reset, T, x_batch, dt_batch, B_batch, C_batch,
    x_time: tl.constexpr, dt_time: tl.constexpr, B_time: tl.constexpr, C_time: tl.constexpr, UNIT: tl.constexpr,
    x_head: tl.constexpr, B_group: tl.constexpr, C_group: tl.constexpr, GROUP: tl.constexpr,
    P: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, STATES: tl.constexpr, LENGTH: tl.constexpr,
    PRECISION: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr,
    INITIAL: tl.constexpr, SKIP: tl.constexpr, NOTE: tl.constexpr,
):  # fmt: skip
    """NOTE: write the state before every chunk instead of y and the last state."""
    n, head, heads = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    p = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    s = tl.arange(0, STATES)
    i = tl.arange(0, LENGTH)
    own, states = p < P, s < N
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    slot = first // LENGTH + n if PACKED else n * ((T + LENGTH - 1) // LENGTH)
    at = head * P * N + p[:, None] * N + s[None, :]
    inside = own[:, None] & states[None, :]
    rate = tl.load(A + head).to(tl.float32)
    weight = 0.0
    if SKIP:
        weight = tl.load(skip + head).to(tl.float32)
    S = tl.zeros([BLOCK, STATES], tl.float32)
    if INITIAL:
        S = tl.load(S0 + n * heads * P * N + at, mask=inside, other=0.0).to(tl.float32)
    x_at = x + n * x_batch * UNIT + head * x_head
    B_at = B + n * B_batch * UNIT + (head // GROUP) * B_group
    C_at = C + n * C_batch * UNIT + (head // GROUP) * C_group
    for k in range((steps + LENGTH - 1) // LENGTH):
        q = k * LENGTH + i
        here = q < steps
        t = steps - 1 - q if REVERSE else q
        at_x = (first + t)[:, None] * x_time + p[None, :]
        xt = tl.load(x_at + at_x, mask=here[:, None] & own[None, :], other=0.0).to(tl.float32)
        step = tl.load(dt + n * dt_batch * UNIT + (first + t) * dt_time + head, mask=here, other=0.0).to(tl.float32)
        line = here[:, None] & states[None, :]
        Bt = tl.load(B_at + (first + t)[:, None] * B_time + s[None, :], mask=line, other=0.0).to(tl.float32)
        between, since, until, whole = chunk_decays(step * rate, LENGTH)
        wx = xt * step[:, None]
        if NOTE:
            tl.store(noted + (slot + k) * heads * P * N + at, S, mask=inside)
        else:
            Ct = tl.load(C_at + (first + t)[:, None] * C_time + s[None, :], mask=line, other=0.0).to(tl.float32)
            M = tl.dot(Ct, tl.trans(Bt), input_precision=PRECISION)
            M = tl.where(i[:, None] >= i[None, :], M * between, 0.0)
            yt = tl.dot(Ct, tl.trans(S), input_precision=PRECISION) * since[:, None]
            yt = tl.dot(M, wx, yt, input_precision=PRECISION)
            if SKIP:
                yt += weight * xt
            at_y = ((row + t) * heads + head)[:, None] * P + p[None, :]
            tl.store(y + at_y, yt.to(y.dtype.element_ty), mask=here[:, None] & own[None, :])
        S = tl.dot(tl.trans(wx * until[:, None]), Bt, S * whole, input_precision=PRECISION)
    if not NOTE:
        tl.store(last + n * heads * P * N + at, S.to(last.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["T", "x_batch", "dt_batch", "B_batch", "C_batch", "g_batch"])
@no_type_check
def ssd_backward_kernel(
    x, dt, A, B, C, skip, g, g_last, noted, dx, ddt, dA, dB, dC, dskip, dS0, bounds, reset, T,
    x_batch, dt_batch, B_batch, C_batch, g_batch,
    x_time: tl.constexpr, dt_time: tl.constexpr, B_time: tl.constexpr, C_time: tl.constexpr, g_time: tl.constexpr,
    UNIT: tl.constexpr, x_head: tl.constexpr, B_group: tl.constexpr, C_group: tl.constexpr, g_head: tl.constexpr,
    GROUP: tl.constexpr, P: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, STATES: tl.constexpr,
    LENGTH: tl.constexpr, PRECISION: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr,
    INITIAL: tl.constexpr, SKIP: tl.constexpr, FINAL: tl.constexpr,
):  # fmt: skip
    n, head, heads = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    block, blocks = tl.program_id(2), tl.num_programs(2)
    p = block * BLOCK + tl.arange(0, BLOCK)
    s = tl.arange(0, STATES)
    i = tl.arange(0, LENGTH)
    own, states = p < P, s < N
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    slot = first // LENGTH + n if PACKED else n * ((T + LENGTH - 1) // LENGTH)
    at = head * P * N + p[:, None] * N + s[None, :]
    inside = own[:, None] & states[None, :]
    rate = tl.load(A + head).to(tl.float32)
    weight = 0.0
    if SKIP:
        weight = tl.load(skip + head).to(tl.float32)
    dS = tl.zeros([BLOCK, STATES], tl.float32)
    if FINAL:
        dS = tl.load(g_last + n * heads * P * N + at, mask=inside, other=0.0).to(tl.float32)
    x_at = x + n * x_batch * UNIT + head * x_head
    g_at = g + n * g_batch * UNIT + head * g_head
    B_at = B + n * B_batch * UNIT + (head // GROUP) * B_group
    C_at = C + n * C_batch * UNIT + (head // GROUP) * C_group
    rates = tl.zeros([LENGTH], tl.float32)
    skips = tl.zeros([LENGTH], tl.float32)
    chunks = (steps + LENGTH - 1) // LENGTH
    for back in range(chunks):
        k = chunks - 1 - back
        q = k * LENGTH + i
        here = q < steps
        t = steps - 1 - q if REVERSE else q
        block_mask = here[:, None] & own[None, :]
        line = here[:, None] & states[None, :]
        xt = tl.load(x_at + (first + t)[:, None] * x_time + p[None, :], mask=block_mask, other=0.0).to(tl.float32)
        gt = tl.load(g_at + (first + t)[:, None] * g_time + p[None, :], mask=block_mask, other=0.0).to(tl.float32)
        step = tl.load(dt + n * dt_batch * UNIT + (first + t) * dt_time + head, mask=here, other=0.0).to(tl.float32)
        Bt = tl.load(B_at + (first + t)[:, None] * B_time + s[None, :], mask=line, other=0.0).to(tl.float32)
        Ct = tl.load(C_at + (first + t)[:, None] * C_time + s[None, :], mask=line, other=0.0).to(tl.float32)
        S = tl.load(noted + (slot + k) * heads * P * N + at, mask=inside, other=0.0)
        between, since, until, whole = chunk_decays(step * rate, LENGTH)
        wx = xt * step[:, None]
        causal = i[:, None] >= i[None, :]

        M = tl.where(causal, tl.dot(Ct, tl.trans(Bt), input_precision=PRECISION) * between, 0.0)
        dG = tl.where(causal, tl.dot(gt, tl.trans(wx), input_precision=PRECISION), 0.0)  # gradient of M
        # What crosses step i inside the chunk: sum over rows >= i and columns < i of M dM.
        rest = tl.cumsum(M * dG, axis=0, reverse=True)
        crossing = tl.sum(tl.where(i[:, None] > i[None, :], rest, 0.0), axis=1)
        BdS = tl.dot(Bt, tl.trans(dS), input_precision=PRECISION) * until[:, None]
        dwx = tl.dot(tl.trans(M), gt, BdS, input_precision=PRECISION)
        leaving = tl.sum(BdS * wx, axis=1)
        at_x = ((row + t) * heads + head)[:, None] * P + p[None, :]
        tl.store(dx + at_x, (dwx * step[:, None] + weight * gt).to(dx.dtype.element_ty), mask=block_mask)
        skips += tl.sum(gt * xt, axis=1)
        from_x = tl.sum(dwx * xt, axis=1)

        dG = dG * between
        at_b = (((row + t) * heads + head) * blocks + block)[:, None] * N + s[None, :]
        gS = tl.dot(gt, S, input_precision=PRECISION) * since[:, None]
        entering = tl.sum(gS * Ct, axis=1)
        tl.store(dC + at_b, tl.dot(dG, Bt, gS, input_precision=PRECISION), mask=line)
        xdS = tl.dot(wx * until[:, None], dS, input_precision=PRECISION)
        tl.store(dB + at_b, tl.dot(tl.trans(dG), Ct, xdS, input_precision=PRECISION), mask=line)

        through = tl.sum(tl.sum(dS * S, axis=1), axis=0) * whole
        before = tl.cumsum(leaving, axis=0) - leaving
        decay = crossing + tl.cumsum(entering, axis=0, reverse=True) + before + through
        rates += tl.where(here, decay * step, 0.0)
        at_t = ((row + t) * heads + head) * blocks + block
        tl.store(ddt + at_t, decay * rate + from_x, mask=here)
        dS = tl.dot(tl.trans(gt * since[:, None]), Ct, dS * whole, input_precision=PRECISION)
    tl.store(dA + (n * heads + head) * blocks + block, tl.sum(rates, axis=0))
    if SKIP:
        tl.store(dskip + (n * heads + head) * blocks + block, tl.sum(skips, axis=0))
    if INITIAL:
        tl.store(dS0 + n * heads * P * N + at, dS.to(dS0.dtype.element_ty), mask=inside)


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _run(
    kernel: Any, sequences: Sequences, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, skip: Tensor | None,
    config: configs.Ssd, **more: Any,
) -> None:  # fmt: skip
    (heads, width), (groups, states) = x.shape[-2:], B.shape[-2:]
    x, dt, B, C = rows(x), rows(dt), rows(B), rows(C)
    strided = {"x": x, "dt": dt, "B": B, "C": C}
    between = {"x_head": x.stride(-2), "B_group": B.stride(-2), "C_group": C.stride(-2)}
    if "g" in more:
        strided["g"] = rows(more.pop("g"))
        between["g_head"] = strided["g"].stride(-2)
    launch(
        kernel, (sequences.count, heads, triton.cdiv(width, config.block)), **sequences.arguments(**strided),
        **between, A=A.contiguous(), skip=_contiguous(skip), GROUP=heads // groups, P=width, N=states,
        BLOCK=config.block, STATES=config.states, LENGTH=config.length, PRECISION=config.precision,
        SKIP=skip is not None, num_warps=config.warps, **more,
    )  # fmt: skip


def ssd_forward(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    S0: Tensor | None,
    chunk: int,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """(y, last [S, H, P, N]): x [B, T, H, P] or packed [N, H, P]; `chunk` is the most steps a chunk may have."""
    if reset is not None:
        pieces = Pieces.of(x, cu_seqlens, reset, reverse)
        flat = (pieces.rows(v) for v in (x, dt, B, C))
        x_rows, dt_rows, B_rows, C_rows = flat
        start = None if S0 is None else pieces.spread(S0)
        y, last = ssd_forward(x_rows, dt_rows, A, B_rows, C_rows, D, start, chunk, pieces.bounds, None, reverse)
        return y.view(x.shape), pieces.final(last)
    sequences = Sequences.of(x, cu_seqlens, None, reverse)
    config = configs.ssd_forward(x.shape[-1], B.shape[-1], chunk, x.dtype)
    y = sequences.empty(x)
    last = torch.empty(sequences.count, *x.shape[-2:], B.shape[-1], dtype=x.dtype, device=x.device)
    _run(
        ssd_forward_kernel, sequences, x, dt, A, B, C, D, config, S0=_contiguous(S0), y=y, last=last, noted=None,
        INITIAL=S0 is not None, NOTE=False,
    )  # fmt: skip
    return y, last


def _noted(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, S0: Tensor | None, sequences: Sequences, config: configs.Ssd
) -> Tensor:
    """[slots, H, P, N] the state before every chunk; sequence n of a pack owns the slots from first_n // L + n on."""
    if sequences.bounds is None:
        slots = sequences.count * triton.cdiv(sequences.steps, config.length)
    else:
        slots = x.shape[0] // config.length + sequences.count + 1
    noted = torch.empty(slots, *x.shape[-2:], B.shape[-1], dtype=torch.float32, device=x.device)
    _run(
        ssd_forward_kernel, sequences, x, dt, A, B, C, None, config, S0=_contiguous(S0), y=None, last=None,
        noted=noted, INITIAL=S0 is not None, NOTE=True,
    )  # fmt: skip
    return noted


def ssd_backward(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    S0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    chunk: int,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """(dx, ddt, dA, dB, dC, dD, dS0); sums over heads and sequences are of partial sums in a fixed order."""
    if reset is not None:
        pieces = Pieces.of(x, cu_seqlens, reset, reverse)
        x_rows, dt_rows, B_rows, C_rows, g_rows = (pieces.rows(v) for v in (x, dt, B, C, g))
        start = None if S0 is None else pieces.spread(S0)
        end = None if g_last is None else pieces.spread(g_last, at_end=True)
        gradients = ssd_backward(
            x_rows, dt_rows, A, B_rows, C_rows, D, start, g_rows, end, chunk, pieces.bounds, None, reverse
        )
        dx, ddt, dA, dB, dC, dD, dS0 = gradients
        first = None if dS0 is None else pieces.initial(dS0)
        return dx.view(x.shape), ddt.view(dt.shape), dA, dB.view(B.shape), dC.view(C.shape), dD, first
    return _backward(x, dt, A, B, C, D, S0, g, g_last, chunk, Sequences.of(x, cu_seqlens, None, reverse))


def _backward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, S0: Tensor | None, g: Tensor,
    g_last: Tensor | None, chunk: int, sequences: Sequences,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    (heads, width), (groups, states) = x.shape[-2:], B.shape[-2:]
    config = configs.ssd_backward(width, states, chunk, x.dtype)
    blocks, exact = triton.cdiv(width, config.block), torch.float32
    note = replace(configs.ssd_forward(width, states, chunk, x.dtype), length=config.length)
    noted = _noted(x, dt, A, B, C, S0, sequences, note)
    dx = sequences.empty(x)
    ddt = sequences.empty(dt.new_empty(1).expand(*dt.shape, blocks), exact)
    partial = B.new_empty(1).expand(*dt.shape, blocks, states)
    dB, dC = sequences.empty(partial, exact), sequences.empty(partial, exact)
    dA = torch.empty(sequences.count, heads, blocks, dtype=exact, device=x.device)
    dskip = None if D is None else torch.empty_like(dA)
    dS0 = None if S0 is None else torch.empty_like(S0, memory_format=torch.contiguous_format)
    _run(
        ssd_backward_kernel, sequences, x, dt, A, B, C, D, config, g=g, g_last=_contiguous(g_last), noted=noted,
        dx=dx, ddt=ddt, dA=dA, dB=dB, dC=dC, dskip=dskip, dS0=dS0, INITIAL=S0 is not None, FINAL=g_last is not None,
    )  # fmt: skip
    of_group = [v.view(*B.shape[:-2], groups, -1, states).sum(-2).to(like.dtype) for v, like in ((dB, B), (dC, C))]
    dD = None if D is None or dskip is None else dskip.sum((0, 2)).to(D.dtype)
    return dx, ddt.sum(-1).to(dt.dtype), dA.sum((0, 2)).to(A.dtype), of_group[0], of_group[1], dD, dS0
