"""The inspection record that every backbone returns, in one vocabulary.

    B batch, T time, C channels of the mixer, H heads, d model width.

A trace is a pure function of (checkpoint, sequence): plain arrays, nothing left behind on the shared model.
A field is None where a backbone has no such thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
_LN2 = float(np.log(2.0))


@dataclass(frozen=True, kw_only=True)
class LayerTrace:
    """What one layer did at every step."""

    name: str
    """Such as "layer 1 · BD-LRU"."""
    decay: Array | None = None
    """[B, T, C] factor in (0, 1] that multiplies the old state; for a complex eigenvalue its modulus."""
    write: Array | None = None
    """[B, T, C] strength with which the current item enters the state."""
    input_gate: Array | None = None
    """[B, T, C] the part of `write` that is not coupled to the decay, where the backbone has one."""
    read: Array | None = None
    """[B, T, C] gate on what leaves the state."""
    state: Array | None = None
    """[B, T, C] hidden state after each step; complex64 where the recurrence is complex."""
    entered: Array | None = None
    """[B, T, C] what was added to the state: state_t = decay_t * rotation * state_{t-1} + entered_t."""
    written: Array | None = None
    """[B, T, C] where an event erases before it writes: what it wrote, entered = written - erased."""
    erased: Array | None = None
    """[B, T, C] what the event took away, of what its key found, before it wrote."""
    phase: Array | None = None
    """[C] angle of a complex eigenvalue, radians a step."""
    mix: Array | None = None
    """[B, H, T, T] effective attention, target step first, where the mixer computes one (attention) or amounts to one
    (a state space with one decay a head).

    Rows of a softmax sum to 1; pointwise attention and state spaces are signed and not normalised."""
    token_mix: Array | None = None
    """[B, H, T, K] attention of each event to the K learnt tokens that earlier events are compressed into; beside
    `mix`, which then is between events of one segment."""
    token_read: Array | None = None
    """[B, H, K, T] attention of each of those tokens to the events that it compresses."""
    token_after: NDArray[np.int64] | None = None
    """[B, K] events before each token."""
    overlap: Array | None = None
    """[B, H, T, T] cosine of the keys of two events, target first, where an event writes over what its key finds: at 1
    in size, a write of full strength replaces what the source wrote; at 0 it leaves it alone. 0 for the event itself
    and later ones."""
    remains: Array | None = None
    """[B, H, T, T] norm of what each source step wrote and the target step still holds, faded and written over."""
    value_norm: Array | None = None
    """[B, H, T] norm of what each source step offers to the mix, after the output projection."""
    offered: Array | None = None
    """[B, H, T, P] what `mix`, or the recurrence that amounts to one, sums over the source steps."""
    received: Array | None = None
    """[B, H, T, P] what the operator gave out at each step: `mix` times `offered`, and `skipped` where there is any."""
    skipped: Array | None = None
    """[B, H, T, P] what passes the operator by, from a step to itself, or comes through learnt tokens."""
    score_content: Array | None = None
    """[B, H, T, T] part of the attention score, before its nonlinearity, that comes from the items; 0 for later
    events. Where a mixer adds position and time, the three parts sum to the score."""
    score_position: Array | None = None
    """[B, H, T, T] part that comes from the places of the two events."""
    score_time: Array | None = None
    """[B, H, T, T] part that comes from the time between them."""
    position_curve: Array | None = None
    """[B, H, R] score that is added for each distance 0..R-1 in events."""
    time_curve: Array | None = None
    """[B, H, R] score that is added for each interval of elapsed time."""
    time_edges: Array | None = None
    """[B, R] seconds at which each interval of `time_curve` begins, at the last event of the row."""
    delta: Array | None = None
    """[B, T, C] discretisation step, or how many untimed steps of decay an event counts for."""
    half_life_days: Array | None = None
    """[B, C] days until half of the state is gone, at the mean forgetting between the first event and the last; where
    the decay reads the time. NaN where no time passed."""
    conv: Array | None = None
    """[C, k] local kernel before the recurrence, oldest tap first."""
    out: Array | None = None
    """[B, T, d] layer output."""

    @property
    def half_life(self) -> Array | None:
        """[B, T, C] ln 2 / -ln(decay): steps until half of the state is gone, if this step's decay went on; infinite
        where nothing fades."""
        if self.decay is None:
            return None
        with np.errstate(divide="ignore"):
            return np.asarray(_LN2 / (0.0 - np.log(np.clip(self.decay, 1e-30, 1.0))))

    def shares(self, row: int, step: int) -> Array | None:
        """[step+1] share of each event 0..step in what the mixer holds at `step`; sums to 1.

        Recurrences: norm over channels of the unrolled term prod(decay) * entered, or of what remains of it where later
        events write over it.
        Attention: weight times the norm of the value, over heads.
        """
        if self.remains is not None:
            size = np.sqrt((self.remains[row, :, step, : step + 1].astype(np.float64) ** 2).sum(axis=0))
        elif self.decay is not None and self.entered is not None:
            log_decay = np.log(np.clip(self.decay[row, : step + 1].astype(np.float64), 1e-30, 1.0))
            after = np.cumsum(log_decay[::-1], axis=0)[::-1] - log_decay  # [t, C] sum of log decay over s+1..step
            terms = np.exp(after) * np.abs(self.entered[row, : step + 1])
            size = np.sqrt((terms**2).sum(axis=-1))
        elif self.mix is not None:
            weight = np.abs(self.mix[row, :, step, : step + 1]).astype(np.float64)
            if self.value_norm is not None:
                weight = weight * self.value_norm[row, :, : step + 1]
            size = weight.sum(axis=0)
        else:
            return None
        total = size.sum()
        return np.asarray(size / total if total > 0 else np.full(len(size), 1 / len(size)))


@dataclass(frozen=True, kw_only=True)
class MemoryHorizon:
    """How far back 90 % of what a layer holds at a step comes from."""

    items: int
    """Smallest k such that the last k events hold `share` of the state."""
    days: float | None
    """Time from the oldest of those k events to the step; None where the log has no times."""
    share: float


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a backbone did with a batch of sequences."""

    backbone: str
    preset: str
    items: NDArray[np.int64]
    """[B, T] internal ids, 0 = padding."""
    times: NDArray[np.int64]
    """[B, T] unix seconds."""
    layers: tuple[LayerTrace, ...]
    hidden: Array
    """[B, T, d] what the scores are made from."""
    causal: bool = True
    has_times: bool = True
    notes: tuple[str, ...] = field(default=())
    """What a reader must know to read this trace rightly."""

    def horizon(self, layer: int, step: int, *, row: int = 0, share: float = 0.9) -> MemoryHorizon | None:
        """Memory horizon of one layer at one step, or None where the layer gives no shares."""
        parts = self.layers[layer].shares(row, step)
        if parts is None:
            return None
        held = np.cumsum(parts[::-1])
        k = min(int(np.searchsorted(held, share - 1e-12)) + 1, step + 1)
        days = float(self.times[row, step] - self.times[row, step - k + 1]) / 86400 if self.has_times else None
        return MemoryHorizon(items=k, days=days, share=float(held[k - 1]))
