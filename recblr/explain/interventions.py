"""Interventions on the inside of a recurrent model: what would it say if it had forgotten this, or remembered that?

    T events, C channels of a layer's state, B rows (0 = as it is, 1 = with the edits)

    h_t = a_t h_{t-1} + e_t          decay a, what enters e, channel by channel

An edit sets the decay of an event, scales what enters or what is read there, or sets the state itself, such as to that
of another user. The model runs event by event (`step`) with both rows side by side; how an edited event is arrived at
stands in `recblr.explain.edited_step`.

All of it is in states that the caller of `step` owns. Nothing is hooked and no weight is touched: threads that share a
model cannot meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recblr.backbones.base import SequentialBackbone, State, last_hidden
from recblr.errors import ExplainError
from recblr.evaluation.ranking import rank_of_target
from recblr.explain.edited_step import UNTOUCHED, Edit, EditedStep, is_complex
from recblr.explain.question import Question

_AGREES = 1e-3
"""Largest difference between going event by event and reading the whole, in units of the logits."""


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
    """Internal ids of the ten best items, fewer where fewer compete."""


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
        value = (torch.view_as_complex(h) if is_complex(h) else h).numpy()
        some = tuple(channels) or None
        chosen = value if some is None else value[list(some)]
        edits.append(Edit(kind="state", layer=layer, step=at, value=chosen, channels=some))
    return edits


def intervene(question: Question, edits: Sequence[Edit], *, mask_seen: bool = False) -> Intervened:
    """Run the model with the edits, beside itself without them. With `mask_seen`, items of the history do not compete
    for ranks, the target excepted.

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
            here = EditedStep(model, state, event, last=t == len(question) - 1)
            for number, edit in by_step.get(t, []):
                change[number] = here.edit(edit)
            hidden, state = here.run()
        scores = model.scores(hidden).double()  # [2, V]
    for edit, size in zip(edits, change, strict=True):
        if size <= UNTOUCHED:
            raise ExplainError(f"nothing was touched: {edit} is what it was; choose another value, channel or event")
    error = _error(question, scores)
    seen = sorted(question.seen - {question.target}) if mask_seen else []
    return Intervened(
        edits=tuple(edits),
        before=_said(question, scores[0], seen),
        after=_said(question, scores[1], seen),
        change=tuple(change),
        error=error,
    )


def _event(question: Question, t: int, rows: int) -> tuple[Tensor, Tensor]:
    items, times = torch.tensor(question.items[t : t + 1]), torch.tensor(question.times[t : t + 1])  # copies
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
        raise ExplainError(model.not_causal("it cannot go event by event"))
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


def _said(question: Question, scores: Float[Tensor, " V"], seen: Sequence[int]) -> Said:
    target, banned = torch.tensor([question.target]), torch.tensor(seen, dtype=torch.int64)
    rivals = scores.clone()
    rivals[[0, *seen]] = -torch.inf
    return Said(
        logit=float(question.difference(scores)),
        log_prob=float(scores[question.target] - torch.logsumexp(scores[1:], dim=0)),
        rank=float(rank_of_target(scores[None], target, banned[None])[0]),
        top=tuple(rivals.topk(min(10, int(torch.isfinite(rivals).sum()))).indices.tolist()),
    )
