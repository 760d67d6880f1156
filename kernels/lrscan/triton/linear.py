"""h_t = a_t h_{t-1} + b_t: one program a sequence and block of channels, sequential in time, loads steps ahead.

Adjoint:  v_t = g_t + a_{t+1} v_{t+1};  db_t = v_t;  da_t = v_t h_{t-1};  dh0 = a_1 v_1
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from lrscan.triton import configs, split
from lrscan.triton.common import Sequences, accumulator, extent, launch, rows, wide


@triton.jit(do_not_specialize=["T", "a_batch", "b_batch"])
@no_type_check
def linear_forward_kernel(
    a, b, h, h0, last, bounds, reset, T, a_batch, b_batch,
    a_time: tl.constexpr, b_time: tl.constexpr, UNIT: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
    STAGES: tl.constexpr, ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr,
    INITIAL: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < D
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    a_at = a + n * a_batch * UNIT + d
    b_at = b + n * b_batch * UNIT + d
    state = tl.zeros([BLOCK], ACC)
    if INITIAL:
        state = tl.load(h0 + n * D + d, mask=mask, other=0.0).to(ACC)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = steps - 1 - q if REVERSE else q
        at = tl.load(a_at + (first + t) * a_time, mask=mask, other=0.0).to(ACC)
        bt = tl.load(b_at + (first + t) * b_time, mask=mask, other=0.0).to(ACC)
        if RESET:  # by select: 0 * NaN would leak
            state = tl.where(d * 0 + tl.load(reset + row + t) != 0, 0.0, state)
        state = at * state + bt
        tl.store(h + (row + t) * D + d, state.to(h.dtype.element_ty), mask=mask)
    tl.store(last + n * D + d, state.to(last.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["T", "a_batch", "g_batch"])
@no_type_check
def linear_backward_kernel(
    a, h, g, h0, g_last, da, db, dh0, bounds, reset, T, a_batch, g_batch,
    a_time: tl.constexpr, g_time: tl.constexpr, UNIT: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
    STAGES: tl.constexpr, ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr,
    INITIAL: tl.constexpr, FINAL: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < D
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    a_at = a + n * a_batch * UNIT + d
    g_at = g + n * g_batch * UNIT + d
    start = tl.zeros([BLOCK], ACC)
    if INITIAL:
        start = tl.load(h0 + n * D + d, mask=mask, other=0.0).to(ACC)
    carry = tl.zeros([BLOCK], ACC)
    if FINAL:
        carry = tl.load(g_last + n * D + d, mask=mask, other=0.0).to(ACC)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = q if REVERSE else steps - 1 - q
        before = t + 1 if REVERSE else t - 1
        at = tl.load(a_at + (first + t) * a_time, mask=mask, other=0.0).to(ACC)
        gt = tl.load(g_at + (first + t) * g_time, mask=mask, other=0.0).to(ACC)
        inside = d * 0 + q < steps - 1
        ht = tl.load(h + (row + before) * D + d, mask=mask & inside, other=0.0).to(ACC)
        ht = tl.where(inside, ht, start)
        v = gt + carry
        carry = at * v
        if RESET:
            cut = d * 0 + tl.load(reset + row + t) != 0
            ht = tl.where(cut, 0.0, ht)
            carry = tl.where(cut, 0.0, carry)
        tl.store(da + (row + t) * D + d, (v * ht).to(da.dtype.element_ty), mask=mask)
        tl.store(db + (row + t) * D + d, v.to(db.dtype.element_ty), mask=mask)
    if INITIAL:
        tl.store(dh0 + n * D + d, carry.to(dh0.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["T", "a_batch", "b_batch"])
@no_type_check
def linear_summary_kernel(
    a, b, product, local, bounds, reset, T, a_batch, b_batch,
    a_time: tl.constexpr, b_time: tl.constexpr, UNIT: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
    STAGES: tl.constexpr, ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr,
    ADJOINT: tl.constexpr,
):  # fmt: skip
    """What a chunk does to the state that enters it: state -> product * state + local.

    ADJOINT: b holds g, and the carry c -> a (g + c) runs against the direction of the scan.
    """
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < D
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    a_at = a + n * a_batch * UNIT + d
    b_at = b + n * b_batch * UNIT + d
    p = tl.zeros([BLOCK], ACC) + 1.0
    s = tl.zeros([BLOCK], ACC)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = steps - 1 - q if REVERSE != ADJOINT else q
        at = tl.load(a_at + (first + t) * a_time, mask=mask, other=0.0).to(ACC)
        bt = tl.load(b_at + (first + t) * b_time, mask=mask, other=0.0).to(ACC)
        s = at * (s + bt) if ADJOINT else at * s + bt
        p = p * at
        if RESET:
            cut = d * 0 + tl.load(reset + row + t) != 0
            p = tl.where(cut, 0.0, p)
            s = tl.where(cut, 0.0 if ADJOINT else bt, s)
    tl.store(product + n * D + d, p, mask=mask)
    tl.store(local + n * D + d, s, mask=mask)


def forward(
    a: Tensor, b: Tensor, h0: Tensor | None, sequences: Sequences, last_dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(h like b, last [S, D])."""
    a, b, h0 = rows(a), rows(b), None if h0 is None else h0.contiguous()
    width, config = b.shape[-1], configs.channels(b.shape[-1], b.dtype)
    h = sequences.empty(b)
    last = torch.empty(sequences.count, width, dtype=last_dtype, device=b.device)
    launch(
        linear_forward_kernel, (sequences.count, triton.cdiv(width, config.block)),
        **sequences.arguments(a=a, b=b), h=h, h0=h0, last=last, D=width, BLOCK=config.block, STAGES=config.stages,
        ACC=accumulator(b.dtype), INITIAL=h0 is not None, num_warps=config.warps,
    )  # fmt: skip
    return h, last


def backward(
    a: Tensor, h: Tensor, h0: Tensor | None, g: Tensor, g_last: Tensor | None, sequences: Sequences
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(da like a, db like h, dh0)."""
    a, g, h = rows(a), rows(g), h.contiguous()
    h0, g_last = None if h0 is None else h0.contiguous(), None if g_last is None else g_last.contiguous()
    width, config = h.shape[-1], configs.channels(h.shape[-1], h.dtype)
    da, db = sequences.empty(a), sequences.empty(h)
    dh0 = None if h0 is None else torch.empty_like(h0)
    launch(
        linear_backward_kernel, (sequences.count, triton.cdiv(width, config.block)),
        **sequences.arguments(a=a, g=g), h=h, h0=h0, g_last=g_last, da=da, db=db, dh0=dh0, D=width,
        BLOCK=config.block, STAGES=config.stages, ACC=accumulator(h.dtype), INITIAL=h0 is not None,
        FINAL=g_last is not None, num_warps=config.warps,
    )  # fmt: skip
    return da, db, dh0


def _summaries(a: Tensor, b: Tensor, chunks: split.Chunks, *, adjoint: bool) -> tuple[Tensor, Tensor]:
    """(product, local), both [B, K, D] in the accumulation type; a, b: [B * T, D]."""
    width, config = b.shape[-1], configs.channels(b.shape[-1], b.dtype)
    count = chunks.each.count
    product, local = torch.empty(2, count, width, dtype=wide(b.dtype), device=b.device).unbind(0)
    launch(
        linear_summary_kernel, (count, triton.cdiv(width, config.block)), **chunks.each.arguments(a=a, b=b),
        product=product, local=local, D=width, BLOCK=config.block, STAGES=config.stages, ACC=accumulator(b.dtype),
        ADJOINT=adjoint, num_warps=config.warps,
    )  # fmt: skip
    shape = (chunks.over.count, chunks.over.steps, width)
    return product.view(shape), local.view(shape)


def forward_split(a: Tensor, b: Tensor, h0: Tensor | None, sequences: Sequences, size: int) -> tuple[Tensor, Tensor]:
    """`forward` of [B, T, D] in chunks of `size` steps."""
    chunks = split.Chunks.of(sequences, size, b)
    a_flat, b_flat = rows(split.flat(a)), rows(split.flat(b))
    product, local = _summaries(a_flat, b_flat, chunks, adjoint=False)
    after, _ = forward(product, local, h0, chunks.over, local.dtype)
    h, last = forward(a_flat, b_flat, chunks.entering(after, h0), chunks.each, b.dtype)
    return h.view(b.shape), chunks.final(last)


def backward_split(
    a: Tensor, h: Tensor, h0: Tensor | None, g: Tensor, g_last: Tensor | None, sequences: Sequences, size: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`backward` of [B, T, D] in chunks of `size` steps."""
    chunks = split.Chunks.of(sequences, size, h)
    a_flat, g_flat = rows(split.flat(a)), rows(split.flat(g))
    product, local = _summaries(a_flat, g_flat, chunks, adjoint=True)
    after, _ = forward(product, local, g_last, chunks.against, local.dtype)
    carries = chunks.entering(after, g_last, against=True)
    da, db, left = backward(a_flat, split.flat(h), chunks.before(h, h0), g_flat, carries, chunks.each)
    assert left is not None
    dh0 = None if h0 is None else chunks.final(left, against=True).to(h0.dtype)
    return da.view(a.shape), db.view(h.shape), dh0


def chunk_size(like: Tensor, sequences: Sequences) -> int:
    """Steps a chunk, or 0: packed sequences and full devices are not split."""
    return 0 if sequences.bounds is not None else configs.chunk_steps(sequences.count, sequences.steps, like.shape[-1])


def linear_forward(
    a: Tensor, b: Tensor, h0: Tensor | None, cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    """(h, last): a, b [B, T, D] or packed [N, D]."""
    sequences = Sequences.of(b, cu_seqlens, reset, reverse)
    size = chunk_size(b, sequences)
    return forward_split(a, b, h0, sequences, size) if size else forward(a, b, h0, sequences, b.dtype)


def linear_backward(
    a: Tensor,
    h: Tensor,
    h0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(da, db, dh0)."""
    sequences = Sequences.of(h, cu_seqlens, reset, reverse)
    size = chunk_size(h, sequences)
    if size:
        return backward_split(a, h, h0, g, g_last, sequences, size)
    return backward(a, h, h0, g, g_last, sequences)
