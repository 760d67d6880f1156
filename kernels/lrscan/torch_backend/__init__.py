"""The portable backend: plain torch on any device, with hand-written backward passes.

A time loop of ``addcmul(out=)`` touches each element once in each direction (autograd through ``a[:, t]`` would be
O(T^2), closed forms with cumulative products overflow). Gates are computed again in the backward pass. State-space
operators work chunk by chunk, so that no state is kept for every step.
"""

from __future__ import annotations

from torch import Tensor

from lrscan.torch_backend.complex import complex_backward, complex_forward
from lrscan.torch_backend.delta import delta_backward, delta_forward
from lrscan.torch_backend.gated import gated_backward, gated_forward
from lrscan.torch_backend.linear import linear_backward, linear_forward
from lrscan.torch_backend.selective import selective_backward, selective_forward
from lrscan.torch_backend.ssd import ssd_backward, ssd_forward

__all__ = [
    "complex_backward",
    "complex_forward",
    "delta_backward",
    "delta_forward",
    "gated_backward",
    "gated_forward",
    "linear_backward",
    "linear_forward",
    "selective_backward",
    "selective_forward",
    "ssd_backward",
    "ssd_forward",
    "supports",
    "unavailable",
]


def unavailable() -> str | None:
    return None


def supports(operator: str, sample: Tensor) -> bool:
    return True
