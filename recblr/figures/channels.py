"""Channels by how long they remember.

    T time, C channels of the mixer

A channel's half-life is the median over the events: gates depend on the input, so it moves from event to event.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recblr.trace import LayerTrace

FEW = 12
"""Channels shown until a reader asks for all."""
LONGEST = 10_000.0
"""Half-lives above this, in steps, are shown as this."""


def half_lives(layer: LayerTrace, *, row: int = 0) -> NDArray[np.float64] | None:
    """[T, C] steps until half of the state is gone if this step's decay went on; None without a decay."""
    steps = layer.half_life
    return None if steps is None else np.minimum(np.abs(steps[row].astype(np.float64)), LONGEST)


def channel_half_lives(layer: LayerTrace, *, row: int = 0) -> NDArray[np.float64] | None:
    """[C] median over the events."""
    steps = half_lives(layer, row=row)
    return None if steps is None else np.asarray(np.median(steps, axis=0))


def by_half_life(layer: LayerTrace, *, row: int = 0) -> NDArray[np.int64]:
    """[C] channels, longest memory first; in their own order where the layer has no decay."""
    medians = channel_half_lives(layer, row=row)
    if medians is None:
        return np.arange(n_channels(layer), dtype=np.int64)
    return np.argsort(-medians, kind="stable").astype(np.int64)


def n_channels(layer: LayerTrace) -> int:
    """C, or 0 where the layer has no channels."""
    for array in (layer.decay, layer.state, layer.write, layer.entered, layer.delta, layer.read):
        if array is not None:
            return int(array.shape[-1])
    return 0


def spread(order: NDArray[np.int64], count: int = FEW, *, keep: int | None = None) -> NDArray[np.int64]:
    """`count` of the ordered channels, evenly spaced from the first to the last; `keep` is among them."""
    if count >= len(order):
        return order
    places = np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))
    if keep is not None and keep in order:
        place = int(np.flatnonzero(order == keep)[0])
        places[np.abs(places - place).argmin()] = place
    return np.asarray(order[np.sort(places)])


def fullest(layer: LayerTrace, among: NDArray[np.int64], *, row: int = 0) -> int | None:
    """The channel that holds most at the typical event (median of the state's size); None without channels."""
    if len(among) == 0:
        return None
    if layer.state is None:
        return int(among[0])
    size = np.median(np.abs(layer.state[row][:, among]), axis=0)  # [len(among)]
    return int(among[int(np.argmax(size))])


def start_state(layer: LayerTrace, *, row: int = 0) -> NDArray[np.inexact]:
    """[C] state before the first event: zero, but for presets that warm it up on padding."""
    if layer.state is None or layer.decay is None or layer.entered is None:
        raise ValueError(f"{layer.name} has no recurrence to read a start from")
    left = (layer.state[row, 0] - layer.entered[row, 0]).astype(np.complex128 if layer.phase is not None else float)
    tiny = 1e-5 * max(float(np.abs(layer.state[row, 0]).max()), 1e-30)
    start = np.where(np.abs(left) <= tiny, 0, left / (layer.decay[row, 0] * rotation(layer)))
    return np.asarray(start)


def rotation(layer: LayerTrace) -> NDArray[np.complex128] | float:
    """exp(i phase) [C], or 1.0 for a real recurrence."""
    return 1.0 if layer.phase is None else np.exp(1j * layer.phase.astype(np.float64))


def recurrence_error(layer: LayerTrace, *, row: int = 0) -> float | None:
    """Largest |state_t - (decay_t * rotation * state_{t-1} + entered_t)| after the first event, or None."""
    if layer.state is None or layer.decay is None or layer.entered is None:
        return None
    state, decay, entered = layer.state[row], layer.decay[row], layer.entered[row]
    if len(state) < 2:
        return 0.0
    return float(np.abs(state[1:] - (decay[1:] * rotation(layer) * state[:-1] + entered[1:])).max())
