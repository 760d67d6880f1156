"""The record of a layer whose state is a matrix, kept by its factors and written out when a field is asked for.

    B batch, T time, H heads with P x N numbers each, C = H P N channels; G = H, or 1 where heads share it

    state_t = decay_t state_{t-1} + values_t keys_t^T,  read at t by gate_t queries_t^T

Written out, each field is C numbers a step: 20 MB a layer for 200 events and 4 heads of 32 x 32. The factors are less
than 1 MB, or 4 MB where every number of the state has a decay of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recblr.trace import Array, LayerTrace


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What a field is the product of; every array is [B, T, H, P, N] with 1 for an axis that it does not vary along."""

    decay: Array
    """[B, T, H, P or 1, N or 1]"""
    write: Array
    """[B, T, H, 1, 1]"""
    values: Array
    """[B, T, H, P, 1] what is written, times its strength; less what is erased"""
    keys: Array
    """[B, T, G, 1, N] where to"""
    gate: Array
    """[B, T, H, P, 1] on what leaves"""
    queries: Array
    """[B, T, G, 1, N] what is read"""
    delta: Array | None = None
    """[B, T, H, 1, 1]"""
    written: Array | None = None
    """[B, T, H, P, 1] the first part of `values`, where there are two"""
    erased: Array | None = None
    """[B, T, H, P, 1] the second, which is taken away"""

    def spread(self, *factors: Array) -> Array:
        """Their product as [B, T, C]."""
        whole = (*self.values.shape[:4], self.keys.shape[-1])
        product = factors[0] if len(factors) == 1 else factors[0] * factors[1]
        return np.broadcast_to(product, whole).reshape(*whole[:2], -1)


class _WrittenOut:
    """A field that is made of the factors each time it is asked for; what it gave is not kept."""

    def __init__(self, make: Callable[[Factors], Array | None]) -> None:
        self.make = make

    def __get__(self, of: MatrixLayerTrace | None, owner: type) -> Any:
        return None if of is None else self.make(of.factors)


def _on_keys(of: Factors, values: Array | None) -> Array | None:
    return None if values is None else of.spread(values, of.keys)


def _entered(of: Factors) -> Array:
    if of.written is None or of.erased is None:
        return of.spread(of.values, of.keys)
    return of.spread(of.written, of.keys) - of.spread(of.erased, of.keys)


def _states(of: Factors) -> Array:
    decay, entered = of.spread(of.decay), _entered(of)
    state = np.empty_like(entered)
    for t in range(state.shape[1]):
        state[:, t] = entered[:, t] + (decay[:, t] * state[:, t - 1] if t else 0)
    return state


class MatrixLayerTrace(LayerTrace):
    """A LayerTrace whose fields with channels are written out of `factors`, every number of the state a channel."""

    factors: Factors
    decay = _WrittenOut(lambda of: of.spread(of.decay))
    write = _WrittenOut(lambda of: of.spread(of.write))
    read = _WrittenOut(lambda of: of.spread(of.gate, of.queries))
    state = _WrittenOut(_states)
    entered = _WrittenOut(_entered)
    written = _WrittenOut(lambda of: _on_keys(of, of.written))
    erased = _WrittenOut(lambda of: _on_keys(of, of.erased))
    delta = _WrittenOut(lambda of: None if of.delta is None else of.spread(of.delta))

    def __init__(self, *, factors: Factors, **fields: Any) -> None:
        super().__init__(**fields)
        for name, value in vars(MatrixLayerTrace).items():
            if isinstance(value, _WrittenOut):
                del self.__dict__[name]  # the default of the dataclass would hide it
        self.__dict__["factors"] = factors

    def shares(self, row: int, step: int) -> Array | None:
        """As the base class says, without writing out every channel of every event."""
        if self.remains is not None:
            return super().shares(row, step)
        of, events = self.factors, slice(step + 1)
        log_decay = np.log(np.clip(of.decay[row, events].astype(np.float64), 1e-30, 1.0))
        after = np.cumsum(log_decay[::-1], axis=0)[::-1] - log_decay  # sum of log decay over s+1..step
        power = np.square(of.values[row, events], dtype=np.float64) * np.square(of.keys[row, events], dtype=np.float64)
        size = np.sqrt((np.exp(2 * after) * power).sum(axis=(1, 2, 3)))  # [step+1]
        total = size.sum()
        return np.asarray(size / total if total > 0 else np.full(len(size), 1 / len(size)))
