"""RecBLR's published path, stated anew: gates as single torch operations on sequences left-padded to a power of two,
transposed copies to (B, C, T), and a parallel scan of whole rows in float32.

Source: arXiv 2406.12580, sections 3.2 and 3.4, and the published code's order of operations. Padding to a power of two
happens where sequences are embedded, so it is done before the clock starts.
"""

from __future__ import annotations

import torch
from lrscan.cases import Case, Leaves
from torch import Tensor
from torch.nn.functional import pad, softplus

from bench.peers.base import Built, Peer, rearranged
from bench.peers.row_scan import RowScan


def gates_and_scan(given: Leaves) -> Tensor:
    """x, r, i: [B, 2^k, D]; lam: [D]. The root is taken of 1 - a^2 + 1e-8, as published."""
    r, i, x = torch.sigmoid(given["r"]), torch.sigmoid(given["i"]), given["x"]
    a = torch.exp(-softplus(given["lam"]) * r)
    b = torch.sqrt(1 - a.pow(2) + 1e-8) * i * x
    rows = RowScan.apply(a.float().mT.contiguous(), b.float().mT.contiguous())  # (B, D, 2^k)
    return rows.mT.to(x.dtype)


def _build(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
    spare = (1 << (case.time - 1).bit_length()) - case.time
    return rearranged(
        case,
        leaves,
        gates_and_scan,
        arrange=lambda leaf: pad(leaf, (0, 0, spare, 0)),
        restore=lambda out: out[:, spare:],
    )


PEERS = [
    Peer(
        name="RecBLR's path",
        what="Gates one by one, padding to a power of two, transposed copies, a parallel scan of rows.",
        operators=frozenset({"bdlru"}),
        build=_build,
        most_steps=2**17,  # a row must fit into one block
    )
]
