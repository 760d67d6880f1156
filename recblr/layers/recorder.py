"""How a layer hands out its internals: it writes into a plain dict that the caller passes down, or does nothing."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from torch import Tensor

from recblr.matrix_trace import Factors, MatrixLayerTrace
from recblr.trace import LayerTrace

Record = dict[str, Tensor]


def layer_trace(name: str, record: Record) -> LayerTrace:
    """A LayerTrace from the tensors a layer recorded under the field names; of a matrix state, its `Factors`."""
    arrays: dict[str, Any] = {key: np.asarray(value.detach().cpu().numpy()) for key, value in record.items()}
    if "queries" not in arrays:
        return LayerTrace(name=name, **arrays)
    factors = {field.name: arrays.pop(field.name) for field in fields(Factors) if field.name in arrays}
    return MatrixLayerTrace(name=name, factors=Factors(**factors), **arrays)
