"""The Triton backend "triton-interpret": the same kernels on CPU tensors, run step by step in Python."""

from __future__ import annotations

import os
import sys
from typing import Any

from torch import Tensor

from lrscan import triton as compiled


def requested() -> bool:
    """Whether TRITON_INTERPRET was set when the kernels were imported, or is set where they are not yet."""
    common = sys.modules.get("lrscan.triton.common")
    if common is not None:
        return bool(common.INTERPRETED)
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def unavailable() -> str | None:
    why = compiled.missing()
    if why is None and not requested():
        why = "kernels run in the interpreter only where TRITON_INTERPRET=1 was set before they were imported"
    return why


def supports(operator: str, sample: Tensor) -> bool:
    return sample.device.type == "cpu" and compiled.runs(operator, sample.dtype)


def __getattr__(name: str) -> Any:
    return compiled.kernel_function(name)
