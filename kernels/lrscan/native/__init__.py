"""The native CPU backend: scan.c called through ctypes. Contract: `lrscan.reference`.

Any strides with unit channel stride are read as they come, a channel's numbers in one pass over memory each way.
"""

from __future__ import annotations

from torch import Tensor

from lrscan.native.build import unavailable
from lrscan.native.calls import REALS
from lrscan.native.gated import gated_backward, gated_forward
from lrscan.native.linear import linear_backward, linear_forward

__all__ = ["gated_backward", "gated_forward", "linear_backward", "linear_forward", "supports", "unavailable"]


def supports(operator: str, sample: Tensor) -> bool:
    return operator in ("linear_scan", "gated_scan") and sample.device.type == "cpu" and sample.dtype in REALS
