"""h_t = lambda h_{t-1} + u_t with lambda = exp(-nu + i theta) constant in time; complex numbers read as they lie.

Adjoint:  v_t = g_t + conj(lambda) v_{t+1};  du_t = v_t;  dlambda = sum_t v_t conj(h_{t-1});  dh0 = conj(lambda) v_1
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from lrscan.triton import configs
from lrscan.triton.common import Sequences, accumulator, extent, launch


@triton.jit
@no_type_check
def load_pairs(at, mask, BLOCK: tl.constexpr):
    """(real, imaginary) [BLOCK] of 2 BLOCK numbers side by side."""
    return tl.split(tl.reshape(tl.load(at, mask=mask, other=0.0), [BLOCK, 2]))


@triton.jit
@no_type_check
def store_pairs(at, re, im, mask, BLOCK: tl.constexpr):
    tl.store(at, tl.reshape(tl.join(re, im), [2 * BLOCK]), mask=mask)


@triton.jit(do_not_specialize=["T", "u_batch"])
@no_type_check
def complex_forward_kernel(
    u, eigenvalue, h, h0, last, bounds, reset, T, u_batch,
    u_time: tl.constexpr, UNIT: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr, INITIAL: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.program_id(1) * 2 * BLOCK + tl.arange(0, 2 * BLOCK)
    pairs = p < 2 * D
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    u_at = u + n * u_batch * UNIT + p
    lr, li = load_pairs(eigenvalue + p, pairs, BLOCK)
    re = tl.zeros([BLOCK], ACC)
    im = tl.zeros([BLOCK], ACC)
    if INITIAL:
        re, im = load_pairs(h0 + n * 2 * D + p, pairs, BLOCK)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = steps - 1 - q if REVERSE else q
        ur, ui = load_pairs(u_at + (first + t) * u_time, pairs, BLOCK)
        if RESET:
            cut = d * 0 + tl.load(reset + row + t) != 0
            re = tl.where(cut, 0.0, re)
            im = tl.where(cut, 0.0, im)
        new = lr * re - li * im + ur
        im = lr * im + li * re + ui
        re = new
        store_pairs(h + (row + t) * 2 * D + p, re, im, pairs, BLOCK)
    store_pairs(last + n * 2 * D + p, re, im, pairs, BLOCK)


@triton.jit(do_not_specialize=["T", "g_batch"])
@no_type_check
def complex_backward_kernel(
    eigenvalue, h, g, h0, g_last, du, partial, dh0, bounds, reset, T, g_batch,
    g_time: tl.constexpr, UNIT: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    ACC: tl.constexpr, PACKED: tl.constexpr, RESET: tl.constexpr, REVERSE: tl.constexpr, INITIAL: tl.constexpr,
    FINAL: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.program_id(1) * 2 * BLOCK + tl.arange(0, 2 * BLOCK)
    pairs = p < 2 * D
    first, steps = extent(n, bounds, T, PACKED)
    row = first if PACKED else n * T
    g_at = g + n * g_batch * UNIT + p
    lr, li = load_pairs(eigenvalue + p, pairs, BLOCK)
    sr = tl.zeros([BLOCK], ACC)
    si = tl.zeros([BLOCK], ACC)
    if INITIAL:
        sr, si = load_pairs(h0 + n * 2 * D + p, pairs, BLOCK)
    cr = tl.zeros([BLOCK], ACC)
    ci = tl.zeros([BLOCK], ACC)
    if FINAL:
        cr, ci = load_pairs(g_last + n * 2 * D + p, pairs, BLOCK)
    dr = tl.zeros([BLOCK], ACC)
    di = tl.zeros([BLOCK], ACC)
    for q in tl.range(0, steps, num_stages=STAGES):
        t = q if REVERSE else steps - 1 - q
        before = t + 1 if REVERSE else t - 1
        gr, gi = load_pairs(g_at + (first + t) * g_time, pairs, BLOCK)
        inside = d * 0 + q < steps - 1
        hr, hi = load_pairs(h + (row + before) * 2 * D + p, pairs & (p * 0 + q < steps - 1), BLOCK)
        hr = tl.where(inside, hr, sr)
        hi = tl.where(inside, hi, si)
        vr = gr + cr
        vi = gi + ci
        cr = lr * vr + li * vi
        ci = lr * vi - li * vr
        if RESET:
            cut = d * 0 + tl.load(reset + row + t) != 0
            hr = tl.where(cut, 0.0, hr)
            hi = tl.where(cut, 0.0, hi)
            cr = tl.where(cut, 0.0, cr)
            ci = tl.where(cut, 0.0, ci)
        dr += vr * hr + vi * hi
        di += vi * hr - vr * hi
        store_pairs(du + (row + t) * 2 * D + p, vr, vi, pairs, BLOCK)
    store_pairs(partial + n * 2 * D + p, dr, di, pairs, BLOCK)
    if INITIAL:
        store_pairs(dh0 + n * 2 * D + p, cr, ci, pairs, BLOCK)


def _numbers(x: Tensor) -> Tensor:
    """[..., D] complex as [..., 2 D] real: a view where channels lie side by side, else one copy."""
    x = x.resolve_conj().resolve_neg()
    if x.stride(-1) != 1:
        x = x.contiguous()
    return torch.view_as_real(x).flatten(-2)


def _optional_numbers(x: Tensor | None) -> Tensor | None:
    return None if x is None else _numbers(x.contiguous())


def _eigenvalue(log_nu: Tensor, theta: Tensor, dtype: torch.dtype) -> Tensor:
    """[D] complex: in double precision before it is rounded once, because every step uses it."""
    return torch.polar(torch.exp(-torch.exp(log_nu.double())), theta.double()).to(dtype)


def complex_forward(
    u: Tensor,
    log_nu: Tensor,
    theta: Tensor,
    h0: Tensor | None,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """(h, last): u complex [B, T, D] or packed [N, D]."""
    sequences, width = Sequences.of(u, cu_seqlens, reset, reverse), u.shape[-1]
    config = configs.channels(width, u.dtype, stages=configs.COMPLEX_STAGES, most=configs.COMPLEX_BLOCK)
    h = sequences.empty(u)
    last = torch.empty(sequences.count, width, dtype=u.dtype, device=u.device)
    launch(
        complex_forward_kernel, (sequences.count, triton.cdiv(width, config.block)),
        **sequences.arguments(u=_numbers(u)), eigenvalue=_numbers(_eigenvalue(log_nu, theta, u.dtype)), h=_numbers(h),
        h0=_optional_numbers(h0), last=_numbers(last), D=width, BLOCK=config.block, STAGES=config.stages,
        ACC=accumulator(u.dtype), INITIAL=h0 is not None, num_warps=config.warps,
    )  # fmt: skip
    return h, last


def complex_backward(
    log_nu: Tensor,
    theta: Tensor,
    h: Tensor,
    h0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """(du, dlog_nu, dtheta, dh0)."""
    sequences, width = Sequences.of(h, cu_seqlens, reset, reverse), h.shape[-1]
    config = configs.channels(width, h.dtype, stages=configs.COMPLEX_STAGES, most=configs.COMPLEX_BLOCK)
    eigenvalue = _eigenvalue(log_nu, theta, h.dtype)
    du = sequences.empty(h)
    partial = torch.empty(sequences.count, width, dtype=h.dtype, device=h.device)
    dh0 = None if h0 is None else torch.empty_like(h0, memory_format=torch.contiguous_format)
    launch(
        complex_backward_kernel, (sequences.count, triton.cdiv(width, config.block)),
        **sequences.arguments(g=_numbers(g)), eigenvalue=_numbers(eigenvalue), h=_numbers(h.contiguous()),
        h0=_optional_numbers(h0), g_last=_optional_numbers(g_last), du=_numbers(du), partial=_numbers(partial),
        dh0=None if dh0 is None else _numbers(dh0), D=width, BLOCK=config.block, STAGES=config.stages,
        ACC=accumulator(h.dtype), INITIAL=h0 is not None, FINAL=g_last is not None, num_warps=config.warps,
    )  # fmt: skip
    wide_partial = partial.to(torch.complex128).sum(0)  # [D]: the gradient of lambda
    exact = _eigenvalue(log_nu, theta, torch.complex128)
    along = wide_partial.conj() * exact  # real part: d log|lambda|; -imaginary part: d arg lambda
    dlog_nu = -torch.exp(log_nu.double()) * along.real
    return du, dlog_nu.to(log_nu.dtype), -along.imag.to(theta.dtype), dh0
