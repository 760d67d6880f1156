"""How long a model remembers, where the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import SequentialBackbone
from recblr.checkpoint import load_run, save_run
from recblr.data.log import Catalog, InteractionLog
from recblr.data.splits import leave_one_out
from recblr.errors import ConfigError, DataError, ExplainError, HistoryError
from recblr.evaluation.evaluate import evaluate
from recblr.evaluation.protocols import protocol
from recblr.explain import ask, explain
from recblr.explain.attribution import Attribution
from recblr.explain.memory import (
    gap_response,
    half_lives,
    horizon,
    last_item_dominance,
    lens,
    needed_by_run,
    recent_items,
)
from recblr.explain.question import Question, padded
from recblr.explain.variants import Variant

Make = Callable[..., SequentialBackbone]
DAY = 86_400


@pytest.fixture
def question(make: Make, history: SimpleNamespace) -> Question:
    return ask(make("recblr"), history.items, history.times.tolist(), target=10)


def test_half_lives_are_quantiles_of_the_trace_in_events_and_in_days(make: Make, history: SimpleNamespace) -> None:
    model = make("lrurec")
    times = 10**9 + 2 * DAY * np.arange(9)
    trace = model.trace(ask(model, history.items, times.tolist(), target=10).batch())
    first = half_lives(trace)[0]
    modulus = np.exp(-np.exp(model.layers[0].mixer.log_nu.numpy()))  # type: ignore[union-attr, index]
    per_channel = np.sort(np.log(0.5) / np.log(modulus))
    assert first.items[2] == pytest.approx(per_channel[len(per_channel) // 2 - 1], rel=1e-4)
    np.testing.assert_allclose(first.days, 2 * first.items)
    assert not first.days_measured


def test_days_are_the_models_own_where_its_decay_reads_the_time(make: Make, history: SimpleNamespace) -> None:
    model = make("tbdlru")
    trace = model.trace(ask(model, history.items, history.times.tolist(), target=10).batch())
    first = half_lives(trace)[0]
    own = trace.layers[0].half_life_days
    assert own is not None
    assert first.days_measured
    assert first.days is not None
    assert first.days[2] == pytest.approx(np.median(own[0]))


def test_attention_has_no_half_life(make: Make, history: SimpleNamespace) -> None:
    model = make("sasrec")
    assert half_lives(model.trace(ask(model, history.items, target=10).batch())) == ()


def _attribution(values: list[float], **fields: object) -> Attribution:
    array = np.array(values)
    usual = {"exactness": "intervention", "logit": float(array.sum()), "remainder": 0.0, "error": 0.0}
    return Attribution(
        values=array, items=np.arange(1, len(values) + 1), times=DAY * np.arange(len(values)), target=9,
        method="removal", **{**usual, **fields},  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "items", "days"),
    [([0, 0, 0, 5], 1, 0), ([5, 0, 0, 0], 4, 3), ([1, -4, 0, 5], 3, 2), ([1, 1, 1, 1], 4, 3), ([0, 0, 0, 0], 0, 0)],
)
def test_the_horizon_reaches_back_to_nine_tenths_of_the_shares(values: list[float], items: int, days: float) -> None:
    found = horizon(_attribution(values))
    assert (found.items, found.days) == (items, days)


def test_an_attribution_without_shares_has_no_horizon() -> None:
    with pytest.raises(ExplainError, match="no shares"):
        horizon(_attribution([1, 2], exactness="estimate", error=2.0))
    with pytest.raises(ExplainError, match="share is 0"):
        horizon(_attribution([1, 2]), share=0)


def test_a_horizon_of_held_gates_lies_within_the_history(question: Question) -> None:
    found = horizon(explain(question.model, question.items, question.times.tolist(), target=10))
    assert 1 <= found.items <= len(question)
    assert found.share >= 0.9 - 1e-9


def _chain_log(lag: int) -> InteractionLog:
    """Each user's item repeats `lag` events later: the next item is known from the event `lag` before it."""
    items = np.concatenate([np.resize(np.random.default_rng(user).permutation(12)[:lag] + 1, 16) for user in range(30)])
    return InteractionLog(
        name="chain",
        items=items.astype(np.int32),
        times=np.tile(np.arange(16), 30) * DAY,
        offsets=np.arange(0, 481, 16),
        users=np.array([f"u{n:02d}" for n in range(30)]),
        catalog=Catalog(ids=np.array(["", *[f"i{n:02d}" for n in range(1, 13)]])),
    )


def test_a_markov_chain_needs_one_event_for_all_it_can_answer(make: Make) -> None:
    log, rule = _chain_log(1), protocol("recbole")
    split = leave_one_out(log)
    found = recent_items(make("markov"), log, rule, split.test)
    assert found.k95 == 1
    assert found.hit_rate[0] == found.whole


def test_k95_is_the_smallest_count_that_keeps_the_hit_rate(make: Make) -> None:
    model, log, rule = make("recblr"), _chain_log(5), protocol("recbole")
    split = leave_one_out(log)
    quick = recent_items(model, log, rule, split.test)
    slow = recent_items(model, log, rule, split.test, counts=range(1, 25))
    assert quick.whole == slow.whole == evaluate(model, log, rule).metrics["HR@10"]
    rates = dict(zip(quick.counts.tolist(), quick.hit_rate.tolist(), strict=True))
    assert rates[quick.k95] >= 0.95 * quick.whole
    assert slow.k95 <= quick.k95
    assert all(rate < 0.95 * slow.whole for rate in slow.hit_rate[slow.counts < slow.k95])


def test_a_run_is_measured_on_so_many_of_its_test_users(make: Make, tmp_path: Path) -> None:
    log, model = _chain_log(5), make("recblr")
    data = {"name": "chain", "fingerprint": log.fingerprint, "n_users": log.n_users, "n_events": log.n_events}
    train = {"protocol": "recbole"}
    run = load_run(save_run(tmp_path / "run", model, log.catalog, train=train, data=data, metrics={}))
    every, last, users = needed_by_run(run, log, 500)
    assert users == log.n_users
    assert every.whole == recent_items(model, log, protocol("recbole"), leave_one_out(log).test).whole
    assert last is not None
    assert len(last.cosine) == users
    _, few, users = needed_by_run(run, log, 7)
    assert users == 7
    assert few is not None
    assert set(few.cosine.round(5)) <= set(last.cosine.round(5))
    with pytest.raises(ConfigError, match="at least one"):
        needed_by_run(run, log, 0)


def test_memory_is_not_measured_on_nothing(make: Make) -> None:
    log, rule = _chain_log(2), protocol("recbole")
    targets = leave_one_out(log).test
    with pytest.raises(DataError, match="no target"):
        recent_items(make("recblr"), log, rule, type(targets)(users=targets.users[:0], positions=targets.positions[:0]))
    with pytest.raises(ConfigError, match="from 1 up"):
        recent_items(make("recblr"), log, rule, targets, counts=[0])


def test_last_item_dominance_counts_own_last_items_in_the_top(make: Make) -> None:
    model = make("recblr")
    histories = [np.array(one) for one in ([3, 1, 2], [5, 5], [7, 8, 9, 10])]
    batch = padded([(one, np.zeros(len(one), dtype=np.int64)) for one in histories])
    found = last_item_dominance(model, batch, k=3)
    inside, cosine = [], []
    for one in histories:
        asked = ask(model, one, target=int(one[-1]), mask_seen=False)
        inside.append(1 + float((asked.scores()[0] > asked.scores()[0, one[-1]]).sum()) <= 3)
        hidden = model(asked.batch())[0, -1]
        cosine.append(float(torch.cosine_similarity(hidden, model.output_embedding()[0][one[-1]], dim=0)))
    assert found.in_top == pytest.approx(np.mean(inside))
    np.testing.assert_allclose(found.cosine, cosine, atol=1e-5)


def test_last_items_are_asked_of_models_with_a_hidden_state(make: Make) -> None:
    batch = padded([(np.array([1]), np.array([0]))])
    with pytest.raises(ExplainError, match="Markov chain counts"):
        last_item_dominance(make("markov"), batch)
    with pytest.raises(ExplainError, match="k is 0"):
        last_item_dominance(make("recblr"), batch, k=0)


def test_a_longer_pause_forgets_more_where_the_decay_reads_the_time(make: Make, history: SimpleNamespace) -> None:
    question = ask(make("tbdlru"), history.items, history.times.tolist(), target=10)
    found = gap_response(question, gaps=(0, 3600, DAY, 30 * DAY))
    assert (np.diff(found.decay, axis=1) <= 1e-6).all()
    assert (found.decay[:, -1] < found.decay[:, 0]).all()
    assert found.as_given == 60
    given = gap_response(question, gaps=(60,))
    assert given.logit[0] == pytest.approx(question.logit()[0], abs=1e-5)


def test_after_each_pause_the_rank_and_the_first_choice_are_those_of_the_changed_history(
    make: Make, history: SimpleNamespace
) -> None:
    question = ask(make("tbdlru"), history.items, history.times.tolist(), target=10)
    found = gap_response(question, gaps=(0, 30 * DAY), position=4)
    for n, gap in enumerate((0, 30 * DAY)):
        changed = Variant(items=question.items, times=question.times).change_gap(4, gap)
        scores = question.about(changed.items, changed.times).scores()[0, 1:]
        assert found.rank[n] == 1 + int((scores > scores[9]).sum())
        assert found.top[n] == 1 + int(scores.argmax())


def test_attention_answers_a_pause_without_a_decay(make: Make, history: SimpleNamespace) -> None:
    found = gap_response(ask(make("hstu"), history.items, history.times.tolist(), target=10), gaps=(0, 365 * DAY))
    assert np.isnan(found.decay).all()
    assert found.logit[0] != found.logit[1]


def test_a_pause_needs_times_and_an_event_before_it(make: Make, history: SimpleNamespace) -> None:
    with pytest.raises(ExplainError, match="RecBLR reads no times"):
        gap_response(ask(make("recblr"), history.items, history.times.tolist(), target=10))
    with pytest.raises(HistoryError, match="has no times"):
        gap_response(ask(make("tbdlru"), history.items, target=10))
    with pytest.raises(HistoryError, match="first event has no gap"):
        gap_response(ask(make("tbdlru"), history.items, history.times.tolist(), target=10), position=0)
    with pytest.raises(HistoryError, match="one event"):
        gap_response(ask(make("tbdlru"), [3], [5], target=10))


def test_the_last_layer_of_the_lens_is_the_models_answer_after_each_event(question: Question) -> None:
    found = lens(question)
    assert found.layers[-1] == "answer"
    assert found.rank.shape == (2, len(question))
    for step in (0, 4, 8):
        short = question.about(question.items[: step + 1], question.times[: step + 1])
        scores = short.scores()[0]
        assert found.rank[-1, step] == 1 + float((scores > scores[10]).sum())
        assert found.log_prob[-1, step] == pytest.approx(float(scores[1:].log_softmax(0)[9]), abs=1e-4)
        assert found.top[-1, step] == int(scores.argmax())
    assert len(found.rows()) == 2 * len(question)


def test_a_lens_does_not_look_into_a_model_that_sees_the_future(make: Make, history: SimpleNamespace) -> None:
    with pytest.raises(ExplainError, match="not causal"):
        lens(ask(make("ssd4rec", "reference"), history.items, target=10))
