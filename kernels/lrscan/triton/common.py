"""What the kernels share: layouts, launches that can be recorded instead of run, gates in registers.

Kernels are marked `no_type_check` because Triton compiles their source: nothing may wrap them.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether kernels run in Triton's interpreter; Triton reads TRITON_INTERPRET when a kernel is defined."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One kernel launch, with everything that decides what is compiled."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]
    """num_warps, num_stages"""


_recorder: ContextVar[list[Launch] | None] = ContextVar("lrscan_launches", default=None)


@contextmanager
def record_launches() -> Iterator[list[Launch]]:
    """Inside the block kernels are noted, not run: how the offline compiler learns what is shipped."""
    launches: list[Launch] = []
    token = _recorder.set(launches)
    try:
        yield launches
    finally:
        _recorder.reset(token)


def launch(kernel: Any, grid: tuple[int, ...], /, *, num_warps: int = 1, num_stages: int = 1, **arguments: Any) -> None:
    """Run a kernel on the device of its first tensor; a grid without programs runs nothing."""
    launches = _recorder.get()
    options = {"num_warps": num_warps, "num_stages": num_stages}
    if launches is not None:
        launches.append(Launch(kernel=kernel, grid=grid, arguments=arguments, options=options))
        return
    if math.prod(grid) == 0:
        return
    tensor = next(v for v in arguments.values() if isinstance(v, Tensor))
    if tensor.device.type != "cuda":
        kernel[grid](**arguments, **options)
        return
    with torch.cuda.device(tensor.device):
        kernel[grid](**arguments, **options, enable_fp_fusion=True)


def accumulator(dtype: torch.dtype) -> Any:
    """The Triton type in which tensors of `dtype` are accumulated."""
    return tl.float64 if dtype in (torch.float64, torch.complex128) else tl.float32


def wide(dtype: torch.dtype) -> torch.dtype:
    """The same in torch."""
    return torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32


def rows(x: Tensor) -> Tensor:
    """x itself where its channels lie side by side, else one contiguous copy."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def optional_rows(x: Tensor | None) -> Tensor | None:
    return None if x is None else rows(x)


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Which rows belong to which sequence, of [B, T, ...] or packed [N, ...] tensors."""

    count: int
    steps: int
    """T; 0 when packed"""
    bounds: Tensor | None
    """cu_seqlens [S+1]"""
    reset: Tensor | None
    """int32 like the rows: narrower masks fall out of the asynchronous loads"""
    reverse: bool
    covered: bool = False
    """Whether the bounds are known to end at the last row."""

    @classmethod
    def of(cls, like: Tensor, cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool) -> "Sequences":
        mask = None if reset is None else reset.to(torch.int32).contiguous()
        if cu_seqlens is None:
            return cls(count=like.shape[0], steps=like.shape[1], bounds=None, reset=mask, reverse=reverse)
        bounds = cu_seqlens.to(like.device).contiguous()
        return cls(count=len(bounds) - 1, steps=0, bounds=bounds, reset=mask, reverse=reverse)

    def arguments(self, **tensors: Tensor | None) -> dict[str, Any]:
        """Pointers, batch strides in units of UNIT elements, and time strides, for kernels that read these tensors.

        Time strides are compile-time constants and batch strides are multiples of a power of two that is one, so that
        the compiler sees the alignment of every row.
        """
        present = {k: v for k, v in tensors.items() if v is not None}
        batch = {k: 0 if self.bounds is not None else v.stride(0) for k, v in present.items()}
        time = {k: v.stride(0 if self.bounds is not None else 1) for k, v in present.items()}
        unit = math.gcd(16, *batch.values(), *time.values())
        named: dict[str, Any] = {"UNIT": unit}
        for name in tensors:
            named[name] = tensors[name]
            named[f"{name}_batch"] = batch.get(name, 0) // unit
            named[f"{name}_time"] = time.get(name, 0)
        return named | {
            "bounds": self.bounds,
            "reset": self.reset,
            "T": self.steps,
            "PACKED": self.bounds is not None,
            "RESET": self.reset is not None,
            "REVERSE": self.reverse,
        }

    def empty(self, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """A contiguous output like `like`; zero in rows behind the last packed sequence."""
        out = torch.empty(like.shape, dtype=dtype or like.dtype, device=like.device)
        if self.bounds is not None and not self.covered and out.numel():
            flat = torch.view_as_real(out) if out.is_complex() else out
            _zero_slack(flat.reshape(len(out), -1), self.bounds)
        return out


def _zero_slack(out: Tensor, bounds: Tensor) -> None:
    height, width = 64, 64
    n, d = out.shape
    grid = (triton.cdiv(n, height), triton.cdiv(d, width))
    launch(
        zero_slack, grid, out=out, bounds=bounds, S=len(bounds) - 1, N=n, D=d, HEIGHT=height, WIDTH=width, num_warps=4
    )


@triton.jit(do_not_specialize=["S", "N"])
@no_type_check
def zero_slack(out, bounds, S, N, D: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Zero the rows from bounds[S] on; one program writes HEIGHT rows of WIDTH channels, or nothing."""
    end = tl.load(bounds + S).to(tl.int64)
    row = tl.program_id(0).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    d = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    mask = ((row >= end) & (row < N))[:, None] & (d < D)[None, :]
    tl.store(out + row[:, None] * D + d[None, :], tl.zeros([HEIGHT, WIDTH], out.dtype.element_ty), mask=mask)


@triton.jit
@no_type_check
def extent(n, bounds, T, PACKED: tl.constexpr):
    """(batch index, first row, steps) of sequence n; rows of one batch entry count from 0."""
    if PACKED:
        first = tl.load(bounds + n).to(tl.int64)
        steps = (tl.load(bounds + n + 1).to(tl.int64) - first).to(tl.int32)
    else:
        first = n * 0
        steps = T
    return first, steps


@triton.jit
@no_type_check
def sigmoids(x):
    """(sigmoid(x), sigmoid(-x)), each exact where it is small."""
    e = tl.exp(-tl.abs(x))
    near = 1.0 / (1.0 + e)
    far = e * near
    return tl.where(x >= 0, near, far), tl.where(x >= 0, far, near)


@triton.jit
@no_type_check
def one_minus_exp(z, TERMS: tl.constexpr):
    """1 - exp(-z) for z >= 0. The difference loses all digits at small z: there, its series by Horner's rule."""
    series = z * 0.0 + 1.0
    for k in tl.static_range(TERMS, 0, -1):
        series = 1.0 - z * (1.0 / (k + 1)) * series
    return tl.where(z < 0.5, z * series, 1.0 - tl.exp(-z))


@triton.jit
@no_type_check
def softplus(x, TERMS: tl.constexpr):
    """log(1 + exp(x)) = max(x, 0) + 2 atanh(e / (2 + e)), e = exp(-|x|): a series in 1/9 or less, exact for every x."""
    e = tl.exp(-tl.abs(x))
    s = e / (2.0 + e)
    series = x * 0.0 + 1.0 / (2 * TERMS + 1)
    for k in tl.static_range(TERMS, 0, -1):
        series = 1.0 / (2 * k - 1) + s * s * series
    return tl.maximum(x, 0.0) + 2.0 * s * series


@triton.jit
@no_type_check
def channel_rates(
    lam, d, mask, ACC: tl.constexpr, KIND: tl.constexpr, MIRROR: tl.constexpr, SCALE: tl.constexpr, TERMS: tl.constexpr
):
    """What `gates` calls rate, of each channel; MIRROR: of -lam."""
    value = (d * 0).to(ACC)
    if KIND != 1:
        value = tl.load(lam + d, mask=mask, other=0.0).to(ACC)
    if KIND == 0:
        value = SCALE * softplus(-value if MIRROR else value, TERMS)
    return value


@triton.jit
@no_type_check
def rate_slopes(lam, d, mask, ACC: tl.constexpr, KIND: tl.constexpr, MIRROR: tl.constexpr, SCALE: tl.constexpr):
    """d rate / d lam of each channel."""
    value = tl.load(lam + d, mask=mask, other=0.0).to(ACC)
    slope = value * 0.0 + 1.0
    if KIND == 0:
        slope = -SCALE * sigmoids(-value)[0] if MIRROR else SCALE * sigmoids(value)[0]
    return slope


@triton.jit
@no_type_check
def gates(x, r, i, rate, eps, KIND: tl.constexpr, TERMS: tl.constexpr):
    """(a, b) of one step, all in the accumulation type; KIND as in configs.KINDS."""
    up, down = sigmoids(r)
    if KIND == 0:
        u = rate * up
        a = tl.exp(-u)
        b = tl.sqrt(one_minus_exp(2.0 * u, TERMS) + eps) * sigmoids(i)[0] * x
    elif KIND == 1:
        a = down
        b = up * x
    else:
        a = rate + (1.0 - rate) * up
        b = (1.0 - rate) * down * x
    return a, b


@triton.jit
@no_type_check
def gate_gradients(v, dv_da, x, r, i, rate, eps, KIND: tl.constexpr, TERMS: tl.constexpr):
    """(a, dx, dr, di, drate) of one step from the gradients of b (v) and of a (dv_da)."""
    up, down = sigmoids(r)
    if KIND == 0:
        u = rate * up
        a = tl.exp(-u)
        beta = tl.sqrt(one_minus_exp(2.0 * u, TERMS) + eps)
        gate, closed = sigmoids(i)
        ratio = tl.where(beta > 0.0, up / tl.where(beta > 0.0, beta, 1.0), 0.0)  # d beta / du is infinite at u = 0
        dx = v * beta * gate
        di = dx * x * closed
        drate = a * (a * (v * gate * x) * ratio - dv_da * up)
        dr = drate * rate * down
    elif KIND == 1:
        a = down
        dx = v * up
        dr = (v * x - dv_da) * up * down
        di = dx * 0.0
        drate = dx * 0.0
    else:
        a = rate + (1.0 - rate) * up
        change = dv_da - v * x
        dx = v * (1.0 - rate) * down
        dr = change * (1.0 - rate) * up * down
        di = dx * 0.0
        drate = change * down
    return a, dx, dr, di, drate
