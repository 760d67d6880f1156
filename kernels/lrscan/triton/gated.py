"""Recurrences with their gates computed in registers; the backward pass reads x, r, i, h and computes them again.

    bdlru, rglru   a = exp(-rate sigmoid(r)),           b = sqrt(1 - a^2 + eps) sigmoid(i) x
    mingru         a = sigmoid(-r),                     b = sigmoid(r) x
    hgrn           a = lam + (1 - lam) sigmoid(r),      b = (1 - lam) sigmoid(-r) x
    epilogue       y = silu(z) h

rate [D] = c softplus(lam) for bdlru and c softplus(-lam) for rglru.
"""

from dataclasses import dataclass, replace
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from lrscan.triton import configs, linear, split
from lrscan.triton.common import (
    Sequences,
    accumulator,
    channel_rates,
    extent,
    gate_gradients,
    gates,
    launch,
    optional_rows,
    rate_slopes,
    rows,
    sigmoids,
    wide,
)


@triton.jit(do_not_specialize=["T", "eps", "x_batch", "r_batch", "i_batch", "z_batch"])
@no_type_check
def gated_forward_kernel(
    x, r, i, lam, z, y, h, h0, last, bounds, reset, T, eps, x_batch, r_batch, i_batch, z_batch,
    x_time: tl.constexpr, r_time: tl.constexpr, i_time: tl.constexpr, z_time: tl.constexpr, UNIT: tl.constexpr,
    D: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr, ACC: tl.constexpr, PACKED: tl.constexpr,
    RESET: tl.constexpr, REVERSE: tl.constexpr, INITIAL: tl.constexpr, KIND: tl.constexpr, MIRROR: tl.constexpr,
    SCALE: tl.constexpr, TERMS: tl.constexpr,
    EPILOGUE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < D
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    x_at = x + n * x_batch * UNIT + d
    r_at = r + n * r_batch * UNIT + d
    rates = channel_rates(lam, d, mask, ACC, KIND, MIRROR, SCALE, TERMS)
    state = tl.zeros([BLOCK], ACC)
    if INITIAL:
        state = tl.load(h0 + n * D + d, mask=mask, other=0.0).to(ACC)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = steps - 1 - q if REVERSE else q
        xt = tl.load(x_at + (first + t) * x_time, mask=mask, other=0.0).to(ACC)
        rt = tl.load(r_at + (first + t) * r_time, mask=mask, other=0.0).to(ACC)
        it = rt
        if KIND == 0:
            it = tl.load(i + n * i_batch * UNIT + (first + t) * i_time + d, mask=mask, other=0.0).to(ACC)
        at, bt = gates(xt, rt, it, rates, eps, KIND, TERMS)
        if RESET:
            state = tl.where(d * 0 + tl.load(reset + row + t) != 0, 0.0, state)
        state = at * state + bt
        tl.store(h + (row + t) * D + d, state.to(h.dtype.element_ty), mask=mask)
        if EPILOGUE:
            zt = tl.load(z + n * z_batch * UNIT + (first + t) * z_time + d, mask=mask, other=0.0).to(ACC)
            tl.store(y + (row + t) * D + d, (zt * sigmoids(zt)[0] * state).to(y.dtype.element_ty), mask=mask)
    tl.store(last + n * D + d, state.to(last.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["T", "eps", "x_batch", "r_batch", "i_batch", "z_batch", "g_batch"])
@no_type_check
def gated_backward_kernel(
    x, r, i, lam, z, h, g, h0, g_last, dx, dr, di, dlam, dz, dh0, bounds, reset, T, eps,
    x_batch, r_batch, i_batch, z_batch, g_batch,
    x_time: tl.constexpr, r_time: tl.constexpr, i_time: tl.constexpr, z_time: tl.constexpr, g_time: tl.constexpr,
    UNIT: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr, ACC: tl.constexpr,
    PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr, INITIAL: tl.constexpr, FINAL: tl.constexpr,
    KIND: tl.constexpr, MIRROR: tl.constexpr,
    SCALE: tl.constexpr, TERMS: tl.constexpr, EPILOGUE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < D
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    x_at = x + n * x_batch * UNIT + d
    r_at = r + n * r_batch * UNIT + d
    g_at = g + n * g_batch * UNIT + d
    rates = channel_rates(lam, d, mask, ACC, KIND, MIRROR, SCALE, TERMS)
    start = tl.zeros([BLOCK], ACC)
    if INITIAL:
        start = tl.load(h0 + n * D + d, mask=mask, other=0.0).to(ACC)
    carry = tl.zeros([BLOCK], ACC)
    if FINAL:
        carry = tl.load(g_last + n * D + d, mask=mask, other=0.0).to(ACC)
    total = tl.zeros([BLOCK], ACC)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = q if REVERSE else steps - 1 - q
        before = t + 1 if REVERSE else t - 1
        xt = tl.load(x_at + (first + t) * x_time, mask=mask, other=0.0).to(ACC)
        rt = tl.load(r_at + (first + t) * r_time, mask=mask, other=0.0).to(ACC)
        it = rt
        if KIND == 0:
            it = tl.load(i + n * i_batch * UNIT + (first + t) * i_time + d, mask=mask, other=0.0).to(ACC)
        gt = tl.load(g_at + (first + t) * g_time, mask=mask, other=0.0).to(ACC)
        inside = d * 0 + q < steps - 1
        ht = tl.load(h + (row + before) * D + d, mask=mask & inside, other=0.0).to(ACC)
        ht = tl.where(inside, ht, start)
        if EPILOGUE:
            zt = tl.load(z + n * z_batch * UNIT + (first + t) * z_time + d, mask=mask, other=0.0).to(ACC)
            now = tl.load(h + (row + t) * D + d, mask=mask, other=0.0).to(ACC)
            up, down = sigmoids(zt)
            tl.store(dz + (row + t) * D + d, (gt * now * up * (1.0 + zt * down)).to(dz.dtype.element_ty), mask=mask)
            gt = gt * zt * up
        if RESET:
            cut = d * 0 + tl.load(reset + row + t) != 0
            ht = tl.where(cut, 0.0, ht)
        v = gt + carry
        at, dxt, drt, dit, part = gate_gradients(v, v * ht, xt, rt, it, rates, eps, KIND, TERMS)
        carry = at * v
        if RESET:
            carry = tl.where(cut, 0.0, carry)
        total += part
        tl.store(dx + (row + t) * D + d, dxt.to(dx.dtype.element_ty), mask=mask)
        tl.store(dr + (row + t) * D + d, drt.to(dr.dtype.element_ty), mask=mask)
        if KIND == 0:
            tl.store(di + (row + t) * D + d, dit.to(di.dtype.element_ty), mask=mask)
    if KIND != 1:
        slopes = rate_slopes(lam, d, mask, ACC, KIND, MIRROR, SCALE)  # here: not in registers all along
        tl.store(dlam + n * D + d, total * slopes, mask=mask)
    if INITIAL:
        tl.store(dh0 + n * D + d, carry.to(dh0.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["T", "eps", "x_batch", "r_batch", "i_batch", "z_batch"])
@no_type_check
def gated_summary_kernel(
    x, r, i, lam, z, product, local, bounds, reset, T, eps, x_batch, r_batch, i_batch, z_batch,
    x_time: tl.constexpr, r_time: tl.constexpr, i_time: tl.constexpr, z_time: tl.constexpr, UNIT: tl.constexpr,
    D: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr, ACC: tl.constexpr, PACKED: tl.constexpr,
    RESET: tl.constexpr, REVERSE: tl.constexpr, KIND: tl.constexpr, MIRROR: tl.constexpr,
    SCALE: tl.constexpr, TERMS: tl.constexpr, ADJOINT: tl.constexpr,
    EPILOGUE: tl.constexpr,
):  # fmt: skip
    """As `linear.linear_summary_kernel`; ADJOINT: x holds g, which the epilogue has multiplied by silu(z)."""
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = d < D
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    rates = channel_rates(lam, d, mask, ACC, KIND, MIRROR, SCALE, TERMS)
    p = tl.zeros([BLOCK], ACC) + 1.0
    s = tl.zeros([BLOCK], ACC)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = steps - 1 - q if REVERSE != ADJOINT else q
        xt = tl.load(x + n * x_batch * UNIT + (first + t) * x_time + d, mask=mask, other=0.0).to(ACC)
        rt = tl.load(r + n * r_batch * UNIT + (first + t) * r_time + d, mask=mask, other=0.0).to(ACC)
        it = rt
        if KIND == 0:
            it = tl.load(i + n * i_batch * UNIT + (first + t) * i_time + d, mask=mask, other=0.0).to(ACC)
        if ADJOINT and EPILOGUE:
            zt = tl.load(z + n * z_batch * UNIT + (first + t) * z_time + d, mask=mask, other=0.0).to(ACC)
            xt = xt * zt * sigmoids(zt)[0]
        at, bt = gates(xt, rt, it, rates, eps, KIND, TERMS)
        s = at * (s + xt) if ADJOINT else at * s + bt
        p = p * at
        if RESET:
            cut = d * 0 + tl.load(reset + row + t) != 0
            p = tl.where(cut, 0.0, p)
            s = tl.where(cut, 0.0 if ADJOINT else bt, s)
    tl.store(product + n * D + d, p, mask=mask)
    tl.store(local + n * D + d, s, mask=mask)


@dataclass(frozen=True, kw_only=True)
class Gated:
    """The inputs of a gated scan, [B, T, D] or packed [N, D], as the kernels read them."""

    x: Tensor
    r: Tensor
    i: Tensor | None
    z: Tensor | None
    lam: Tensor | None
    """[D]"""
    kind: str
    c: float
    eps: float

    @classmethod
    def of(
        cls,
        x: Tensor,
        r: Tensor,
        i: Tensor | None,
        lam: Tensor | None,
        z: Tensor | None,
        kind: str,
        c: float,
        eps: float,
    ) -> "Gated":
        return cls(
            x=rows(x), r=rows(r), i=optional_rows(i), z=optional_rows(z),
            lam=None if lam is None or kind == "mingru" else lam.contiguous(), kind=kind, c=c, eps=eps,
        )  # fmt: skip

    def flat(self) -> "Gated":
        """With rows [B * T, D]."""
        x, r, i, z = (None if v is None else rows(split.flat(v)) for v in (self.x, self.r, self.i, self.z))
        assert x is not None
        assert r is not None
        return replace(self, x=x, r=r, i=i, z=z)

    @property
    def width(self) -> int:
        return self.x.shape[-1]

    def run(self, kernel: Any, sequences: Sequences, *, x: Tensor, stages: int, **more: Any) -> None:
        """Launch a kernel over these inputs, with `x` in the place of x; tensors named g are read by their strides."""
        config = configs.channels(self.width, self.x.dtype, stages=stages)
        strided = {"x": x, "r": self.r, "i": self.i, "z": self.z}
        if "g" in more:
            strided["g"] = more.pop("g")
        launch(
            kernel, (sequences.count, triton.cdiv(self.width, config.block)), **sequences.arguments(**strided),
            lam=self.lam, eps=self.eps, D=self.width, BLOCK=config.block, STAGES=config.stages,
            ACC=accumulator(self.x.dtype), KIND=configs.KINDS[self.kind], MIRROR=self.kind == "rglru",
            SCALE=self.c, TERMS=configs.series_terms(self.x.dtype),
            EPILOGUE=self.z is not None, num_warps=config.warps, **more,
        )  # fmt: skip


def forward(inputs: Gated, h0: Tensor | None, sequences: Sequences) -> tuple[Tensor, Tensor, Tensor]:
    """(y, h, last); y is h where there is no z."""
    x, h0 = inputs.x, None if h0 is None else h0.contiguous()
    h = sequences.empty(x)
    y = h if inputs.z is None else sequences.empty(x)
    last = torch.empty(sequences.count, inputs.width, dtype=x.dtype, device=x.device)
    inputs.run(
        gated_forward_kernel, sequences, x=x, y=y, h=h, h0=h0, last=last, INITIAL=h0 is not None,
        stages=configs.GATED_FORWARD_STAGES,
    )  # fmt: skip
    return y, h, last


def backward(
    inputs: Gated, h: Tensor, h0: Tensor | None, g: Tensor, g_last: Tensor | None, sequences: Sequences
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """(dx, dr, di, dlam [S, D]: a part of each sequence, dh0, dz)."""
    x, r, h, g = inputs.x, inputs.r, h.contiguous(), rows(g)
    h0, g_last = None if h0 is None else h0.contiguous(), None if g_last is None else g_last.contiguous()
    dx, dr = sequences.empty(x), sequences.empty(r)
    di = None if inputs.i is None else sequences.empty(inputs.i)
    dz = None if inputs.z is None else sequences.empty(inputs.z)
    dh0 = None if h0 is None else torch.empty_like(h0)
    dlam = None
    if inputs.lam is not None:
        dlam = torch.empty(sequences.count, inputs.width, dtype=wide(x.dtype), device=x.device)
    inputs.run(
        gated_backward_kernel, sequences, x=x, g=g, h=h, h0=h0, g_last=g_last, dx=dx, dr=dr, di=di, dlam=dlam,
        dz=dz, dh0=dh0, INITIAL=h0 is not None, FINAL=g_last is not None, stages=configs.GATED_BACKWARD_STAGES,
    )  # fmt: skip
    return dx, dr, di, dlam, dh0, dz


def _summaries(flat: Gated, x: Tensor, chunks: split.Chunks, *, adjoint: bool) -> tuple[Tensor, Tensor]:
    """(product, local), both [B, K, D] in the accumulation type."""
    shape = (2, chunks.each.count, flat.width)
    product, local = torch.empty(shape, dtype=wide(flat.x.dtype), device=x.device).unbind(0)
    flat.run(
        gated_summary_kernel, chunks.each, x=x, product=product, local=local, ADJOINT=adjoint,
        stages=configs.GATED_FORWARD_STAGES,
    )  # fmt: skip
    over = (chunks.over.count, chunks.over.steps, flat.width)
    return product.view(over), local.view(over)


def forward_split(inputs: Gated, h0: Tensor | None, sequences: Sequences, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """`forward` of [B, T, D] in chunks of `size` steps."""
    chunks, flat, shape = split.Chunks.of(sequences, size, inputs.x), inputs.flat(), inputs.x.shape
    product, local = _summaries(flat, flat.x, chunks, adjoint=False)
    after, _ = linear.forward(product, local, h0, chunks.over, local.dtype)
    y, h, last = forward(flat, chunks.entering(after, h0), chunks.each)
    return y.view(shape), h.view(shape), chunks.final(last)


def backward_split(
    inputs: Gated, h: Tensor, h0: Tensor | None, g: Tensor, g_last: Tensor | None, sequences: Sequences, size: int
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """`backward` of [B, T, D] in chunks of `size` steps; dlam is [B * K, D]."""
    chunks, flat, shape = split.Chunks.of(sequences, size, h), inputs.flat(), h.shape
    g_flat = rows(split.flat(g))
    product, local = _summaries(flat, g_flat, chunks, adjoint=True)
    after, _ = linear.forward(product, local, g_last, chunks.against, local.dtype)
    carries, states = chunks.entering(after, g_last, against=True), chunks.before(h, h0)
    dx, dr, di, dlam, left, dz = backward(flat, split.flat(h), states, g_flat, carries, chunks.each)
    assert left is not None
    dh0 = None if h0 is None else chunks.final(left, against=True).to(h0.dtype)
    di, dz = (None if v is None else v.view(shape) for v in (di, dz))
    return dx.view(shape), dr.view(shape), di, dlam, dh0, dz


def gated_forward(
    x: Tensor,
    r: Tensor,
    i: Tensor | None,
    lam: Tensor | None,
    h0: Tensor | None,
    z: Tensor | None,
    kind: str,
    c: float,
    eps: float,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, h, last): x, r, i, z [B, T, D] or packed [N, D]; y is h itself where there is no z."""
    sequences = Sequences.of(x, cu_seqlens, reset, reverse)
    inputs = Gated.of(x, r, i, lam, z, kind, c, eps)
    size = linear.chunk_size(x, sequences)
    return forward_split(inputs, h0, sequences, size) if size else forward(inputs, h0, sequences)


def gated_backward(
    x: Tensor,
    r: Tensor,
    i: Tensor | None,
    lam: Tensor | None,
    h0: Tensor | None,
    z: Tensor | None,
    h: Tensor,
    g: Tensor,
    g_last: Tensor | None,
    kind: str,
    c: float,
    eps: float,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """(dx, dr, di, dlam, dh0, dz)."""
    sequences = Sequences.of(x, cu_seqlens, reset, reverse)
    inputs = Gated.of(x, r, i, lam, z, kind, c, eps)
    size = linear.chunk_size(x, sequences)
    if size:
        gradients = backward_split(inputs, h, h0, g, g_last, sequences, size)
    else:
        gradients = backward(inputs, h, h0, g, g_last, sequences)
    dx, dr, di, parts, dh0, dz = gradients
    dlam = None if lam is None or parts is None else parts.sum(0, dtype=torch.float64).to(lam.dtype)
    return dx, dr, di, dlam, dh0, dz
