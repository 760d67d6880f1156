"""The recurrence in torch's own operations: the loop, recursive doubling, and torch's associative scan."""

from __future__ import annotations

import torch
from lrscan.cases import Case, Leaves
from torch import Tensor
from torch._higher_order_ops.associative_scan import associative_scan
from torch.nn.functional import pad

from bench.peers.base import Built, Peer, of_torch

LINEAR = frozenset({"linear"})


def time_loop(given: Leaves) -> Tensor:
    """One step after the other; autograd keeps each."""
    h = torch.zeros_like(given["b"][:, 0])
    steps = []
    for a, b in zip(given["a"].unbind(1), given["b"].unbind(1), strict=True):
        h = a * h + b
        steps.append(h)
    return torch.stack(steps, 1)


def doubling(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Hillis and Steele: in pass k every element takes in the one 2^k before it; log2(T) passes over all elements."""
    steps, reach = b.shape[dim], 1
    front = [0, 0] * (b.dim() - 1 - dim % b.dim())
    while reach < steps:
        earlier_a, earlier_b = a.narrow(dim, 0, steps - reach), b.narrow(dim, 0, steps - reach)
        b = b + a * pad(earlier_b, [*front, reach, 0])
        a = a * pad(earlier_a, [*front, reach, 0], value=1.0)
        reach *= 2
    return b


def _combine(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return left[0] * right[0], right[0] * left[1] + right[1]


def tree(given: Leaves) -> Tensor:
    """torch's associative_scan, operation by operation."""
    out: Tensor = associative_scan(_combine, (given["a"], given["b"]), dim=1, combine_mode="generic")[1]
    return out


def _fused_tree(a: Tensor, b: Tensor) -> Tensor:
    out: Tensor = associative_scan(_combine, (a, b), dim=1, combine_mode="pointwise")[1]
    return out


def _build_fused(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
    if case.direction != "forward":
        raise NotImplementedError("torch's fused associative_scan has no gradient")
    one_kernel = torch.compile(_fused_tree, dynamic=False)
    return of_torch(case, leaves, lambda given: one_kernel(given["a"], given["b"]))


def _gpu_only(device: str) -> str | None:
    return None if device.startswith("cuda") else "runs on GPUs only"


PEERS = [
    Peer(
        name="time loop",
        what="A Python loop over time under autograd.",
        operators=LINEAR,
        build=lambda case, leaves, bounds: of_torch(case, leaves, time_loop),
        most_steps=2_000,
    ),
    Peer(
        name="Hillis-Steele",
        what="log2(T) passes of torch operations under autograd.",
        operators=LINEAR,
        build=lambda case, leaves, bounds: of_torch(
            case, leaves, lambda given: doubling(given["a"], given["b"], dim=1)
        ),
    ),
    Peer(
        name="torch associative_scan",
        what="torch's generic associative_scan, eager, under autograd.",
        operators=LINEAR,
        build=lambda case, leaves, bounds: of_torch(case, leaves, tree),
    ),
    Peer(
        name="torch associative_scan, compiled",
        what="torch's pointwise associative_scan as one kernel; it has no gradient.",
        operators=LINEAR,
        build=_build_fused,
        missing=_gpu_only,
    ),
]
