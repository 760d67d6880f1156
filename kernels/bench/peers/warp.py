"""accelerated-scan: `pip install accelerated-scan`. It takes (B, C, T) with T a power of two from 32 to 65536."""

from __future__ import annotations

from collections.abc import Callable

from lrscan.cases import Case, Leaves
from torch import Tensor
from torch.nn.functional import pad

from bench.peers.base import Built, Peer, of_torch, rearranged

try:
    from accelerated_scan.warp import scan as warp_scan

    _why_no_warp = None
except Exception as error:  # it compiles CUDA on import, so anything may be raised
    warp_scan, _why_no_warp = None, f"accelerated_scan.warp: {str(error).strip().partition(chr(10))[0]}"
try:
    from accelerated_scan.scalar import scan as scalar_scan

    _why_no_scalar = None
except Exception as error:
    scalar_scan, _why_no_scalar = None, f"accelerated_scan.scalar: {str(error).strip().partition(chr(10))[0]}"

LINEAR = frozenset({"linear"})


def _missing(why: str | None) -> Callable[[str], str | None]:
    def missing(device: str) -> str | None:
        return why or (None if device.startswith("cuda") else "runs on GPUs only")

    return missing


def _padding(case: Case) -> int:
    return max(32, 1 << (case.time - 1).bit_length()) - case.time


def _from_rows(scan: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Case, Leaves, Tensor | None], Built]:
    """From [B, T, D], as a model has them: transposed copies in, and out as a view."""

    def build(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
        spare = _padding(case)

        def run(given: Leaves) -> Tensor:
            a, b = (pad(given[name].mT, (0, spare)).contiguous() for name in ("a", "b"))
            return scan(a, b).mT[:, : case.time]

        return of_torch(case, leaves, run)

    return build


def _own_layout(scan: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Case, Leaves, Tensor | None], Built]:
    def build(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
        spare = _padding(case)
        return rearranged(
            case,
            leaves,
            lambda given: scan(given["a"], given["b"]),
            arrange=lambda leaf: pad(leaf.mT, (0, spare)).contiguous(),
            restore=lambda out: out.mT[:, : case.time].contiguous(),
        )

    return build


def _unavailable(a: Tensor, b: Tensor) -> Tensor:
    raise RuntimeError("accelerated-scan is not installed")


PEERS = [
    Peer(
        name=f"accelerated-scan {kind}{layout}",
        what=what,
        operators=LINEAR,
        build=build(scan or _unavailable),
        missing=_missing(why),
        most_steps=65536,
    )
    for kind, scan, why in (("warp", warp_scan, _why_no_warp), ("scalar", scalar_scan, _why_no_scalar))
    for layout, what, build in (
        ("", "From [B, T, D]: transposed copies and padding to a power of two on every call.", _from_rows),
        (", own layout", "From (B, C, T), padded before the clock starts.", _own_layout),
    )
]
