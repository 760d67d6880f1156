"""A GRU layer, which a recurrence replaces: its gates depend on the state, so each step waits for the one before."""

from __future__ import annotations

import torch
from lrscan.cases import Case, Leaves
from lrscan.measure import results
from torch import Tensor, nn

from bench.peers.base import Built, Peer, of_torch


def _build(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
    torch.backends.cudnn.allow_tf32 = False  # float32 as the others
    torch.manual_seed(0)
    x = leaves["x"]
    layer = nn.GRU(case.channels, case.channels, batch_first=True)
    exact = nn.GRU(case.channels, case.channels, batch_first=True).double()
    layer.to(x.dtype)
    exact.load_state_dict(layer.state_dict())
    given = {"x": x, **dict(layer.to(x.device).named_parameters())}
    wide = {"x": x.detach().cpu().double().requires_grad_(), **dict(exact.named_parameters())}
    wanted = results(case.direction, lambda leaf: exact(leaf["x"])[0], wide)
    built = of_torch(case, given, lambda leaf: layer(leaf["x"])[0])
    return built._replace(wanted=wanted)


PEERS = [
    Peer(
        name="GRU (cuDNN, or torch on a CPU)",
        what="Another recurrence: a whole GRU layer of D units, its matrix products included.",
        operators=frozenset({"bdlru"}),
        build=_build,
    )
]
