"""How fast an operator call is and whether it is right, always both: there is no time for a wrong result.

    measure(Case(operator="bdlru", batch=64, time=200, channels=128), backends=["native", "torch"])

Backends take turns call by call with a copy of as many bytes as the call must move at the least, so a busy moment of
the machine meets all of them alike. Errors are against the float64 reference, for the output and every gradient.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lrscan.cases import OUTPUT_LIKE, PARAMETERS, Case, Leaves, call, inputs, minimal_bytes
from lrscan.dispatch import backends as known_backends

COPY = "copy"
LIMITS = {"float32": 5e-6, "bfloat16": 1e-2, "float64": 1e-12}
"""Largest error of a result that is right, over the largest value of the tensor. The tests hold float32 to 2e-6."""
WARM_UPS = 2
LONGEST_LOOP = 4096
"""Steps up to which the reference is the Python loop; beyond, a tested backend in float64."""
SLICE = 1_000_000
"""Elements of a piece of the batch in the reference, which bounds its memory."""
FLUSH = 256 * 2**20
"""Bytes written between calls on a GPU, so that no call finds its inputs in the cache."""

Results = dict[str, Tensor]
Program = Callable[[], object]


class WrongResult(RuntimeError):
    """A result too far from the reference for its time to mean anything."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Repeated calls, in milliseconds."""

    median_ms: float
    low_ms: float
    """10th percentile."""
    high_ms: float
    """90th percentile."""
    best_ms: float
    repeats: int
    to_copy: float
    """Median over the rounds of this call's time over the copy's time in the same round; 1 for the copy itself."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A call that is right, and how long it takes."""

    case: Case
    backend: str
    device: str
    timing: Timing
    copy: Timing
    """A copy of `bytes` bytes, half of them read and half written, in turns with the call."""
    bytes: int
    """Minimal traffic of the call."""
    errors: dict[str, float]
    """Largest difference from float64 over the largest value, for "out" and "d <input>"."""

    @property
    def gb_per_second(self) -> float:
        return self.bytes / self.timing.median_ms / 1e6

    @property
    def share_of_copy(self) -> float:
        """Share of the bandwidth of the copy, 1 = as fast."""
        return 1 / self.timing.to_copy

    @property
    def error(self) -> float:
        return max(self.errors.values())


def measure(
    case: Case, backends: Sequence[str], *, device: str = "cpu", repeats: int = 50, seconds: float = 2.0
) -> list[Result]:
    """Check each backend, then time all of them beside the copy. Raises WrongResult naming the tensor."""
    leaves, bounds = inputs(case, device)
    wanted = oracle(case, leaves, bounds)
    programs: dict[str, Program] = {}
    errors: dict[str, dict[str, float]] = {}
    for backend in backends:

        def run(given: Leaves, backend: str = backend) -> Tensor:
            return call(case, given, bounds, backend)

        errors[backend] = check(results(case.direction, run, leaves), wanted, LIMITS[case.dtype], backend)
        programs[backend] = program(case.direction, run, leaves)
    size = minimal_bytes(case)
    timings = interleaved(
        {COPY: copy_program(size, device), **programs}, device=device, repeats=repeats, seconds=seconds
    )
    return [
        Result(
            case=case,
            backend=backend,
            device=device,
            timing=timings[backend],
            copy=timings[COPY],
            bytes=size,
            errors=errors[backend],
        )
        for backend in backends
    ]


def gradient(out: Tensor) -> Tensor:
    """The gradient that is sent back into `out`, the same for every program of a case."""
    g = torch.Generator().manual_seed(7)
    real = torch.randn(out.shape, generator=g)
    full = torch.complex(real, -real) if out.is_complex() else real
    return full.to(device=out.device, dtype=out.dtype)


def program(
    direction: str, run: Callable[[Leaves], Tensor], leaves: Leaves, send: Callable[[Tensor], Tensor] = gradient
) -> Program:
    """What is timed: `run` without autograd, or its backward pass alone, or both; `send` makes the gradient sent in."""
    if direction == "forward":

        def forward() -> object:
            with torch.no_grad():
                return run(leaves)

        return forward
    out = run(leaves)
    g, targets = send(out.detach()), list(leaves.values())
    if direction == "backward":
        return lambda: torch.autograd.grad(out, targets, g, retain_graph=True)
    return lambda: torch.autograd.grad(run(leaves), targets, g)


def results(
    direction: str, run: Callable[[Leaves], Tensor], leaves: Leaves, send: Callable[[Tensor], Tensor] = gradient
) -> Results:
    """The output, and the gradient of every input unless only the forward pass is asked for."""
    if direction == "forward":
        with torch.no_grad():
            return {"out": run(leaves)}
    out = run(leaves)
    found = torch.autograd.grad(out, list(leaves.values()), send(out.detach()))
    return {"out": out.detach(), **{f"d {name}": one for name, one in zip(leaves, found, strict=True)}}


def oracle(case: Case, leaves: Leaves, bounds: Tensor | None) -> Results:
    """Output and gradients in float64, on the CPU.

    By the reference's loop, or beyond LONGEST_LOOP steps, where that would take minutes, by the fastest backend in
    float64, which the tests hold to 1e-12 of the loop.
    """
    backend = "reference" if case.time <= LONGEST_LOOP else None
    wide = replace(case, dtype="float64")
    whole = {name: _widened(leaf) for name, leaf in leaves.items()}
    step = len(next(iter(whole.values())))
    if bounds is None:
        step = max(1, SLICE // (case.time * case.channels))
    pieces: list[Results] = []
    like = leaves[next(name for name in OUTPUT_LIKE if name in leaves)].detach()
    g = _widened(gradient(like))
    for start in range(0, len(g), step):
        part = {
            name: (leaf if name in PARAMETERS else leaf[start : start + step]).detach().requires_grad_()
            for name, leaf in whole.items()
        }
        out = call(wide, part, None if bounds is None else bounds.cpu(), backend)
        piece = {"out": out.detach()}
        if case.direction != "forward":
            found = torch.autograd.grad(out, list(part.values()), g[start : start + step])
            piece |= {f"d {name}": one for name, one in zip(part, found, strict=True)}
        pieces.append(piece)
    return {name: _joined(name, [piece[name] for piece in pieces]) for name in pieces[0]}


def _widened(leaf: Tensor) -> Tensor:
    return leaf.detach().cpu().to(torch.complex128 if leaf.is_complex() else torch.float64)


def _joined(name: str, parts: list[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.stack(parts).sum(0) if name.removeprefix("d ") in PARAMETERS else torch.cat(parts)


def check(got: Results, wanted: Results, limit: float, who: str) -> dict[str, float]:
    """Error of each tensor; raises WrongResult where one is above `limit` or not a number."""
    errors = {name: error(got[name], wanted[name]) for name in wanted}
    worst = max(errors, key=errors.__getitem__)
    if errors[worst] > limit:
        raise WrongResult(
            f"{who} is wrong: {worst} differs from float64 by {errors[worst]:.1e} of its largest value, "
            f"the limit is {limit:.0e}; so it is not timed"
        )
    return errors


def error(got: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value; infinite where `got` is not finite or has another shape."""
    if got.shape != wanted.shape or not bool(
        torch.isfinite(torch.view_as_real(got) if got.is_complex() else got).all()
    ):
        return float("inf")
    difference = (got.detach().cpu().to(wanted.dtype) - wanted).abs().max()
    return float(difference / wanted.abs().max().clamp(min=1e-30))


def copy_program(n_bytes: int, device: str) -> Program:
    """Copies half of `n_bytes`: that many are read and as many written."""
    source = torch.zeros(max(n_bytes // 2, 1), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def interleaved(
    programs: Mapping[str, Program], *, device: str = "cpu", repeats: int = 50, least: int = 5, seconds: float = 2.0
) -> dict[str, Timing]:
    """Time programs in turns: `repeats` rounds, or from `least` rounds on as many as fit into `seconds`.

    CUDA events on a GPU, with the cache overwritten before each call; the clock on a CPU. The program named "copy" is
    what `to_copy` refers to; without one it is not a number.
    """
    timer = _gpu_timer(device) if device.startswith("cuda") else _cpu_timer
    for run in programs.values():
        for _ in range(WARM_UPS):
            run()
    taken: dict[str, list[float]] = {name: [] for name in programs}
    start = time.perf_counter()
    for done in range(repeats):
        if done >= least and time.perf_counter() - start > seconds:
            break
        for name, run in programs.items():
            taken[name].append(timer(run))
    copies = taken.get(COPY)
    return {name: _timing(times, copies) for name, times in taken.items()}


def _cpu_timer(run: Program) -> float:
    start = time.perf_counter()
    kept = run()
    milliseconds = 1e3 * (time.perf_counter() - start)
    del kept  # freed outside of the time
    return milliseconds


def _gpu_timer(device: str) -> Callable[[Program], float]:
    flush = torch.empty(FLUSH, dtype=torch.uint8, device=device)

    def timer(run: Program) -> float:
        flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        kept = run()
        end.record()
        end.synchronize()
        del kept
        return float(start.elapsed_time(end))

    return timer


def _timing(times: list[float], copies: list[float] | None) -> Timing:
    cuts = statistics.quantiles(times, n=10, method="inclusive") if len(times) > 1 else [times[0]] * 9
    ratios = [one / max(copy, 1e-9) for one, copy in zip(times, copies, strict=True)] if copies else [float("nan")]
    return Timing(
        median_ms=statistics.median(times),
        low_ms=cuts[0],
        high_ms=cuts[-1],
        best_ms=min(times),
        repeats=len(times),
        to_copy=statistics.median(ratios),
    )


def usable(case: Case, device: str = "cpu") -> dict[str, str | None]:
    """Backend -> why it cannot run this case here, or None; asked by calling it on two events."""
    small = replace(case, batch=1, time=2, channels=min(case.channels, 32), fill=1.0)
    found: dict[str, str | None] = {}
    for name, why in known_backends().items():
        if why is None:
            try:
                call(small, inputs(small, device)[0], backend=name)
            except Exception as refused:  # whatever a backend or its compiler raises is the reason
                why = str(refused).strip().partition("\n")[0] or type(refused).__name__
        found[name] = why
    return found
