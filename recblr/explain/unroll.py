"""Unroll: a recurrence as a sum over the events, and every mixer as one signed matrix.

    T events, H heads or channels, P width of a head, C channels of a state

    h_t = a_t h_{t-1} + b_t   =>   h_t = sum_s w_ts b_s + w_t0 h_0,   w_ts = a_{s+1} ... a_t = exp(log a_{s+1} + ... )

in float64 and in logarithms, so that nothing overflows and no product is divided. Given its gates that is an identity;
`error` measures it against what the operator gave out. A trace (`recblr.trace`) is all that is needed, but for
`attribute`, which asks the model for the gradient of the logit at the layer.

Effective attention is the same statement for every mixer: what was given out at step t is a sum over the steps s of
matrix[t, s] times what step s offered. Rows need not sum to 1 and entries may be negative, but for a softmax.

Source: Ali et al., "The Hidden Attention of Mamba Models", arXiv 2403.01590; Zimerman et al., "A Unified Implicit
Attention Formulation", arXiv 2405.16504. Differs from them: contributions keep their sign and their direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import last_hidden
from recblr.backbones.tied import TiedBackbone
from recblr.errors import ExplainError
from recblr.explain.attribution import Attribution
from recblr.explain.question import Question
from recblr.layers.holding import holding
from recblr.layers.recorder import Record, layer_trace
from recblr.matrix_trace import MatrixLayerTrace
from recblr.trace import LayerTrace

_TINY = 1e-30
Numbers = NDArray[Any]
"""float64, or complex128 where the recurrence is complex."""


@dataclass(frozen=True, kw_only=True)
class Unrolled:
    """The state of a layer after step `step`, taken apart by event."""

    parts: Numbers
    """[step+1, C] what each event left in the state."""
    start: Numbers
    """[C] what is left of the state before the first event."""
    state: Numbers
    """[C] the state that the layer had."""
    error: float
    """Largest |parts.sum(0) + start - state| over the largest |state|."""

    def along(self, direction: Numbers) -> NDArray[np.float64]:
        """[step+1] contributions to Re(direction . state): to a logit, for a read-out of the state."""
        return np.real(self.parts @ direction)


def unroll(layer: LayerTrace, step: int = -1, row: int = 0) -> Unrolled:
    """Raises ExplainError for a layer that carries no state, or none that only fades.

    Where events write over each other (a delta rule) the parts are what each changed, erasures included.
    """
    decay, entered, state = layer.decay, layer.entered, layer.state
    if decay is None or entered is None or state is None:
        raise ExplainError(f"{layer.name} carries no state of fixed size: there is no recurrence to unroll")
    step = range(decay.shape[1])[step]
    past = _past(decay[row, : step + 1], layer.phase)  # [t+1, C]
    parts = past * entered[row, : step + 1]
    held = state[row, step].astype(parts.dtype)
    first = state[row, 0] - entered[row, 0]  # what the state before the first event is after it
    start = past[0] * first
    error = float(np.abs(parts.sum(0) + start - held).max() / max(float(np.abs(held).max()), _TINY))
    return Unrolled(parts=parts, start=start, state=held, error=error)


def _past(decay: Numbers, phase: Numbers | None) -> Numbers:
    """[t+1, C] w_ts for the last step t of decay [t+1, C]."""
    logs = np.log(np.clip(decay.astype(np.float64), _TINY, 1.0))
    weights: Numbers = np.exp(np.cumsum(logs[::-1], axis=0)[::-1] - logs)
    if phase is None:
        return weights
    steps = np.arange(len(decay))[::-1, None]
    turned: Numbers = weights * np.exp(1j * phase.astype(np.float64) * steps)
    return turned


def without_each(layer: LayerTrace, step: int = -1, row: int = 0) -> Numbers:
    """[step+1, C] the state after `step` had each event alone been left out: h_t - w_ts (h_s - h_{s-1}).

    Leaving an event out takes its own part out of the state and stops it from fading the earlier ones; both are here.
    Equal to running the mixer again where the gates of an event depend on that event alone: no convolution before the
    recurrence, no time between events, and the first layer, since a later one reads what the others made.
    """
    decay, state = layer.decay, layer.state
    if decay is None or state is None or layer.entered is None:
        raise ExplainError(f"{layer.name} carries no state of fixed size: no event can be taken out of it")
    step = range(decay.shape[1])[step]
    past = _past(decay[row, : step + 1], layer.phase)
    after = state[row, : step + 1]
    before = np.concatenate([np.zeros_like(after[:1]), after[:-1]])  # assumes a start from zero
    left: Numbers = after[-1] - past * (after - before)
    return left


@dataclass(frozen=True, kw_only=True)
class EffectiveAttention:
    """What a mixer amounts to: given_out[t] = sum over s of matrix[t, s] * offered[s]."""

    matrix: Numbers
    """[H, T, T] target step first; complex for complex eigenvalues, whose real part is what a plot can show."""
    offered: Numbers | None
    """[H, T, P] what each step offers, where the trace has it."""
    per: str
    """What a row of H is: head or channel."""
    error: float | None
    """Largest |matrix offered - given out| over the largest |given out|; None where the trace has not both."""

    @property
    def signed(self) -> NDArray[np.float64]:
        """[H, T, T] real and signed."""
        return np.real(self.matrix).astype(np.float64)


def effective_attention(layer: LayerTrace, row: int = 0) -> EffectiveAttention:
    """The matrix of any mixer. Raises ExplainError for a layer that mixes no events."""
    if layer.mix is not None:
        return _compared(layer.mix[row].astype(np.float64), layer, row, "head")
    if isinstance(layer, MatrixLayerTrace):
        return _compared(_of_factors(layer, row), layer, row, "channel")
    if layer.decay is None or layer.entered is None or layer.state is None:
        raise ExplainError(f"{layer.name} mixes no events: it has no effective attention")
    return _of_channels(layer, row)


def _compared(matrix: Numbers, layer: LayerTrace, row: int, per: str) -> EffectiveAttention:
    if layer.offered is None or layer.received is None or layer.offered.shape[-2] != matrix.shape[-1]:
        return EffectiveAttention(matrix=matrix, offered=None, per=per, error=None)
    offered, received = layer.offered[row].astype(np.float64), layer.received[row].astype(np.float64)
    passed = 0.0 if layer.skipped is None else layer.skipped[row]
    error = float(np.abs(matrix @ offered + passed - received).max() / max(float(np.abs(received).max()), _TINY))
    return EffectiveAttention(matrix=matrix, offered=offered, per=per, error=error)


def _of_channels(layer: LayerTrace, row: int) -> EffectiveAttention:
    """A recurrence with one number a channel: matrix [C, T, T] on what enters over its write strength."""
    assert layer.decay is not None
    assert layer.entered is not None
    assert layer.state is not None
    decay, entered = layer.decay[row], layer.entered[row]
    write = np.ones_like(decay) if layer.write is None else layer.write[row]
    steps, channels = decay.shape
    kind = np.complex128 if layer.phase is not None else np.float64
    weights = np.zeros((channels, steps, steps), dtype=kind)
    for t in range(steps):
        weights[:, t, : t + 1] = _past(decay[: t + 1], layer.phase).T
    given = np.einsum("cts,sc->tc", weights, entered)
    start = weights[:, :, 0].T * (layer.state[row, 0] - entered[0])
    state = layer.state[row]
    error = float(np.abs(given + start - state).max() / max(float(np.abs(state).max()), _TINY))
    offered = np.divide(entered, write, out=np.zeros_like(entered), where=write > _TINY)
    weights *= write.T[:, None, :]
    return EffectiveAttention(matrix=weights, offered=offered.T[..., None], per="channel", error=error)


def _of_factors(layer: MatrixLayerTrace, row: int) -> Numbers:
    """A state of N numbers a channel that is read at once: matrix [H, T, T], where a head has one channel."""
    of = layer.factors
    if of.values.shape[3] != 1:
        raise ExplainError(f"{layer.name} has several channels a head and records no mix: nothing to read one from")
    decay, keys, queries = (one[row, :, :, 0].astype(np.float64) for one in (of.decay, of.keys, of.queries))
    write = of.write[row, :, :, 0, 0].astype(np.float64)  # [T, H]
    steps, heads = write.shape
    shape = (heads, steps, max(decay.shape[-1], keys.shape[-1]))
    state, matrix = np.zeros(shape), np.zeros((heads, steps, steps))  # state[:, s]: what is left of a 1 offered at s
    for t in range(steps):
        state[:, :t] *= decay[t][:, None]
        state[:, t] = write[t][:, None] * keys[t]
        matrix[:, t, : t + 1] = np.einsum("hsn,hn->hs", state[:, : t + 1], np.broadcast_to(queries[t], shape[::2]))
    return matrix


def attribute(question: Question, *, layer: int = -1) -> Attribution:
    """What one layer's mixer took from each step and handed to the logit, all gates held.

    Steps of the last layer hold what earlier layers and convolutions mixed into them, so a step is not its event alone:
    `held_gates` goes down to the events. What passes the mixer by (the residual, biases, the start of the state) is the
    remainder. The error is that of the unrolled sum against the operator's own output, in logits.
    Raises ExplainError for a layer that the model does not have.
    """
    model = question.model
    if not isinstance(model, TiedBackbone) or not model.unrolls:
        raise ExplainError(f"unroll cannot explain {model.name}: its layers are no plain sums over events")
    layers = range(len(model.layers))
    if not -len(layers) <= layer < len(layers):
        raise ExplainError(f"layer {layer} is not there: {model.name} has {len(layers)}, from 0")
    record, slope, kind = _at_layer(question, model, layers[layer])
    if record.out is not None and record.out.shape[1] != len(question):
        raise ExplainError(
            f"unroll cannot explain {model.name} {model.preset} here: as published, its steps are padded to max_len"
            f" {model.config.max_len} and {len(question)} events are not that many; choose held_gates"
        )
    values, whole = _from_state(record, slope) if kind == "state" else _from_mix(record, slope)
    logit = float(question.logit()[0])
    return question.answer(
        values=values,
        method="unroll",
        exactness="exact with gates held",
        logit=logit,
        remainder=logit - whole,
        error=abs(float(values.sum()) - whole),
        notes=() if model.causal else ("Not causal: later events also reached the logit past these sums.",),
        details={"layer": layers[layer]},
    )


def _at_layer(question: Question, model: TiedBackbone, layer: int) -> tuple[LayerTrace, Numbers, str]:
    """(what the layer did, the gradient of the logit at its state or output, which of the two), one row."""
    batch = question.batch()
    direction, _ = question.direction()
    with torch.inference_mode(False), torch.enable_grad(), holding():
        embeddings = model.embed(batch.items).detach().requires_grad_()
        hidden, records = model.recorded(embeddings, batch.mask, batch.times)
        record: Record = records[layer]
        kind = "received" if "received" in record else "state"
        place: Tensor = record[kind]
        (slope,) = torch.autograd.grad((last_hidden(hidden, batch.lengths) * direction).sum(), place)
    known = {name: value for name, value in record.items() if name != "profile" and not name.startswith("backward_")}
    return layer_trace("layer", known), slope[0].numpy(), kind


def _from_state(trace: LayerTrace, slope: Numbers) -> tuple[NDArray[np.float64], float]:
    """([T] contributions, what all of the state contributes but its start): the adjoint of the recurrence.

    v_t = slope_t + conj(a_{t+1}) v_{t+1};  contribution of s = Re(conj(v_s) b_s)
    """
    assert trace.decay is not None
    assert trace.entered is not None
    assert trace.state is not None
    decay, entered, state = trace.decay[0].astype(np.float64), trace.entered[0], trace.state[0]
    turn = 1.0 if trace.phase is None else np.exp(-1j * trace.phase.astype(np.float64))
    adjoint = slope.astype(np.complex128 if trace.phase is not None else np.float64)
    for t in range(len(adjoint) - 2, -1, -1):
        adjoint[t] += decay[t + 1] * turn * adjoint[t + 1]
    values = np.real(np.conj(adjoint) * entered).sum(-1)
    start = float(np.real(np.conj(adjoint[0]) * (state[0] - entered[0])).sum())
    return values, float(np.real(np.conj(slope.astype(adjoint.dtype)) * state).sum()) - start


def _from_mix(trace: LayerTrace, slope: Numbers) -> tuple[NDArray[np.float64], float]:
    """([T] contributions, what the operator contributes but for what passes it by); slope [H, T, P]."""
    found = effective_attention(trace)
    assert found.offered is not None
    assert trace.received is not None
    slope = slope.astype(np.float64)
    values = np.einsum("htp,hts,hsp->s", slope, found.matrix, found.offered, optimize=True)
    passed = 0.0 if trace.skipped is None else trace.skipped[0]
    return values, float((slope * (trace.received[0] - passed)).sum())
