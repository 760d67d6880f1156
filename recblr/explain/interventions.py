"""Interventions on the inside of a recurrent model: what would it say if it had forgotten this, or remembered that?

    T events, C channels of a layer's state, B rows (0 = as it is, 1 = with the edits)

    h_t = a_t h_{t-1} + e_t          decay a, what enters e, channel by channel

An edit sets the decay of a step, scales what enters or what is read there, or sets the state itself, such as to that of
another user. The model runs event by event (`step`) with both rows side by side. At an edited step the layer is asked
for e_t (from an empty state) and a_t (from a known one), and is then handed the state before the step from which it
arrives, by its own arithmetic, at the edited state after it: so its output at that step already reads the edit. What
comes out is checked.

All of it is in states that the caller of `step` owns. Nothing is hooked and no weight is touched: threads that share a
model cannot meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import SequentialBackbone, State, last_hidden
from recblr.errors import ExplainError
from recblr.evaluation.ranking import rank_of_target
from recblr.explain.question import Question

Kind = Literal["decay", "write", "read", "state"]

_PROBE = 2.0**14
"""State from which the decay is read off: large beside what enters, so that a small decay keeps its digits."""
_AGREES = 1e-3
"""Largest error of a run with edits, in units of the state or of the hidden state."""
_UNTOUCHED = 1e-6


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


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the model says after the history."""

    logit: float
    """What the question asks about."""
    log_prob: float
    """Of the target, nats."""
    rank: float
    """Of the target; 1 = best."""
    top: tuple[int, ...]
    """Internal ids of the ten best items."""


@dataclass(frozen=True, kw_only=True)
class Intervened:
    """The answer with and without the edits: an effect, not a share."""

    edits: tuple[Edit, ...]
    before: Said
    after: Said
    change: tuple[float, ...]
    """Of each edit, |edited state - state| over |state| at its event, as far as it reads or keeps it."""
    error: float
    """Largest difference between the run event by event, without edits, and the model's own answer, in logits."""

    @property
    def effect(self) -> float:
        """Logits by which what is asked about moves."""
        return self.after.logit - self.before.logit


def state_at(question: Question, step: int = -1) -> State:
    """What the model holds after an event of a history, [1, ...] each.

    Raises ExplainError where the backbone cannot go event by event, or there is no such event.
    """
    _check_recurrent(question.model)
    at = _position(step, len(question))
    state = question.model.initial_state(1)
    with torch.no_grad():
        for t in range(at + 1):
            _, state = question.model.step(state, *_event(question, t, 1))
    return state


def paste(
    source: Question, step: int = -1, *, at: int = -1, layers: Sequence[int] | None = None, channels: Sequence[int] = ()
) -> list[Edit]:
    """Edits that put what a model holds after event `step` of `source` into another history after event `at`.

    The states of the recurrences alone; the few inputs that a convolution still needs stay. By default in every layer.
    """
    held = state_at(source, step)
    n_layers = _n_layers(source.model)
    edits = []
    for layer in range(n_layers) if layers is None else layers:
        _check_layer(layer, n_layers)
        h = held[f"{layer}.h"][0]
        value = (torch.view_as_complex(h) if _is_complex(source.model, h) else h).numpy()
        some = tuple(channels) or None
        edits.append(Edit(kind="state", layer=layer, step=at, value=value if some is None else value[list(some)],
                          channels=some))  # fmt: skip
    return edits


def intervene(question: Question, edits: Sequence[Edit]) -> Intervened:
    """Run the model with the edits, beside itself without them.

    Raises ExplainError for a backbone without a recurrence that can be edited, for an edit outside the model or the
    history, and for one that touches nothing.
    """
    model = question.model
    _check_recurrent(model)
    if not edits:
        raise ExplainError("nothing was touched: no edit is given; name at least one")
    for edit in edits:
        _check(edit, model, len(question))
    by_step: dict[int, list[tuple[int, Edit]]] = {}
    for number, edit in sorted(enumerate(edits), key=lambda one: (one[1].layer, one[1].kind == "read")):
        by_step.setdefault(_position(edit.step, len(question)), []).append((number, edit))
    change = [0.0] * len(edits)
    state = model.initial_state(2)
    with torch.no_grad():
        for t in range(len(question)):
            event = _event(question, t, 2)
            here = _Step(model, state, event, last=t == len(question) - 1)
            for number, edit in by_step.get(t, []):
                change[number] = here.edit(edit)
            hidden, state = here.run()
        scores = model.scores(hidden).double()  # [2, V]
    for edit, size in zip(edits, change, strict=True):
        if size <= _UNTOUCHED:
            raise ExplainError(f"nothing was touched: {edit} is what it was; choose another value, channel or event")
    error = _error(question, scores)
    return Intervened(
        edits=tuple(edits),
        before=_said(question, scores[0]),
        after=_said(question, scores[1]),
        change=tuple(change),
        error=error,
    )


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


class _Step:
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
        if change > _UNTOUCHED and not layer.linear:
            self._after(edit, key, wanted)
        elif change > _UNTOUCHED:
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
        return torch.view_as_complex(h.contiguous()) if _is_complex(self.model, h[0]) else h

    def _real(self, h: Tensor) -> Tensor:
        return torch.view_as_real(h) if h.is_complex() else h


def _close(found: Tensor, wanted: Tensor) -> bool:
    scale = max(1e-6, float(wanted.abs().max()))
    return bool((found - wanted).abs().max() <= _AGREES * scale)


def _is_complex(model: SequentialBackbone, h: Tensor) -> bool:
    """Whether a state [C, 2] stands for complex numbers: states of real recurrences are flat."""
    return h.dim() == 2 and h.shape[-1] == 2


def _event(question: Question, t: int, rows: int) -> tuple[Tensor, Tensor]:
    items, times = torch.from_numpy(question.items[t : t + 1]), torch.from_numpy(question.times[t : t + 1])
    return items.expand(rows), times.expand(rows)


def _position(step: int, length: int) -> int:
    if not -length <= step < length:
        raise ExplainError(f"event {step}: the history has events 0 to {length - 1}")
    return step % length


def _n_layers(model: SequentialBackbone) -> int:
    keys = model.initial_state(1)
    return sum(f"{layer}.h" in keys for layer in range(len(keys)))


def _check_recurrent(model: SequentialBackbone) -> None:
    if not model.causal:
        raise ExplainError(
            f"{model.title} {model.preset} reads the history from its end as well, so it cannot go event by event; take"
            " a causal preset"
        )
    if not model.learns or _n_layers(model) == 0:
        raise ExplainError(
            f"{model.title} carries no state of fixed size from event to event: there is nothing to hold or to paste;"
            " choose a recurrent backbone, or edit the history"
        )


def _check_layer(layer: int, n_layers: int) -> None:
    if not 0 <= layer < n_layers:
        raise ExplainError(f"layer {layer}: the model has layers 0 to {n_layers - 1}")


def _check(edit: Edit, model: SequentialBackbone, length: int) -> None:
    _position(edit.step, length)
    _check_layer(edit.layer, _n_layers(model))
    channels = model.initial_state(1)[f"{edit.layer}.h"].shape[1]
    if edit.kind not in ("decay", "write", "read", "state"):
        raise ExplainError(f"kind is {edit.kind!r}: choose decay, write, read or state")
    if edit.channels is not None:
        outside = [one for one in edit.channels if not 0 <= one < channels]
        if outside or not edit.channels:
            raise ExplainError(f"channels {edit.channels}: layer {edit.layer} has channels 0 to {channels - 1}")
    value = np.asarray(edit.value)
    wanted = channels if edit.channels is None else len(edit.channels)
    if value.ndim and (edit.kind != "state" or value.shape != (wanted,)):
        raise ExplainError(
            f"value has shape {value.shape}: give a number, or for a state {wanted} numbers, one a channel; states of"
            " another model do not fit"
        )
    if not np.isfinite(value).all() or (edit.kind == "decay" and not 0 <= float(value) <= 1):
        raise ExplainError(f"value is {edit.value}: it must be finite, and a decay lies in 0..1")


def _error(question: Question, scores: Float[Tensor, "2 V"]) -> float:
    """How far the run without edits is from the model's own answer; raises ExplainError where it is another answer."""
    batch = question.batch()
    with torch.no_grad():
        own = question.model.scores(last_hidden(question.model(batch), batch.lengths))[0].double()
    real = torch.isfinite(own)
    error = float((scores[0] - own)[real].abs().max())
    if error > _AGREES * max(1.0, float(own[real].abs().max())):
        raise ExplainError(
            f"{question.model.title} answers otherwise event by event (by {error:.3g} logits): its inside cannot be"
            " edited so"
        )
    return error


def _said(question: Question, scores: Float[Tensor, " V"]) -> Said:
    target = torch.tensor([question.target])
    rivals = scores.clone()
    rivals[0] = -torch.inf
    return Said(
        logit=float(question.difference(scores)),
        log_prob=float(scores[question.target] - torch.logsumexp(scores[1:], dim=0)),
        rank=float(rank_of_target(scores[None], target)[0]),
        top=tuple(rivals.topk(min(10, len(scores) - 1)).indices.tolist()),
    )
