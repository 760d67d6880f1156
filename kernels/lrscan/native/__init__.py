"""The native CPU backend: C called through ctypes. Contract: `lrscan.reference`.

Any strides with unit channel stride are read as they come, a channel's numbers in one pass over memory each way.
Sequences are shared out among as many threads as torch uses.
"""

from __future__ import annotations

from torch import Tensor

from lrscan.native.build import unavailable as _unavailable
from lrscan.native.calls import REALS
from lrscan.native.complex import complex_backward, complex_forward
from lrscan.native.delta import delta_backward, delta_forward
from lrscan.native.gated import gated_backward, gated_forward
from lrscan.native.linear import linear_backward, linear_forward
from lrscan.native.state_space import selective_backward, selective_forward, ssd_backward, ssd_forward

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

SOURCES = {
    "linear_scan": "linear",
    "gated_scan": "gated",
    "complex_scan": "complex",
    "ssd_scan": "state_space",
    "selective_scan": "state_space",
    "delta_scan": "delta",
}


def unavailable() -> str | None:
    """Why there is no compiled code here, or None."""
    return _unavailable()


def supports(operator: str, sample: Tensor) -> bool:
    """Compiles the operator's source where that has not been done yet."""
    if operator not in SOURCES or sample.device.type != "cpu" or sample.dtype not in REALS:
        return False
    if sample.is_complex() != (operator == "complex_scan"):
        return False
    return _unavailable(SOURCES[operator], REALS[sample.dtype]) is None
