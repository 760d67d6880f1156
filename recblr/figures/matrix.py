"""The matrices a heat map can draw: what a layer offers, one row a channel, one column an event.

    T time, C channels, H heads, R rows shown

An attention layer has no channels: its rows are the events that look back, its columns the events looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recblr.figures.channels import channel_half_lives, rotation, start_state
from recblr.figures.view import number
from recblr.trace import LayerTrace

_MOST = 0.98
"""Share of the cells that the colour range covers, so that a few extreme ones do not bleach all others."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One thing a layer can be asked for."""

    title: str
    meaning: str
    role: str
    """Key of ROLES."""
    signed: bool = False
    pairs: bool = False
    """One number for each two events, not for each channel and event."""


QUANTITIES: dict[str, Quantity] = {
    "state": Quantity(title="state", meaning="what each channel holds after the event", role="state", signed=True),
    "decay": Quantity(title="decay", meaning="the part of the old state that the event leaves in place", role="decay"),
    "write": Quantity(title="write", meaning="how strongly the event itself is written into the state", role="write"),
    "input_gate": Quantity(title="input gate", meaning="the part of the write that is free of the decay", role="write"),
    "entered": Quantity(title="entered", meaning="what the event added to the state", role="write", signed=True),
    "written": Quantity(
        title="written", meaning="what the event wrote, before anything was erased for it", role="write", signed=True
    ),
    "erased": Quantity(
        title="erased",
        meaning="what the event took away of what earlier events had written under its key",
        role="decay",
        signed=True,
    ),
    "mix": Quantity(
        title="attention", meaning="how much of each earlier event an event looks at", role="attention", pairs=True
    ),
    "remains": Quantity(
        title="what remains",
        meaning="how much of what each earlier event wrote is still held, faded and written over",
        role="state",
        pairs=True,
    ),
    "overlap": Quantity(
        title="overlap of keys",
        meaning="how far the event writes over what each earlier event wrote",
        role="write",
        pairs=True,
    ),
    "read": Quantity(title="read gate", meaning="what is let out of the state at the event", role="state", signed=True),
    "delta": Quantity(title="step size", meaning="how long the event counts in the channel's own time", role="decay"),
    "score_content": Quantity(
        title="score: items",
        meaning="the part of the attention score that the items make",
        role="attention",
        pairs=True,
    ),
    "score_position": Quantity(
        title="score: places", meaning="the part of the score that the places make", role="attention", pairs=True
    ),
    "score_time": Quantity(
        title="score: time", meaning="the part of the score that the time between makes", role="attention", pairs=True
    ),
}
"""By field name of LayerTrace, in the order they are offered."""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What a heat map draws."""

    name: str
    """Key of QUANTITIES."""
    values: NDArray[np.float32]
    """[R, T]; NaN where there is nothing, such as attention to a later event."""
    rows: NDArray[np.int64]
    """[R] channel numbers; event indices where `rows_are_events`."""
    labels: tuple[str, ...]
    """[R] beside each row."""
    low: float
    high: float
    """Ends of the colour range; symmetric about zero for signed quantities. A few values may lie outside."""
    signed: bool
    rows_are_events: bool = False
    shares: bool = False
    """Whether each row sums to 1, so that a value is a part of the attention."""

    @property
    def clipped(self) -> bool:
        """Whether some values lie outside the colour range and are drawn as its end."""
        size = np.abs(self.values) if self.signed else self.values
        return bool(np.nanmax(size) > self.high * (1 + 1e-6))

    @property
    def quantity(self) -> Quantity:
        return QUANTITIES[self.name]


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """The terms of ``state = decay * old state + write * input`` for the rows shown; complex as (real, imaginary)."""

    decay: NDArray[np.float32]
    """[R, T]"""
    phase: NDArray[np.float32] | None
    """[R] radians a step."""
    state: NDArray[np.float32]
    """[R, T], or [2, R, T] for a complex recurrence."""
    start: NDArray[np.float32]
    """[R] or [2, R]: the state before the first event."""
    write: NDArray[np.float32] | None
    """[R, T]; None where what entered is not a gate times an input."""


def offered(layer: LayerTrace) -> list[str]:
    """Names of the quantities that this layer has."""
    return [name for name in QUANTITIES if getattr(layer, name) is not None]


def matrix(
    layer: LayerTrace, name: str, channels: NDArray[np.int64], *, head: int | None = None, row: int = 0
) -> Matrix:
    """One quantity for the chosen channels; for pairs of events, of one head, or the mean over heads if it is None."""
    if QUANTITIES[name].pairs:
        return _pairs(layer, name, head, row)
    array: NDArray[np.inexact] = getattr(layer, name)
    values = np.ascontiguousarray(_real(array[row][:, channels]).T, dtype=np.float32)  # [R, T]
    lives = channel_half_lives(layer, row=row)
    labels = tuple(f"{c}" if lives is None else f"{c} · {number(lives[c], 2)}" for c in channels.tolist())
    signed = QUANTITIES[name].signed
    low, high = _range(values, signed)
    return Matrix(name=name, values=values, rows=channels, labels=labels, low=low, high=high, signed=signed)


def arithmetic(layer: LayerTrace, channels: NDArray[np.int64], *, row: int = 0) -> Arithmetic | None:
    """What the hover text of a cell is made from; None for layers without a recurrence."""
    if layer.decay is None or layer.state is None or layer.entered is None:
        return None
    state, start = layer.state[row][:, channels].T, start_state(layer, row=row)[channels]
    coupled = layer.write is not None and not _is_free(layer)
    return Arithmetic(
        decay=np.ascontiguousarray(layer.decay[row][:, channels].T, dtype=np.float32),
        phase=None if layer.phase is None else np.angle(np.asarray(rotation(layer))[channels]).astype(np.float32),
        state=_parts(state),
        start=_parts(start),
        write=np.ascontiguousarray(layer.write[row][:, channels].T, dtype=np.float32)
        if coupled and layer.write is not None
        else None,
    )


def _is_free(layer: LayerTrace) -> bool:
    """Whether what entered is not `write` times something of moderate size, so that the split would mislead."""
    return layer.write is None or bool((layer.write <= 0).any())


def _pairs(layer: LayerTrace, name: str, head: int | None, row: int) -> Matrix:
    array: NDArray[np.floating] | None = getattr(layer, name)
    if array is None:
        raise ValueError(f"{layer.name} has no {QUANTITIES[name].title}")
    heads = array[row]  # [H, T, T]
    values = (heads.mean(axis=0) if head is None else heads[head]).astype(np.float32)
    known = values[np.tri(len(values), dtype=bool)]
    signed = bool((known < 0).any())
    low, high = _range(known, signed) if signed else (0.0, float(np.quantile(known, _MOST)) or 1.0)
    rows = np.arange(len(values))
    return Matrix(
        name=name,
        values=np.where(np.tri(len(values), dtype=bool), values, np.float32(np.nan)),
        rows=rows,
        labels=tuple(str(one + 1) for one in rows),
        low=low,
        high=high,
        signed=signed,
        rows_are_events=True,
        shares=name == "mix" and not signed and bool(np.allclose(values.sum(axis=1), 1, atol=1e-3)),
    )


def _real(array: NDArray[np.inexact]) -> NDArray[np.floating]:
    """The real part is what is read out of a complex state, and what can be compared with a real one."""
    return np.asarray(array.real if np.iscomplexobj(array) else array)


def _parts(array: NDArray[np.inexact]) -> NDArray[np.float32]:
    parts = np.stack([array.real, array.imag]) if np.iscomplexobj(array) else array
    return np.ascontiguousarray(parts, dtype=np.float32)


def _range(values: NDArray[np.float32], signed: bool) -> tuple[float, float]:
    """Ends of the colour range; a quantity that is never negative keeps its own range, so that gates near 1 differ."""
    if signed:
        top = float(np.quantile(np.abs(values), _MOST)) or float(np.abs(values).max()) or 1.0
        return -top, top
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-6 else (min(low, 0.0), max(high, 1.0))
