"""Unrolled recurrences and effective attention, over the registry."""

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, Batch
from recblr.errors import ExplainError
from recblr.explain import explain, methods_of
from recblr.explain.unroll import effective_attention, unroll, without_each
from recblr.trace import LayerTrace

CASES = [(name, preset) for name, cls in REGISTRY.items() for preset in cls.presets]
UNROLLING = [case for case in CASES if REGISTRY[case[0]].unrolls]
RECURRENT = [case for case in CASES if REGISTRY[case[0]].recurrent and REGISTRY[case[0]].learns]


def one_row(history):
    return Batch(items=torch.from_numpy(history.items)[None], times=torch.from_numpy(history.times)[None])


@pytest.mark.parametrize(("name", "preset"), RECURRENT)
def test_the_parts_of_a_state_sum_to_it(make, history, name, preset, record_property):
    trace, worst = make(name, preset).trace(one_row(history)), 0.0
    for layer in trace.layers:
        if layer.decay is None:
            continue  # of two readings, the one from the newest event keeps its mix alone
        for step in (0, 5, -1):
            worst = max(worst, unroll(layer, step).error)
    record_property(f"unroll identity error, {name} {preset}", f"{worst:.1e}")
    assert 0 <= worst < 1e-5


@pytest.mark.parametrize(("name", "preset"), UNROLLING)
def test_effective_attention_times_what_is_offered_is_what_the_operator_gives_out(make, history, name, preset):
    if (name, preset) == ("tisasrec", "reference"):
        pytest.skip("as published, events attend to padding too, which is no step of a trace")
    measured = []
    for layer in make(name, preset).trace(one_row(history)).layers:
        found = effective_attention(layer)
        assert np.abs(np.triu(found.signed, 1)).max() == 0 or "backward" in layer.name
        if found.error is not None:
            measured.append(found.error)
            given = found.matrix @ found.offered
            assert np.abs(given).max() > 1e-3
    assert measured
    assert max(measured) < 1e-5


@pytest.mark.parametrize("name", ["recblr", "lrurec", "mamba4rec", "ssd4rec", "deltanet"])
def test_a_perturbed_trace_has_an_error_that_shows(make, history, name):
    layer = make(name).trace(one_row(history)).layers[0]
    spoilt = layer.state if layer.received is None else layer.received
    spoilt[0, ..., -1] += np.abs(spoilt).max()
    assert effective_attention(layer).error > 0.1


@pytest.mark.parametrize(("name", "preset"), [case for case in UNROLLING if case != ("tisasrec", "reference")])
def test_what_a_layer_hands_to_the_logit_is_a_sum_over_its_steps(make, history, name, preset):
    model = make(name, preset)
    for layer in (0, 1):
        found = explain(model, history.items, history.times, target=10, contrast=11, method="unroll", layer=layer)
        assert found.error < 1e-4
        assert np.abs(found.values).max() > 1e-4
        assert found.details == {"layer": layer}


def test_a_read_out_of_the_state_is_the_same_sum(make, history):
    """One layer without a feed-forward part whose norms are held: the logit is linear in the state."""
    layer = make("recblr", n_layers=1).trace(one_row(history)).layers[0]
    found, direction = unroll(layer), np.random.default_rng(0).standard_normal(32)
    wanted = found.state @ direction
    assert found.along(direction).sum() + found.start @ direction == pytest.approx(float(wanted), abs=1e-5)


def test_a_warm_start_is_kept_apart_from_the_events(make, history):
    warm, cold = make("recblr", "reference"), make("recblr", "fixed")
    assert np.abs(unroll(warm.trace(one_row(history)).layers[0]).start).max() > 1e-3
    assert np.abs(unroll(cold.trace(one_row(history)).layers[0]).start).max() < 1e-6


@pytest.mark.parametrize(("name", "fields"), [("lrurec", {}), ("recblr", {"conv": 1}), ("mamba4rec", {"conv": 1})])
def test_the_state_without_an_event_in_closed_form_is_that_of_a_second_run(make, history, name, fields):
    model = make(name, n_layers=1, **fields)
    found = without_each(model.trace(one_row(history)).layers[0])
    for gone in range(9):
        keep = np.arange(9) != gone
        batch = Batch(
            items=torch.from_numpy(history.items[keep])[None], times=torch.from_numpy(history.times[keep])[None]
        )
        again = model.trace(batch).layers[0].state[0, -1]
        np.testing.assert_allclose(found[gone], again, rtol=0, atol=1e-5)


def test_a_long_forgetting_history_neither_overflows_nor_loses_its_sum():
    rng = np.random.default_rng(0)
    decay = rng.uniform(1e-4, 1, (1, 2000, 3))
    entered = rng.standard_normal((1, 2000, 3))
    state = np.zeros_like(entered)
    for t in range(2000):
        state[:, t] = entered[:, t] + (decay[:, t] * state[:, t - 1] if t else 0)
    found = unroll(LayerTrace(name="x", decay=decay, entered=entered, state=state))
    assert np.isfinite(found.parts).all()
    assert found.error < 1e-12


def test_a_layer_without_a_state_is_not_unrolled(make, history):
    layer = make("sasrec").trace(one_row(history)).layers[0]
    with pytest.raises(ExplainError, match="carries no state of fixed size"):
        unroll(layer)
    with pytest.raises(ExplainError, match="no event can be taken out"):
        without_each(layer)
    with pytest.raises(ExplainError, match="mixes no events"):
        effective_attention(LayerTrace(name="layer 1"))


def test_a_layer_that_is_not_there_is_named(make, history):
    with pytest.raises(ExplainError, match="layer 5 is not there: recblr has 2, from 0"):
        explain(make("recblr"), history.items, target=10, method="unroll", layer=5)


def test_padded_steps_as_published_are_refused_with_the_way_out(make, history):
    with pytest.raises(ExplainError, match="choose held_gates"):
        explain(make("tisasrec", "reference"), history.items, history.times, target=10, method="unroll")


def test_a_gru_is_no_linear_recurrence(make, history):
    assert "unroll" not in [one.name for one in methods_of(make("gru4rec"))]
    with pytest.raises(ExplainError, match="unroll cannot explain gru4rec"):
        explain(make("gru4rec"), history.items, target=10, method="unroll")
