"""Channels by half-life, and the recurrence that the figures take apart."""

from __future__ import annotations

import numpy as np
import pytest

from recblr.figures.channel import parts
from recblr.figures.channels import (
    LONGEST,
    by_half_life,
    channel_half_lives,
    fullest,
    recurrence_error,
    spread,
    start_state,
)
from recblr.figures.matrix import arithmetic, matrix, offered
from recblr.trace import LayerTrace

STEPS, CHANNELS = 9, 5


def recurrence(*, complex_state: bool = False, start: float = 0.0) -> LayerTrace:
    """A layer whose state is made from its own decays and inputs, one step after the other."""
    rng = np.random.default_rng(3)
    decay = rng.uniform(0.5, 0.99, size=(STEPS, CHANNELS))
    entered = rng.normal(size=(STEPS, CHANNELS)) + (1j * rng.normal(size=(STEPS, CHANNELS)) if complex_state else 0)
    phase = rng.uniform(0, 3, size=CHANNELS) if complex_state else None
    turn = np.exp(1j * phase) if phase is not None else 1.0
    state, now = np.empty_like(entered), np.full(CHANNELS, start, dtype=entered.dtype)
    for t in range(STEPS):
        now = decay[t] * turn * now + entered[t]
        state[t] = now
    kind = np.complex64 if complex_state else np.float32
    return LayerTrace(
        name="made",
        decay=decay[None].astype(np.float32),
        write=np.full((1, STEPS, CHANNELS), 0.5, dtype=np.float32),
        entered=entered[None].astype(kind),
        state=state[None].astype(kind),
        phase=None if phase is None else phase.astype(np.float32),
    )


@pytest.mark.parametrize("complex_state", [False, True])
@pytest.mark.parametrize("start", [0.0, 0.7])
def test_what_each_event_left_in_a_channel_adds_up_to_its_state(complex_state: bool, start: float) -> None:
    layer = recurrence(complex_state=complex_state, start=start)
    for channel in range(CHANNELS):
        for step in (0, 1, STEPS - 1):
            left, rest = parts(layer, channel, step)
            assert len(left) == step + 1
            assert left.sum() + rest == pytest.approx(float(layer.state[0, step, channel].real), abs=1e-5)
            assert (rest != 0) == (start != 0)


@pytest.mark.parametrize("complex_state", [False, True])
def test_the_recurrence_of_a_true_trace_has_no_error_and_that_of_an_altered_one_has(complex_state: bool) -> None:
    layer = recurrence(complex_state=complex_state)
    error = recurrence_error(layer)
    assert error is not None
    assert error < 1e-5
    layer.state[0, 4, 2] += 0.25
    assert recurrence_error(layer) == pytest.approx(0.25, rel=0.02)


def test_the_start_state_is_read_back() -> None:
    np.testing.assert_allclose(start_state(recurrence(start=0.7)), 0.7, rtol=1e-4)
    assert not start_state(recurrence()).any()


def test_half_lives_are_what_the_decay_says() -> None:
    decay = np.full((1, 3, 4), [0.5, 0.25, 1.0, 0.5**0.1], dtype=np.float32)
    layer = LayerTrace(name="made", decay=decay)
    lives = channel_half_lives(layer)
    assert lives is not None
    np.testing.assert_allclose(lives, [1.0, 0.5, LONGEST, 10.0], rtol=1e-5)
    assert by_half_life(layer).tolist() == [2, 3, 0, 1]


def test_a_few_channels_span_the_order_from_end_to_end_and_keep_the_chosen_one() -> None:
    order = np.arange(100)[::-1]
    few = spread(order, 8)
    assert len(few) == 8
    assert few[0] == 99
    assert few[-1] == 0
    for chosen in range(100):
        kept = spread(order, 8, keep=chosen)
        assert chosen in kept
        assert len(kept) == 8
        assert (np.diff(kept) < 0).all()
    assert spread(order, 200).tolist() == order.tolist()


def test_a_matrix_holds_the_chosen_channels_in_their_order() -> None:
    layer = recurrence()
    rows = np.array([3, 0])
    drawn = matrix(layer, "state", rows)
    np.testing.assert_array_equal(drawn.values, layer.state[0][:, rows].T)
    assert drawn.low == -drawn.high
    assert 0.9 <= (np.abs(drawn.values) <= drawn.high).mean() < 1
    assert drawn.clipped
    assert offered(layer) == ["state", "decay", "write", "entered"]


def test_the_fullest_channel_is_the_one_that_holds_most_at_the_typical_event_and_not_once() -> None:
    state = np.ones((1, 9, 3), dtype=np.float32)
    state[0, :, 1] = -2
    state[0, 4, 2] = 100
    layer = LayerTrace(name="made", state=state)
    assert fullest(layer, np.arange(3)) == 1
    assert fullest(layer, np.array([0, 2])) == 0
    assert fullest(layer, np.arange(0)) is None


def test_attention_of_a_later_event_is_no_number_and_the_range_is_not_that_of_the_first_events() -> None:
    mix = np.tril(np.full((1, 2, 30, 30), 0.01, dtype=np.float32))
    mix[:, :, 0, 0] = 1.0
    drawn = matrix(LayerTrace(name="attention", mix=mix), "mix", np.arange(0))
    assert np.isnan(drawn.values[3, 4])
    assert drawn.values[4, 3] == pytest.approx(0.01)
    assert drawn.high == pytest.approx(0.01)
    assert drawn.clipped


def test_the_arithmetic_of_a_complex_recurrence_has_real_and_imaginary_parts() -> None:
    layer = recurrence(complex_state=True)
    terms = arithmetic(layer, np.array([1, 2]))
    assert terms is not None
    assert terms.state.shape == (2, 2, STEPS)
    assert terms.start.shape == (2, 2)
    np.testing.assert_array_equal(terms.state[1], layer.state[0][:, [1, 2]].imag.T)
    assert terms.phase is not None
    np.testing.assert_allclose(np.exp(1j * terms.phase), np.exp(1j * layer.phase[[1, 2]]), rtol=1e-5)
