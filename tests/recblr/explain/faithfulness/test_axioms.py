"""Infidelity, sensitivity and randomisation: what they say of right, wrong and blind explanations."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import SequentialBackbone
from recblr.errors import ExplainError
from recblr.explain import ask, attribute
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness import axioms
from recblr.explain.faithfulness.axioms import (
    by_name,
    completeness_error,
    infidelity,
    randomised,
    sensitivity,
    shuffled,
)
from recblr.explain.question import Question

Make = Callable[..., SequentialBackbone]
HELD = partial(attribute, method="held_gates")


@pytest.fixture
def question(make: Make, history: SimpleNamespace) -> Question:
    return ask(make("recblr"), history.items, history.times.tolist(), target=10, contrast=11)


def _with_values(question: Question, values: np.ndarray) -> Attribution:
    return question.answer(
        values=values, method="removal", exactness="intervention", logit=float(values.sum()), remainder=0.0, error=0.0
    )


def _recent(question: Question) -> Attribution:
    """Blind: the later, the more important, whatever the model."""
    return _with_values(question, np.arange(len(question), dtype=np.float64))


def test_values_that_forecast_the_model_have_less_infidelity_than_none(question: Question) -> None:
    batch = question.batch()
    e = question.model.embed(batch.items)
    mean = question.model.embed(torch.arange(1, 13)[None])[0].mean(0)
    effects = []
    for position in range(len(question)):
        moved = e.clone()
        moved[0, position] = mean
        hidden = question.model.encode(moved, batch.mask, batch.times)
        effects.append(question.logit()[0] - float(question.difference(question.model.scores(hidden[:, -1]))[0]))
    right, wrong = np.array(effects), np.array(effects)[::-1].copy()
    low = infidelity(question, _with_values(question, right))
    assert low < 0.5
    assert low < infidelity(question, _with_values(question, wrong))
    assert infidelity(question, _with_values(question, np.zeros(len(question)))) == pytest.approx(1)


def test_infidelity_does_not_depend_on_the_unit_of_the_values(question: Question) -> None:
    values = attribute(question, "held_gates").values
    one, hundred = (infidelity(question, _with_values(question, values * by)) for by in (1.0, 100.0))
    assert one == pytest.approx(hundred, rel=1e-3)


def test_a_perturbation_that_breaks_captums_contract_is_caught() -> None:
    e = torch.ones(1, 2, 3)
    axioms._check_perturbation(e, 0.5 * e, 0.5 * e)
    with pytest.raises(AssertionError, match="do not belong together"):
        axioms._check_perturbation(e, e, e)


def test_a_blind_explanation_feels_nothing_and_held_gates_feel_something(question: Question) -> None:
    assert sensitivity(question, _recent) == 0
    felt = sensitivity(question, HELD)
    assert felt > 0
    assert felt < sensitivity(question, HELD, radius=0.2)


def test_shuffling_the_weights_changes_held_gates_and_not_a_blind_explanation(question: Question) -> None:
    assert randomised(question, HELD, draws=5).changed
    blind = randomised(question, _recent)
    assert not blind.changed
    assert blind.correlation.tolist() == [1, 1, 1]


def test_shuffling_moves_every_number_and_keeps_them_all(make: Make) -> None:
    model = make("lrurec")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    twin = shuffled(model, seed=1)
    for (name, own), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(own.flatten().sort().values, other.flatten().sort().values), name
    assert not torch.equal(next(iter(model.parameters())), next(iter(twin.parameters())))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_sum_that_misses_is_a_completeness_error(question: Question) -> None:
    whole = attribute(question, "held_gates")
    assert completeness_error(whole) < 1e-5
    assert completeness_error(replace(whole, exactness="estimate", remainder=whole.remainder + 1, error=2.0)) > 0.1


def test_a_baseline_that_counts_has_no_embeddings_and_no_weights(make: Make, history: SimpleNamespace) -> None:
    question = ask(make("markov"), history.items, history.times.tolist(), target=10)
    counts = partial(attribute, method="counts")
    with pytest.raises(ExplainError, match="Markov chain counts: it has no embeddings to perturb"):
        infidelity(question, counts(question))
    with pytest.raises(ExplainError, match="Markov chain counts: it has no embeddings to move"):
        sensitivity(question, counts)
    with pytest.raises(ExplainError, match="Markov chain counts: it has no weights to shuffle"):
        randomised(question, counts)


def test_measuring_in_threads_gives_what_it_gives_alone_and_leaves_no_trace(make: Make) -> None:
    model = make("recblr")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, keys = torch.get_rng_state(), set(vars(model))
    questions = [ask(model, [1 + n, 2, 3, 4 + n % 3, 9, 6], target=11) for n in range(4)]

    def measured(question: Question) -> tuple[float, float]:
        explain = HELD
        return infidelity(question, explain(question), draws=10), sensitivity(question, explain, draws=3)

    alone = [measured(question) for question in questions]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(measured, questions))
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert set(vars(model)) == keys


def test_a_method_is_found_by_its_name_or_refused(make: Make, question: Question) -> None:
    assert by_name("removal", question)(question).method == "removal"
    with pytest.raises(ExplainError, match="held_gates cannot explain markov"):
        by_name("held_gates", replace(question, model=make("markov")))
