"""One event of a recurrence with edits in it: the state is chosen so that the layer arrives at what an edit asks for.

    C channels of a layer's state, rows: 0 = as it is, 1 = with the edits

    h_t = a_t h_{t-1} + e_t          decay a, what enters e, channel by channel

The layer is asked for e_t (from an empty state) and a_t (from a known one), and is then handed the state before the
event from which it arrives, by its own arithmetic, at the edited state after it: so its output at that event already
reads the edit. That it does arrive is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import SequentialBackbone, State
from recblr.errors import ExplainError

Kind = Literal["decay", "write", "read", "state"]

_PROBE = 2.0**14
"""State from which the decay is read off: large beside what enters, so that a small decay keeps its digits."""
_AGREES = 1e-3
"""Largest distance from the state aimed at, in units of the state."""
UNTOUCHED = 1e-6
"""Change of a state, in units of the state, that counts as none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """One change at one event in one layer."""

    kind: Kind
    """decay: `value` becomes the factor on the old state (1 forgets nothing, 0 all). write: what enters is multiplied
    by it. read: what leaves the state is, which itself stays. state: the state after the event becomes it."""
    layer: int
    """From 0."""
    step: int
    """Position of the event, from 0; -1 is the last."""
    value: float | NDArray[np.float32] = 0.0
    """A number, or for a state an array [C] (complex where the recurrence is)."""
    channels: tuple[int, ...] | None = None
    """Channels of the state; all of them without it."""

    def __str__(self) -> str:
        of = "every channel" if self.channels is None else f"channels {', '.join(map(str, self.channels))}"
        to = f"{self.value:g}" if isinstance(self.value, int | float) else "that of another history"
        return f"{self.kind} of {of} of layer {self.layer + 1} at event {self.step} set to {to}"


@dataclass(kw_only=True)
class _Layer:
    """What one layer does at one event, [2, C] each; complex where the recurrence is."""

    h: Tensor
    """State before it."""
    factor: Tensor
    """a_t."""
    kept: Tensor
    """a_t h_{t-1}, row 1 with the edits so far."""
    entered: Tensor
    """e_t, likewise."""
    linear: bool
    """Whether kept + entered is where the layer arrives: not where the candidate reads the old state."""


class EditedStep:
    """One event: edits gather in the state before it, layer by layer from the first."""

    def __init__(self, model: SequentialBackbone, state: State, event: tuple[Tensor, Tensor], last: bool) -> None:
        self.model, self.state, self.event, self.last = model, dict(state), event, last
        self.layers: dict[str, _Layer] = {}
        self.put_back: dict[str, Tensor] = {}
        """States to go on from, where only the reading was edited, or where a step cannot arrive at the edit."""

    def run(self) -> tuple[Float[Tensor, "2 d"], State]:
        hidden, new = self.model.step(self.state, *self.event)
        return hidden, {**new, **self.put_back}

    def edit(self, edit: Edit) -> float:
        """Apply one edit to row 1; returns |change| / |state| after the event. Of a layer, what is read comes last."""
        key = f"{edit.layer}.h"
        if key not in self.layers:
            self.layers[key] = self._look(key)
        layer = self.layers[key]
        now = layer.kept + layer.entered if layer.linear else self._arrive(key, layer.h)
        wanted = self._wanted(edit, layer, now)
        size = float(torch.linalg.vector_norm(now[1]).clamp(min=1e-12))
        change = float(torch.linalg.vector_norm(wanted[1] - now[1])) / size
        if change > UNTOUCHED and not layer.linear:
            self._after(edit, key, wanted)
        elif change > UNTOUCHED:
            if edit.kind == "read":
                self.put_back[key] = self._real(now)
            self._aim(edit, key, wanted)
        return change

    def _look(self, key: str) -> _Layer:
        h = self._complex(self.state[key])
        entered = self._arrive(key, torch.zeros_like(h))
        factor = (self._arrive(key, torch.full_like(h, _PROBE)) - entered) / _PROBE
        kept = factor * h
        return _Layer(
            h=h, factor=factor, kept=kept, entered=entered, linear=_close(kept + entered, self._arrive(key, h))
        )

    def _wanted(self, edit: Edit, layer: _Layer, now: Tensor) -> Tensor:
        """The state after the event, as the edit has it; of row 1, and the edited channels alone."""
        columns = slice(None) if edit.channels is None else list(edit.channels)
        value = torch.as_tensor(edit.value).to(now)
        if edit.kind == "read":
            wanted = now.clone()
            wanted[1, columns] = value * now[1, columns]
            return wanted
        kept, entered = layer.kept.clone(), layer.entered.clone()
        if edit.kind == "decay":
            turn = layer.factor / layer.factor.abs().clamp(min=1e-30)  # a complex eigenvalue keeps its angle
            kept[1, columns] = (value * turn * layer.h)[1, columns]
        elif edit.kind == "write":
            entered[1, columns] = value * entered[1, columns]
        else:
            kept[1, columns], entered[1, columns] = value.expand(kept[1, columns].shape), 0
        layer.kept, layer.entered = kept, entered
        if layer.linear:
            return kept + entered
        wanted = now.clone()
        wanted[1, columns] = value.expand(wanted[1, columns].shape)
        return wanted

    def _aim(self, edit: Edit, key: str, wanted: Tensor) -> None:
        """Choose the state before the event from which the layer arrives at `wanted`."""
        layer, before = self.layers[key], self._complex(self.state[key])
        now = self._arrive(key, before)
        moved = ~torch.isclose(wanted, now, rtol=1e-6, atol=1e-8)
        if bool((moved & (layer.factor.abs() < 1e-12)).any()):
            raise ExplainError(
                f"{edit}: a channel forgets everything at this event, so no state before it leads there; choose the"
                " event after it"
            )
        for _ in range(2):  # the second round takes out the rounding of the first
            missing = (wanted - self._arrive(key, before)) / layer.factor
            before = before + torch.where(moved, missing, torch.zeros_like(missing))
        if not _close(self._arrive(key, before), wanted):
            raise ExplainError(f"{edit}: the model does not arrive at that state; choose a smaller change")
        self.state[key] = self._real(before)

    def _after(self, edit: Edit, key: str, wanted: Tensor) -> None:
        """Where the candidate reads the old state too, as a GRU's, a state can be set for the next event alone."""
        if edit.kind != "state":
            raise ExplainError(
                f"{self.model.title} mixes the old state into what it writes: its gates cannot be held one by one; set"
                " the state itself"
            )
        if self.last:
            raise ExplainError(
                f"{self.model.title} has answered before its state of the last event can be set: choose an earlier one"
            )
        self.put_back[key] = self._real(wanted)

    def _arrive(self, key: str, before: Tensor) -> Tensor:
        """State of a layer after the event, from `before` and the other layers as they are."""
        return self._complex(self.model.step({**self.state, key: self._real(before)}, *self.event)[1][key])

    def _complex(self, h: Tensor) -> Tensor:
        return torch.view_as_complex(h.contiguous()) if is_complex(h[0]) else h

    def _real(self, h: Tensor) -> Tensor:
        return torch.view_as_real(h) if h.is_complex() else h


def _close(found: Tensor, wanted: Tensor) -> bool:
    scale = max(1e-6, float(wanted.abs().max()))
    return bool((found - wanted).abs().max() <= _AGREES * scale)


def is_complex(h: Tensor) -> bool:
    """Whether a state [C, 2] stands for complex numbers: states of real recurrences are flat."""
    return h.dim() == 2 and h.shape[-1] == 2
