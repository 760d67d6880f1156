"""Methods that follow gradients or average over draws, each against what it claims to be."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY
from recblr.errors import ExplainError
from recblr.explain import METHODS, ask, attribute, attribute_many, explain
from recblr.explain.embedded import Embedded
from recblr.explain.shapley import EVERY_SET

LEARNING = [name for name, cls in REGISTRY.items() if cls.learns]


@pytest.mark.parametrize("name", LEARNING)
def test_integrated_gradients_meet_the_logit_up_to_the_delta(make, history, name):
    model = make(name)
    found = explain(model, history.items, history.times, target=10, method="integrated_gradients", steps=24)
    function = Embedded.of(ask(model, history.items, history.times, target=10))
    base = function.plain(function.against("mean", counts=None, draws=1, seed=0))[0]
    assert found.remainder == pytest.approx(float(base), abs=1e-5)
    assert abs(found.values.sum() + base - found.logit) <= found.error + 1e-5
    assert found.details["convergence_delta"] == found.error
    assert found.error < 0.5 * np.abs(found.values).sum()


def test_integrated_gradients_are_the_mean_gradient_of_the_line(make, history):
    model = make("sasrec")
    found = explain(model, history.items, target=10, method="integrated_gradients", steps=256)
    function = Embedded.of(ask(model, history.items, target=10))
    e, base = function.embeddings, function.item_mean().expand_as(function.embeddings)
    alpha = (torch.arange(256) + 0.5)[:, None, None] / 256
    line = (base + alpha * (e - base)).requires_grad_()
    (slope,) = torch.autograd.grad(function.value(line).sum(), line)
    wanted = ((e - base) * slope.mean(0, keepdim=True)).sum(-1)[0]
    np.testing.assert_allclose(found.values, wanted.detach().numpy(), rtol=0, atol=2e-3 * np.abs(found.values).max())


def test_shares_are_refused_where_the_delta_is_large_and_a_note_says_so(make, history):
    model = make("hstu", d=16)
    rough = explain(model, history.items, history.times, target=10, method="integrated_gradients", steps=2)
    fine = explain(model, history.items, history.times, target=10, method="integrated_gradients", steps=256)
    assert fine.error < rough.error
    for found in (rough, fine):
        part = found.error / abs(found.explained)
        assert found.reliable == (part <= 0.2)
        assert any("no shares are shown" in note for note in found.notes) == (part > 0.2)
        if part > 0.2:
            with pytest.raises(ExplainError, match="no shares from integrated_gradients"):
                found.shares()


def test_every_baseline_can_be_asked_for(make, history):
    model = make("recblr")
    counts = np.array([0, *range(12, 0, -1)])
    ask_for = {"method": "integrated_gradients", "steps": 8, "target": 10}
    mean, popular, drawn = (
        explain(model, history.items, baseline=baseline, counts=counts, **ask_for)
        for baseline in ("mean", "popularity", "random")
    )
    assert len({one.remainder for one in (mean, popular, drawn)}) == 3
    assert mean.standard_error is None
    assert (drawn.standard_error > 0).all()
    again = explain(model, history.items, baseline="random", **ask_for)
    np.testing.assert_array_equal(again.values, drawn.values)


def test_a_baseline_that_cannot_be_says_why(make, history):
    model = make("recblr")
    with pytest.raises(ExplainError, match="no baseline 'zero': choose one of mean, popularity, random"):
        explain(model, history.items, target=10, method="integrated_gradients", baseline="zero")
    with pytest.raises(ExplainError, match="pass counts"):
        explain(model, history.items, target=10, method="integrated_gradients", baseline="popularity")
    with pytest.raises(ExplainError, match="counts must be 13 numbers"):
        explain(
            model, history.items, target=10, method="integrated_gradients", baseline="popularity", counts=np.ones(5)
        )
    with pytest.raises(ExplainError, match="at least 2 points"):
        explain(model, history.items, target=10, method="integrated_gradients", steps=1)


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_shap", "shapley", "feature_ablation"])
def test_long_methods_tell_how_far_they_are(make, history, method):
    told = []
    explain(
        make("sasrec"),
        history.items,
        target=10,
        method=method,
        progress=lambda done, total: told.append((done, total)),
    )
    done, total = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == total[-1]


@pytest.mark.parametrize("name", LEARNING)
def test_gradient_times_input_is_the_slope_here_and_its_error_what_it_misses(make, history, name):
    found = explain(make(name), history.items, history.times, target=10, method="gradient_input")
    assert found.remainder == 0
    assert found.error == pytest.approx(abs(found.values.sum() - found.logit), abs=1e-6)


def test_gradient_times_input_is_exact_for_what_is_linear(make, history):
    """A GRU without biases at weights near zero is close to linear in its input, and its read-out has no norm."""
    model = make("gru4rec", "reference")
    with torch.no_grad():
        for weight in model.gru.parameters():
            weight.mul_(1e-3)
        model.dense.bias.zero_()
    found = explain(model, history.items, target=10, method="gradient_input")
    assert found.error < 1e-2 * abs(found.logit)


def test_gradient_shap_meets_the_logit_within_its_own_uncertainty(make, history):
    few, many = (
        explain(make("recblr"), history.items, target=10, method="gradient_shap", draws=draws) for draws in (16, 256)
    )
    assert few.standard_error.mean() > 2 * many.standard_error.mean()
    total = np.sqrt((many.standard_error**2).sum())
    assert many.error < 5 * total
    with pytest.raises(ExplainError, match="at least 2"):
        explain(make("recblr"), history.items, target=10, method="gradient_shap", draws=1)


def test_shapley_values_of_few_events_are_the_mean_over_every_order(make, history):
    model = make("recblr")
    items, times = history.items[:4], history.times[:4]
    found = explain(model, items, times, target=10, contrast=11, method="shapley")
    question = ask(model, items, times, target=10, contrast=11)

    worth = {(): found.remainder}
    for kept in (kept for n in range(1, 5) for kept in combinations(range(4), n)):
        worth[kept] = float(question.about(items[list(kept)], times[list(kept)]).logit()[0])
    wanted = np.zeros(4)
    for order in permutations(range(4)):
        for place, event in enumerate(order):
            with_it, without = tuple(sorted(order[: place + 1])), tuple(sorted(order[:place]))
            wanted[event] += (worth[with_it] - worth[without]) / 24
    np.testing.assert_allclose(found.values, wanted, rtol=0, atol=1e-5)
    assert found.error < 1e-5
    assert not found.standard_error.any()


def test_drawn_shapley_values_lie_within_their_standard_error_of_the_exact_ones(make, history, monkeypatch):
    model = make("sasrec")
    items, times = history.items[:5], history.times[:5]
    exact = explain(model, items, times, target=10, method="shapley")
    monkeypatch.setattr("recblr.explain.shapley.EVERY_SET", 0)
    drawn = explain(model, items, times, target=10, method="shapley", permutations=32)
    assert drawn.error < 1e-4
    far = np.abs(drawn.values - exact.values) / np.maximum(drawn.standard_error, 1e-6)
    assert (far < 4).all()
    assert drawn.standard_error.max() > 0
    again = explain(model, items, times, target=10, method="shapley", permutations=32)
    np.testing.assert_array_equal(again.values, drawn.values)


def test_shapley_values_of_more_events_are_drawn(make, history):
    found = explain(make("sasrec"), history.items, target=10, method="shapley", permutations=4)
    assert len(history.items) > EVERY_SET
    assert found.details["permutations"] == 4
    assert found.error < 1e-4
    with pytest.raises(ExplainError, match="at least 2"):
        explain(make("sasrec"), history.items, target=10, method="shapley", permutations=1)


def test_drawing_leaves_the_draws_of_others_alone(make, history):
    model = make("sasrec")
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  the global state is what must not move
    wanted = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    for method in ("gradient_shap", "shapley", "integrated_gradients"):
        explain(model, history.items, target=10, method=method)
    assert (torch.rand(1), np.random.rand()) == wanted  # noqa: NPY002


@pytest.mark.parametrize("name", ["recblr", "hstu", "tisasrec"])
def test_feature_ablation_is_a_second_run_with_the_mean_item(make, history, name):
    model = make(name)
    found = explain(model, history.items, history.times, target=10, method="feature_ablation")
    function = Embedded.of(ask(model, history.items, history.times, target=10))
    for place in (0, 5, 8):
        changed = function.embeddings.clone()
        changed[0, place] = function.item_mean()
        assert found.values[place] == pytest.approx(found.logit - float(function.plain(changed)[0]), abs=1e-4)


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_shap", "gradient_input", "feature_ablation"])
def test_gradients_leave_the_model_as_it_was_and_need_no_gradient_mode(make, history, method):
    model = make("recblr")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plain = explain(model, history.items, target=10, method=method)
    with torch.inference_mode():
        found = explain(model, history.items, target=10, method=method)
    np.testing.assert_array_equal(found.values, plain.values)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if one.needs != "counts"])
def test_many_questions_get_the_answers_that_each_gets_alone(make, history, method):
    model = make("recblr")
    asked = [ask(model, history.items[:n], history.times[:n], target=10, contrast=12) for n in (2, 9, 3, 5)]
    for question, found in zip(asked, attribute_many(asked, method), strict=True):
        alone = attribute(question, method)
        assert found.method == method
        np.testing.assert_allclose(found.values, alone.values, rtol=0, atol=1e-5)
    assert attribute_many([], method) == []
    if METHODS[method].together:
        with pytest.raises(ExplainError, match="different models"):
            attribute_many([asked[0], ask(make("lrurec"), history.items, target=10)], method)
