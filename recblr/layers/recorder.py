"""How a layer hands out its internals: it writes into a plain dict that the caller passes down, or does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from recblr.trace import LayerTrace

Record = dict[str, Tensor]


def layer_trace(name: str, record: Record) -> LayerTrace:
    """A LayerTrace from the tensors a layer recorded under the field names."""
    arrays: dict[str, Any] = {key: np.asarray(value.detach().cpu().numpy()) for key, value in record.items()}
    return LayerTrace(name=name, **arrays)
