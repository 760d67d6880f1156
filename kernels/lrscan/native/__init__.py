"""The native CPU backend: scan.c behind autograd. Any strides with unit channel stride are read as they come."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from lrscan.native.build import library, unavailable

__all__ = ["gated_scan", "linear_scan", "supports", "unavailable"]

_REALS = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "float", torch.float16: "float"}


def supports(operator: str, sample: Tensor) -> bool:
    return operator in ("linear_scan", "gated_scan") and sample.device.type == "cpu" and sample.dtype in _REALS


def _rows(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, int]:
    """(x as rows of channels, elements between rows): a view where the layout allows it, else one copy."""
    x = x.to(dtype)
    if x.stride(-1) == 1 or x.shape[-1] == 1:
        if x.dim() == 2 and x.stride(0) >= x.shape[1]:
            return x, x.stride(0)
        if x.dim() == 3 and x.stride(1) >= x.shape[2] and x.stride(0) == x.shape[1] * x.stride(1):
            return x, x.stride(1)
    return x.contiguous(), x.shape[-1]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which rows belong to which sequence."""

    start: Tensor
    length: Tensor
    reset: Tensor | None
    """uint8 by row."""
    reverse: bool
    channels: int

    @classmethod
    def of(cls, like: Tensor, cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool) -> _Layout:
        if cu_seqlens is None:
            length = torch.full((like.shape[0],), like.shape[1], dtype=torch.int64)
            start = torch.arange(like.shape[0], dtype=torch.int64) * like.shape[1]
        else:
            bounds = cu_seqlens.to(torch.int64).contiguous()
            start, length = bounds[:-1].contiguous(), bounds.diff()
        flat = None if reset is None else reset.reshape(-1).to(torch.uint8).contiguous()
        return cls(start=start, length=length, reset=flat, reverse=reverse, channels=like.shape[-1])

    def tail(self) -> list[Any]:
        """The arguments that end every call."""
        sequences = len(self.start)
        threads = min(torch.get_num_threads(), sequences)
        numbers = [ctypes.c_int64(n) for n in (sequences, self.channels, threads)]
        return [_at(self.start), _at(self.length), *numbers]

    def new(self, like: Tensor, dtype: torch.dtype, covered: bool) -> Tensor:
        """Room for one value a row and channel; zeros where rows belong to no sequence."""
        return torch.empty(like.shape, dtype=dtype) if covered else torch.zeros(like.shape, dtype=dtype)


def _at(x: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if x is None else x.data_ptr())


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _call(name: str, dtype: torch.dtype, *arguments: Any) -> None:
    getattr(library(), f"{name}_{_REALS[dtype]}")(*arguments)


def _covered(x: Tensor, cu_seqlens: Tensor | None) -> bool:
    return cu_seqlens is None or int(cu_seqlens[-1]) == len(x)


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, h0: Tensor | None, layout: _Layout, covered: bool
    ) -> tuple[Tensor, Tensor]:
        wide = _wide(b.dtype)
        (av, a_pitch), (bv, b_pitch) = _rows(a, wide), _rows(b, wide)
        start = None if h0 is None else h0.to(wide).contiguous()
        h = layout.new(b, wide, covered)
        last = torch.empty(len(layout.start), layout.channels, dtype=wide)
        _call(
            "linear_forward", wide, _at(av), ctypes.c_int64(a_pitch), _at(bv), ctypes.c_int64(b_pitch), _at(start),
            _at(layout.reset), ctypes.c_int64(layout.reverse), _at(h), _at(last), *layout.tail(),
        )  # fmt: skip
        ctx.save_for_backward(a, h, h0)
        ctx.layout, ctx.covered, ctx.dtype = layout, covered, b.dtype
        return h.to(b.dtype), last.to(b.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_last: Tensor) -> tuple[Tensor | None, ...]:
        a, h, h0 = ctx.saved_tensors
        layout, wide = ctx.layout, h.dtype
        (av, a_pitch), (gv, g_pitch) = _rows(a, wide), _rows(g, wide)
        end = g_last.to(wide).contiguous()
        start = None if h0 is None else h0.to(wide).contiguous()
        da, db = layout.new(h, wide, ctx.covered), layout.new(h, wide, ctx.covered)
        dh0 = None if start is None else torch.empty_like(start)
        _call(
            "linear_backward", wide, _at(av), ctypes.c_int64(a_pitch), _at(h), _at(gv), ctypes.c_int64(g_pitch),
            _at(end), _at(start), _at(layout.reset), ctypes.c_int64(layout.reverse), _at(da), _at(db), _at(dh0),
            *layout.tail(),
        )  # fmt: skip
        return da.to(a.dtype), db.to(ctx.dtype), None if dh0 is None else dh0.to(h0.dtype), None, None


class _GatedScan(torch.autograd.Function):
    """rate [D] is c softplus(lam): its gradient goes on through autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        r: Tensor,
        i: Tensor,
        rate: Tensor,
        h0: Tensor | None,
        eps: float,
        layout: _Layout,
        covered: bool,
    ) -> tuple[Tensor, Tensor]:
        wide = _wide(x.dtype)
        inputs = [part for pair in (_rows(v, wide) for v in (x, r, i)) for part in pair]
        start = None if h0 is None else h0.to(wide).contiguous()
        rates, h = rate.to(wide).contiguous(), layout.new(x, wide, covered)
        last = torch.empty(len(layout.start), layout.channels, dtype=wide)
        _call(
            "gated_forward", wide, *_arguments(inputs), _at(rates), ctypes.c_double(eps), _at(start), _at(layout.reset),
            ctypes.c_int64(layout.reverse), _at(h), _at(last), *layout.tail(),
        )  # fmt: skip
        ctx.save_for_backward(x, r, i, rate, h, h0)
        ctx.layout, ctx.covered, ctx.eps = layout, covered, eps
        return h.to(x.dtype), last.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_last: Tensor) -> tuple[Tensor | None, ...]:
        x, r, i, rate, h, h0 = ctx.saved_tensors
        layout, wide = ctx.layout, h.dtype
        inputs = [part for pair in (_rows(v, wide) for v in (x, r, i)) for part in pair]
        (gv, g_pitch), end = _rows(g, wide), g_last.to(wide).contiguous()
        start = None if h0 is None else h0.to(wide).contiguous()
        rates = rate.to(wide).contiguous()
        dx, dr, di = (layout.new(h, wide, ctx.covered) for _ in range(3))
        drate = torch.empty(len(layout.start), layout.channels, dtype=wide)  # one row a sequence: summed in fixed order
        dh0 = None if start is None else torch.empty_like(start)
        _call(
            "gated_backward", wide, *_arguments(inputs), _at(rates), ctypes.c_double(ctx.eps), _at(h), _at(gv),
            ctypes.c_int64(g_pitch), _at(end), _at(start), _at(layout.reset), ctypes.c_int64(layout.reverse),
            _at(dx), _at(dr), _at(di), _at(drate), _at(dh0), *layout.tail(),
        )  # fmt: skip
        gradients = (dx.to(x.dtype), dr.to(r.dtype), di.to(i.dtype), drate.sum(0).to(rate.dtype))
        return *gradients, None if dh0 is None else dh0.to(h0.dtype), None, None, None


def _arguments(inputs: list[Tensor | int]) -> list[Any]:
    return [_at(part) if isinstance(part, Tensor) else ctypes.c_int64(part) for part in inputs]


def linear_scan(
    a: Tensor, b: Tensor, h0: Tensor | None, cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    layout = _Layout.of(b, cu_seqlens, reset, reverse)
    return _LinearScan.apply(a, b, h0, layout, _covered(b, cu_seqlens))  # type: ignore[no-untyped-call, no-any-return]


def gated_scan(
    x: Tensor,
    r: Tensor,
    i: Tensor,
    lam: Tensor,
    h0: Tensor | None,
    kind: str,
    c: float,
    eps: float,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    layout = _Layout.of(x, cu_seqlens, reset, reverse)
    rate = c * softplus(lam.to(_wide(x.dtype)))
    covered = _covered(x, cu_seqlens)
    return _GatedScan.apply(x, r, i, rate, h0, eps, layout, covered)  # type: ignore[no-untyped-call, no-any-return]
