"""Compile every shipped kernel for GPUs that need not be there; read registers, spills and loads off machine code.

    python -m lrscan.compiled --arch 80,90 --json compiled.json

The launches are those that the operators would make: they are recorded on tensors without memory and compiled with
the assembler that comes with Triton.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
except ImportError as error:
    raise ImportError("lrscan.compiled needs Triton (Linux): pip install triton") from error

from lrscan.triton import complex as complex_kernels
from lrscan.triton import delta, gated, linear, selective, ssd
from lrscan.triton.common import INTERPRETED, Launch, record_launches

ARCHITECTURES = (80, 86, 89, 90, 100)
"""Compute capabilities, times ten: A100, RTX 30, RTX 40, H100 and H200, B200."""

FEATURES = ("plain", "full")
"""plain: [B, T, D], no states given; full: packed, reversed, with resets and gradients through both end states."""

_POINTERS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float64: "*fp64",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
    "complex64": torch.complex64,
}


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """One kernel that an operator launches."""

    operator: str
    direction: str
    """forward, backward; summary, adjoint summary (of a scan split over time); notes (states for a backward pass)"""
    dtype: str
    features: str
    """one of FEATURES"""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What the compiler made of a `Shipped` kernel for one architecture."""

    operator: str
    direction: str
    dtype: str
    features: str
    arch: int
    """compute capability, times ten"""
    kernel: str
    block: int
    """channels a program"""
    stages: int
    """time steps of loads in flight; 1 where the loop is not pipelined"""
    warps: int
    registers: int
    """a thread"""
    spills: int
    """instructions that move registers to local memory or back"""
    stack: int
    """bytes a thread"""
    shared: int
    """bytes a program"""
    loads: int
    """instructions that read global memory, asynchronous ones included"""
    vector_loads: int
    """of those, such as move 8 or 16 bytes a thread"""
    async_loads: int
    """of those, such as fill shared memory while the program goes on"""
    ptx: str
    sass: str

    def row(self) -> dict[str, Any]:
        """Everything but the code."""
        return {k: v for k, v in asdict(self).items() if k not in ("ptx", "sass")}


_B, _T, _LONG, _D = 2048, 200, 65536, 128
_STATES, _HEADS = 16, 4
_PACKED, _SEQUENCES = 200_000, 2048


def _meta(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


@dataclass(frozen=True, kw_only=True)
class _Call:
    """The arguments that calls of every operator share."""

    dtype: torch.dtype
    full: bool
    long: bool = False
    """a single long sequence, which is split over time"""

    def rows(self, *shape: int) -> Tensor:
        lead = (1, _LONG) if self.long else (_PACKED,) if self.full else (_B, _T)
        return _meta(*lead, *shape, dtype=self.dtype)

    def state(self, *shape: int) -> Tensor | None:
        return _meta(_SEQUENCES, *shape, dtype=self.dtype) if self.full else None

    def tail(self, *, reset: bool = True) -> tuple[Tensor | None, Tensor | None, bool]:
        bounds = _meta(_SEQUENCES + 1, dtype=torch.int64) if self.full else None
        return bounds, _meta(_PACKED, dtype=torch.bool) if self.full and reset else None, self.full


def _parameters(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return _meta(*shape, dtype=dtype)


def _linear(c: _Call) -> None:
    a, h0, tail = c.rows(_D), c.state(_D), c.tail()
    linear.linear_forward(a, a, h0, *tail)
    linear.linear_backward(a, a, h0, a, h0, *tail)


def _gated(kind: str, *, epilogue: bool = False) -> Callable[[_Call], None]:
    def run(c: _Call) -> None:
        x, h0, tail = c.rows(_D), c.state(_D), c.tail()
        i = x if kind == "bdlru" else None
        z = x if epilogue else None
        lam = None if kind == "mingru" else _parameters(_D)
        gated.gated_forward(x, x, i, lam, h0, z, kind, 1.0, 1e-8, *tail)
        gated.gated_backward(x, x, i, lam, h0, z, x, x, h0, kind, 1.0, 1e-8, *tail)

    return run


def _complex(c: _Call) -> None:
    u, h0, tail, parameter = c.rows(_D), c.state(_D), c.tail(), _parameters(_D)
    complex_kernels.complex_forward(u, parameter, parameter, h0, *tail)
    complex_kernels.complex_backward(parameter, parameter, u, h0, u, h0, *tail)


def _selective(c: _Call) -> None:
    u, b, h0, tail = c.rows(_D), c.rows(_STATES), c.state(_D, _STATES), c.tail()
    A, skip = _parameters(_D, _STATES), _parameters(_D)
    selective.selective_forward(u, u, A, b, b, skip, h0, *tail)
    selective.selective_backward(u, u, A, b, b, skip, h0, u, h0, *tail)


def _ssd(width: int, states: int) -> Callable[[_Call], None]:
    def run(c: _Call) -> None:
        x, dt, b = c.rows(_HEADS, width), c.rows(_HEADS), c.rows(1, states)
        S0, tail = c.state(_HEADS, width, states), c.tail(reset=False)  # resets become packed sequences
        A, skip = _parameters(_HEADS), _parameters(_HEADS)
        ssd.ssd_forward(x, dt, A, b, b, skip, S0, 32, *tail)
        ssd.ssd_backward(x, dt, A, b, b, skip, S0, x, S0, 32, *tail)

    return run


def _delta(width: int, keys: int) -> Callable[[_Call], None]:
    def run(c: _Call) -> None:
        k, v, gate, S0, tail = (
            c.rows(_HEADS, keys),
            c.rows(_HEADS, width),
            c.rows(_HEADS),
            c.state(_HEADS, width, keys),
            c.tail(),
        )
        delta.delta_forward(k, k, v, gate, gate, S0, *tail)
        delta.delta_backward(k, k, v, gate, gate, S0, v, S0, *tail)

    return run


_CALLS: dict[str, Callable[[_Call], None]] = {
    "linear": _linear,
    "bdlru": _gated("bdlru"),
    "bdlru + silu": _gated("bdlru", epilogue=True),
    "mingru": _gated("mingru"),
    "hgrn": _gated("hgrn"),
    "complex": _complex,
    "selective": _selective,
    "ssd": _ssd(32, 32),
    "ssd, 128 states": _ssd(64, 128),
    "delta": _delta(32, 32),
    "delta, keys of 128": _delta(128, 128),
}
_SPLIT = ("linear", "bdlru", "mingru", "hgrn")


def _direction(launch: Launch) -> str | None:
    """None for what is not of an operator's own, such as the filling of rows."""
    name = str(launch.kernel.__name__)
    if not name.endswith("_kernel"):
        return None
    direction = name.removesuffix("_kernel").rpartition("_")[2]
    if direction == "summary" and launch.arguments["ADJOINT"]:
        return "adjoint summary"
    return "notes" if launch.arguments.get("NOTE") else direction


@cache
def _launches() -> dict[Shipped, Launch]:
    found: dict[Shipped, Launch] = {}
    for operator, call in _CALLS.items():
        for dtype in ("complex64",) if operator == "complex" else ("float32", "bfloat16"):
            for features in FEATURES:
                _collect(found, call, operator, dtype, features, long=False)
            if operator in _SPLIT:
                _collect(found, call, operator, dtype, "plain", long=True)
    return found


def _collect(
    found: dict[Shipped, Launch], call: Callable[[_Call], None], operator: str, dtype: str, features: str, *, long: bool
) -> None:
    with record_launches() as launches:
        call(_Call(dtype=_DTYPES[dtype], full=features == "full", long=long))
    for launch in launches:
        direction = _direction(launch)
        if direction is None or (long and "summary" not in direction):
            continue
        key = Shipped(operator=operator, direction=direction, dtype=dtype, features=features)
        found.setdefault(key, launch)


def shipped() -> tuple[Shipped, ...]:
    """Every kernel that the operators launch, at the shapes of recommenders."""
    return tuple(_launches())


def _source(launch: Launch) -> ASTSource:
    kernel = launch.kernel
    signature: dict[str, str] = {}
    constants: dict[tuple[int], Any] = {}
    attributes: dict[tuple[int], list[list[Any]]] = {}
    for place, parameter in enumerate(kernel.params):
        value = launch.arguments[parameter.name]
        if parameter.is_constexpr or value is None:
            signature[parameter.name] = "constexpr"
            constants[(place,)] = value
        elif isinstance(value, Tensor):
            signature[parameter.name] = _POINTERS[value.dtype]
            attributes[(place,)] = [["tt.divisibility", 16]]
        elif isinstance(value, float):
            signature[parameter.name] = "fp32"
        else:  # the kernels specialize on no integer: see their decorators
            signature[parameter.name] = "i32" if abs(value) < 2**31 else "i64"
    return ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)


def _disassemble(cubin: bytes) -> tuple[dict[str, int], str]:
    """(REG, STACK, ..., machine code)."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not os.access(tool, os.X_OK):
        raise RuntimeError(f"{tool.name} is not in this installation of Triton: install a wheel of triton for Linux")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        outputs = [
            subprocess.run([str(tool), flag, file.name], capture_output=True, text=True, check=True).stdout
            for flag in ("--dump-resource-usage", "-sass")
        ]
    usage = {name: int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", outputs[0])}
    return usage, outputs[1]


def compile_kernel(operator: str, direction: str, dtype: str, arch: int, features: str = "plain") -> Compiled:
    """Compile one of `shipped()` for compute capability `arch` / 10, in a second or two. Needs no GPU."""
    if INTERPRETED:
        raise RuntimeError("TRITON_INTERPRET is set: this process can run kernels step by step but not compile them")
    key = Shipped(operator=operator, direction=direction, dtype=dtype, features=features)
    launch = _launches().get(key)
    if launch is None:
        raise ValueError(f"{key} is not shipped: choose one of lrscan.compiled.shipped()")
    if arch not in ARCHITECTURES:
        raise ValueError(f"arch {arch} is not among {', '.join(map(str, ARCHITECTURES))}")
    options = {**launch.options, "enable_fp_fusion": True}
    kernel = triton.compile(_source(launch), target=GPUTarget("cuda", arch, 32), options=options)
    usage, sass = _disassemble(kernel.asm["cubin"])
    asynchronous = len(re.findall(r"\bLDGSTS", sass))
    return Compiled(
        **asdict(key),
        arch=arch,
        kernel=str(launch.kernel.__name__),
        block=launch.arguments["BLOCK"],
        stages=launch.arguments.get("STAGES", 1),
        warps=launch.options["num_warps"],
        registers=usage["REG"],
        spills=len(re.findall(r"\b(?:LDL|STL)\b", sass)),
        stack=usage["STACK"],
        shared=int(kernel.metadata.shared),
        loads=len(re.findall(r"\bLDG\b", sass)) + asynchronous,
        vector_loads=len(re.findall(r"\bLDG(?:STS)?\.E\.(?:[A-Z]+\.)*(?:64|128)\b", sass)),
        async_loads=asynchronous,
        ptx=str(kernel.asm["ptx"]),
        sass=sass,
    )


def compile_all(architectures: tuple[int, ...] = ARCHITECTURES) -> Iterator[Compiled]:
    """Every shipped kernel for every architecture, one after another."""
    for key in shipped():
        for arch in architectures:
            yield compile_kernel(key.operator, key.direction, key.dtype, arch, key.features)


_COLUMNS = tuple(f.name for f in fields(Compiled) if f.name not in ("ptx", "sass", "kernel"))


def _line(values: list[Any]) -> str:
    wide = {"operator": 15, "direction": 15}
    cells = zip(_COLUMNS, values, strict=True)
    return "  ".join(str(v).ljust(wide.get(name, max(8, len(name)))) for name, v in cells).rstrip()


def _architectures(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or set(found) - set(ARCHITECTURES):
        raise argparse.ArgumentTypeError(f"{text!r}: some of {','.join(map(str, ARCHITECTURES))}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print the table; exit status 1 where a kernel spills registers."""
    parser = argparse.ArgumentParser(prog="python -m lrscan.compiled", description=__doc__)
    parser.add_argument("--arch", type=_architectures, default=ARCHITECTURES, help="compute capabilities, e.g. 80,90")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    chosen = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    sys.stdout.write(_line(list(_COLUMNS)) + "\n")
    for one in compile_all(chosen.arch):
        rows.append(one.row())
        sys.stdout.write(_line([rows[-1][name] for name in _COLUMNS]) + "\n")
        sys.stdout.flush()
    if chosen.json is not None:
        record = {"triton": triton.__version__, "torch": torch.__version__, "kernels": rows}
        chosen.json.write_text(json.dumps(record, indent=1) + "\n")
    return int(any(row["spills"] or row["stack"] for row in rows))


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
