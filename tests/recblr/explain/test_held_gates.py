"""Held gates over the registry: a new backbone gets these tests by its line there."""

import threading

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, Batch
from recblr.backbones.base import last_hidden
from recblr.errors import ExplainError
from recblr.explain import ask, explain
from recblr.explain.held_gates import attribute_many, parts
from recblr.explain.question import padded
from recblr.layers.holding import holding, is_holding, replaying

LEARNING = [(name, preset) for name, cls in REGISTRY.items() if cls.learns for preset in cls.presets]


@pytest.mark.parametrize("contrast", [None, 11], ids=["alone", "contrast"])
@pytest.mark.parametrize(("name", "preset"), LEARNING)
def test_contributions_and_remainder_sum_to_the_logit(make, history, name, preset, contrast):
    model = make(name, preset)
    found = explain(model, history.items, history.times, target=10, contrast=contrast)
    batch = padded([(history.items, history.times)])
    scores = model.scores(last_hidden(model(batch), batch.lengths))[0].double()
    wanted = float(scores[10] - (0 if contrast is None else scores[contrast]))
    assert found.exactness == "exact with gates held"
    assert found.logit == pytest.approx(wanted, abs=1e-5)
    assert abs(found.values.sum() + found.remainder - wanted) < 1e-4
    assert found.error < 1e-4
    assert np.abs(found.values).max() > 1e-3


@pytest.mark.parametrize(("name", "preset"), LEARNING)
def test_holding_changes_no_output(make, history, name, preset):
    model, batch = make(name, preset), padded([(history.items, history.times), (history.items[:5], history.times[:5])])
    plain = model(batch)
    with holding():
        torch.testing.assert_close(model(batch)[batch.mask], plain[batch.mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "preset"), LEARNING)
def test_the_held_model_is_affine(make, history, name, preset):
    """f(2 e) - f(e) = f(e) - f(0) where all three run with the gates of e."""
    model, batch = make(name, preset), padded([(history.items, history.times)])
    e = model.embed(batch.items)

    def read(embeddings):
        return last_hidden(model.encode(embeddings, batch.mask, batch.times), batch.lengths)[0]

    with holding() as constants:
        one = read(e)
    with replaying(constants):
        two = read(2 * e)
    with replaying(constants):
        zero = read(0 * e)
    torch.testing.assert_close(two - one, one - zero, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "preset"), LEARNING)
def test_many_histories_at_once_are_explained_as_each_alone(make, history, name, preset):
    model = make(name, preset)
    cut = [9, 1, 4]
    questions = [ask(model, history.items[:n], history.times[:n], target=10, contrast=12) for n in cut]
    for question, found in zip(questions, attribute_many(questions), strict=True):
        alone = attribute_many([question])[0]
        np.testing.assert_allclose(found.values, alone.values, rtol=0, atol=1e-4)
        assert found.remainder == pytest.approx(alone.remainder, abs=1e-4)


@pytest.mark.parametrize(("name", "preset"), LEARNING)
def test_an_explanation_leaves_the_shared_model_as_it_was(make, history, name, preset):
    model = make(name, preset)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modules = list(model.modules())
    answer = model(padded([(history.items, history.times)]))
    explain(model, history.items, history.times, target=10)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [id(one) for one in model.modules()] == [id(one) for one in modules]
    for one in modules:
        assert not one._forward_hooks
        assert not one._forward_pre_hooks
        assert not one._backward_hooks
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not is_holding()
    assert torch.equal(model(padded([(history.items, history.times)])), answer)


def test_two_explanations_at_once_do_not_disturb_each_other_nor_a_recommendation(make, history):
    model = make("recblr")
    batch = padded([(history.items, history.times)])
    targets = [10, 11, 12, 6]
    alone = [explain(model, history.items, history.times, target=target).values for target in targets]
    plain, wrong = model(batch), []

    def again(target, wanted):
        for _ in range(5):
            if not np.array_equal(explain(model, history.items, history.times, target=target).values, wanted):
                wrong.append(target)

    def answers():
        for _ in range(20):
            if is_holding() or not torch.equal(model(batch), plain):
                wrong.append("recommendation")

    threads = [threading.Thread(target=again, args=one) for one in zip(targets, alone, strict=True)]
    threads.append(threading.Thread(target=answers))
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_an_event_whose_embedding_is_zero_contributes_nothing(make, history):
    model = make("recblr")
    with torch.no_grad():
        model.item_embedding.weight[7] = 0
    found = explain(model, history.items, history.times, target=10)
    assert found.values[2] == 0
    assert np.count_nonzero(found.values) == 8


def test_a_planted_cause_gets_all_of_the_credit(make):
    """Item 7 alone is seen by the recurrence, and no other points towards the target."""
    model = make("lrurec", n_layers=1)
    plain, seen = torch.zeros(16), torch.zeros(16)
    plain[:2], seen[2:4] = torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0])
    with torch.no_grad():
        for one in (model.norm, model.layers[0].norm, model.layers[0].feed_forward.norm):
            one.weight.fill_(1)
        model.item_embedding.weight.copy_(plain.expand(13, 16))
        model.item_embedding.weight[7] = seen
        model.item_embedding.weight[10, :2] = 0
        model.item_embedding.weight[10, 4:] = torch.randn(12, generator=torch.Generator().manual_seed(1))
        mixer = model.layers[0].mixer
        mixer.B.copy_(torch.randn(32, 1, 2, generator=torch.Generator().manual_seed(2)) * seen[:, None])
        model.layers[0].feed_forward.narrow.weight.zero_()
    for place in range(9):
        items = np.full(10, 3)
        items[place] = 7
        found = explain(model, items, target=10)
        assert np.abs(np.delete(found.values, place)).max() < 1e-5
        assert abs(found.values[place]) > 1e-2


def test_it_explains_inside_no_grad_and_inference_mode(make, history):
    model = make("sasrec")
    wanted = explain(model, history.items, history.times, target=10).values
    with torch.no_grad():
        np.testing.assert_array_equal(explain(model, history.items, history.times, target=10).values, wanted)
    with torch.inference_mode():
        np.testing.assert_array_equal(explain(model, history.items, history.times, target=10).values, wanted)


def test_a_history_of_one_event_is_explained(make, history):
    found = explain(make("recblr"), history.items[:1], history.times[:1], target=10)
    assert len(found.values) == 1


def test_questions_about_different_models_are_refused(make, history):
    questions = [ask(make(name), history.items, history.times, target=10) for name in ("recblr", "sasrec")]
    with pytest.raises(ExplainError, match="different models"):
        attribute_many(questions)


def test_a_backbone_that_does_not_hold_its_gates_is_refused(make, history, monkeypatch):
    monkeypatch.setattr("recblr.backbones.recblr.held", lambda gate: gate)
    with pytest.raises(ExplainError, match="claims to be exact with gates held with an error of"):
        explain(make("recblr"), history.items, target=10)


def test_a_direction_of_the_state_is_explained_as_a_logit_is(make, history):
    model, batch = make("lrurec"), padded([(history.items, history.times)])
    direction = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    found = parts(model, batch, direction)
    wanted = (last_hidden(model(batch), batch.lengths) * direction).sum()
    assert float(found.values.sum() + found.constant.sum()) == pytest.approx(float(wanted), abs=1e-4)


def test_a_model_in_training_is_not_explained(make, history):
    model = make("recblr")
    model.train()
    with pytest.raises(ExplainError, match=r"call model\.eval\(\) first"):
        explain(model, history.items, target=10)


def test_explaining_costs_milliseconds(make, record_property):
    """Processor time at T = 200, d = 64, two layers; printed, since a busy machine says little about it."""
    import time

    model = make("recblr", d=64, max_len=200)
    items = np.random.default_rng(0).integers(1, 13, 200)
    explain(model, items, target=10)
    before = time.process_time()
    explain(model, items, target=10)
    record_property("held gates, T = 200, ms of processor time", round(1e3 * (time.process_time() - before), 1))


def test_batches_are_plain(history):
    assert isinstance(padded([(history.items, history.times)]), Batch)
