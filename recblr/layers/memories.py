"""Initial memories of a gate, spread over the lengths of histories.

Source: the chrono initialisation of Tallec and Ollivier, "Can Recurrent Neural Networks Warp Time?", arXiv 1804.11188.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def start_with_memories(keep: Float[Tensor, " H"], longest: int, *, sign: int = 1) -> None:
    """Write log U(1, longest - 1) into a bias, in place: under a sigmoid a channel then keeps a state for 2 to
    `longest` events. `sign` -1 is for the bias of a gate that forgets."""
    keep.copy_(sign * torch.log(1 + torch.rand_like(keep) * max(longest - 2, 0)))
