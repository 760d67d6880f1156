from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recblr.backbones import make_config
from recblr.backbones.base import Batch, SequentialBackbone
from recblr.backbones.hstu import HSTU
from recblr.backbones.markov import Markov, MarkovConfig
from recblr.backbones.popularity import CountingConfig, Popularity
from recblr.data.log import InteractionLog
from recblr.data.splits import Split, Targets
from recblr.errors import ConfigError, DataError, RecblrError
from recblr.evaluation import compare, engine, evaluate, evaluate_every_position, protocol
from recblr.evaluation.ranking import rank_of_target

MakeLog = Callable[..., InteractionLog]
MakeModel = Callable[..., SequentialBackbone]


def test_ranks_and_metrics_of_a_small_log_equal_those_by_hand(make_log: MakeLog, fixed: MakeModel) -> None:
    log = make_log([[9, 9, 1], [9, 9, 9, 2], [9, 1, 9]], n_items=30)
    result = evaluate(fixed(n_items=30), log, "recbole")
    assert result.ranks.tolist() == [1, 2, 9]
    assert result.users.tolist() == [0, 1, 2]
    assert result.positions.tolist() == [2, 6, 9]
    assert result.top.tolist() == [1, 1, 1]
    assert result.metrics["HR@10"] == 1
    assert result.metrics["NDCG@10"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(10)) / 3)
    assert result.metrics["MRR@20"] == pytest.approx((1 + 1 / 2 + 1 / 9) / 3)
    low, high = result.intervals["MRR@20"]
    assert 1 / 9 <= low < result.metrics["MRR@20"] < high <= 1


def test_results_stand_in_the_order_of_the_log_and_equal_one_user_at_a_time(
    random_log: InteractionLog, fading: MakeModel
) -> None:
    model = fading(max_len=6)
    result = evaluate(model, random_log, "lrurec")
    for user, position, rank in zip(result.users, result.positions, result.ranks, strict=True):
        begin = max(random_log.offsets[user], position - 6)
        batch = Batch(
            items=torch.from_numpy(random_log.items[begin:position])[None].long(),
            times=torch.from_numpy(random_log.times[begin:position])[None],
        )
        scores = model.scores(model(batch))[0, -1].detach().float()
        target = random_log.items[position]
        others = sorted(set(range(1, 10)) - set(random_log.items[begin:position].tolist()) - {int(target)})
        assert rank == 1 + sum(float(scores[item]) > float(scores[target]) for item in others)


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_the_batch_size_moves_no_rank(random_log: InteractionLog, fading: MakeModel, batch_size: int) -> None:
    for way in (evaluate, evaluate_every_position):
        whole = way(fading(), random_log, "users")
        assert np.array_equal(way(fading(), random_log, "users", batch_size=batch_size).ranks, whole.ranks)


def test_scoring_in_pieces_moves_no_rank(
    random_log: InteractionLog, fading: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(protocol("users"), mask_seen="history")
    whole = evaluate_every_position(fading(), random_log, chosen)
    monkeypatch.setattr(engine, "SCORES_AT_ONCE", 40)
    assert np.array_equal(evaluate_every_position(fading(), random_log, chosen).ranks, whole.ranks)


def test_only_the_last_max_len_events_are_read(make_log: MakeLog, fading: MakeModel) -> None:
    old, new = make_log([[1, 2, 3, 4, 5, 6]]), make_log([[9, 8, 3, 4, 5, 6]])
    for max_len, same in ((3, True), (5, False)):
        model = fading(max_len=max_len)
        assert (model_scores(model, old) == model_scores(model, new)) is same


def model_scores(model: SequentialBackbone, log: InteractionLog) -> list[float]:
    """Scores that `evaluate` ranks by, caught on their way."""
    caught = []
    original = model.scores
    model.scores = lambda hidden: caught.append(original(hidden)) or caught[-1]  # type: ignore[method-assign]
    evaluate(model, log, "recbole")
    return caught[0].flatten().tolist()


def test_validation_stops_before_the_validation_event_and_the_test_reads_it(make_log: MakeLog) -> None:
    log = make_log([[1, 2, 1, 2, 3, 4], [3, 4, 3, 4, 1, 1]], n_items=4)
    split = protocol("recbole").split(log)
    model = Markov(MarkovConfig(n_items=4)).fit(log, split.train_end)  # 1 -> 2 -> 1, 3 -> 4 -> 3
    assert evaluate(model, log, "recbole", "valid").top.tolist() == [1, 3]  # after 2, after 4
    assert evaluate(model, log, "recbole", "test").top.tolist() == [4, 2]  # after 3, after 1


@pytest.mark.parametrize(("max_len", "stride"), [(40, 40), (40, 7), (5, 1), (1, 1)])
@pytest.mark.parametrize("mask_seen", ["off", "window", "history"])
def test_every_position_equals_prefix_by_prefix(
    random_log: InteractionLog, fading: MakeModel, max_len: int, stride: int, mask_seen: str
) -> None:
    model, chosen = fading(max_len=max_len), replace(protocol("recbole"), mask_seen=mask_seen)
    for part in ("train", "held-out"):
        prefixes = evaluate(model, random_log, chosen, part)
        at_once = evaluate_every_position(model, random_log, chosen, part, stride=stride)
        assert np.array_equal(at_once.positions, prefixes.positions)
        assert np.array_equal(at_once.ranks, prefixes.ranks)
        assert np.array_equal(at_once.top, prefixes.top)
    assert at_once.every_position
    assert not prefixes.every_position


@pytest.mark.parametrize("way", [evaluate, evaluate_every_position])
def test_a_backbone_that_reads_the_time_of_the_request_is_asked_at_that_of_the_target(
    random_log: InteractionLog, way: Callable[..., Any]
) -> None:
    log = replace(random_log, times=random_log.times + 86_400 * np.arange(random_log.n_events))
    torch.manual_seed(0)
    model = HSTU(make_config(HSTU, "reference", n_items=9, max_len=40, d=8)).eval()
    torch.nn.init.normal_(model.layers[0].time_bias, std=3.0)
    result = way(model, log, "recbole")
    ranks = []
    for user, position in zip(result.users, result.positions, strict=True):
        own = slice(log.offsets[user], position)
        prefix = Batch(
            items=torch.from_numpy(log.items[own])[None].long(), times=torch.from_numpy(log.times[own])[None]
        )
        with torch.no_grad():
            hidden = model(prefix.asked_at(torch.tensor(log.times[position : position + 1])))
        scores = model.scores(hidden)[:, position - own.start - 1]
        ranks.append(float(rank_of_target(scores, torch.tensor([log.items[position]]))))
    assert result.ranks.tolist() == ranks
    backwards = replace(log, times=log.times[::-1].copy())  # a log in an order of its own: asked at the last event
    assert len(way(model, backwards, "recbole").ranks) == len(ranks)


def test_the_newest_target_of_a_long_history_is_exact_at_any_stride(
    random_log: InteractionLog, fading: MakeModel
) -> None:
    model = fading(max_len=5)
    exact = evaluate(model, random_log, "recbole")
    assert np.array_equal(evaluate_every_position(model, random_log, "recbole").ranks, exact.ranks)


def test_a_backbone_that_looks_ahead_has_no_every_position(
    random_log: InteractionLog, looks_ahead: SequentialBackbone
) -> None:
    with pytest.raises(RecblrError, match=r"Looks ahead is not causal.*use evaluate"):
        evaluate_every_position(looks_ahead, random_log, "users")
    assert len(evaluate(looks_ahead, random_log, "recbole").ranks)


def test_counting_baselines_take_the_same_path(random_log: InteractionLog) -> None:
    train_end = protocol("recbole").split(random_log).train_end
    model = Popularity(CountingConfig(n_items=9)).fit(random_log, train_end)
    most = int(model.counts.argmax())
    result = evaluate(model, random_log, "recbole")
    assert (result.top == most).all()
    assert (result.ranks[random_log.items[result.positions] == most] == 1).all()
    assert result.backbone == "popularity"


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_comes_back_even_after_an_error(
    random_log: InteractionLog, fading: MakeModel, training: bool
) -> None:
    model = fading()
    model.train(training)
    evaluate(model, random_log, "recbole")
    assert model.training is training
    with torch.no_grad():
        model.table[3] = torch.nan
    with pytest.raises(RecblrError, match="NaN"):
        evaluate(model, random_log, "recbole")
    assert model.training is training
    assert not torch.is_inference_mode_enabled()


def test_a_model_of_another_catalogue_is_refused(random_log: InteractionLog, fixed: MakeModel) -> None:
    with pytest.raises(ConfigError, match=r"the model ranks 12 items, log 'toy' has 9"):
        evaluate(fixed(n_items=12), random_log, "recbole")


def test_a_part_without_targets_raises(random_log: InteractionLog, fixed: MakeModel) -> None:
    none = Targets(users=np.empty(0, dtype=np.int64), positions=np.empty(0, dtype=np.int64))
    empty = Split(name="nothing", train_end=random_log.offsets[1:], valid=none, test=none)
    for way in (evaluate, evaluate_every_position):
        with pytest.raises(DataError, match=r"test part of log 'toy' under protocol 'recbole' has no target"):
            way(fixed(), random_log, "recbole", split=empty)


def test_a_sample_of_users_ranks_as_in_the_whole(random_log: InteractionLog, fading: MakeModel) -> None:
    whole = evaluate(fading(), random_log, "recbole")
    some = evaluate(fading(), random_log, "recbole", max_users=7, seed=3)
    assert some.n_users == 7
    assert np.array_equal(some.ranks, whole.ranks[np.isin(whole.users, some.users)])


def test_progress_counts_the_targets_up_to_all(random_log: InteractionLog, fading: MakeModel) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate(
        fading(), random_log, "recbole", batch_size=8, progress=lambda done, total: seen.append((done, total))
    )
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(result.ranks), len(result.ranks))


def test_a_result_names_how_it_was_measured_and_survives_json(random_log: InteractionLog, fading: MakeModel) -> None:
    result = evaluate(fading(), random_log, "lrurec", "valid", ks=(5,), draws=50)
    read = json.loads(json.dumps(result.as_dict()))
    assert read == result.as_dict()
    assert (read["protocol"]["name"], read["part"], read["log"]) == ("lrurec", "valid", "toy")
    assert read["fingerprint"] == random_log.fingerprint
    assert read["metrics"].keys() == read["intervals"].keys() == {"HR@5", "NDCG@5", "MRR@5"}
    assert read["targets"] == read["users"] == len(result.ranks)
    assert read["per_cause"] is None
    assert evaluate(fading(), random_log, "lrurec", draws=0).intervals == {}


def test_two_evaluations_are_compared_only_on_the_same_targets(
    random_log: InteractionLog, fading: MakeModel, fixed: MakeModel
) -> None:
    a, b = (evaluate(model, random_log, "recbole") for model in (fading(), fixed()))
    found = compare(a, b)["MRR@10"]
    assert found.mean == pytest.approx(a.metrics["MRR@10"] - b.metrics["MRR@10"])
    assert found.low <= found.mean <= found.high
    with pytest.raises(DataError, match="differ in part"):
        compare(a, evaluate(fixed(), random_log, "recbole", "valid"))
    with pytest.raises(DataError, match="differ in protocol"):
        compare(a, evaluate(fixed(), random_log, "lrurec"))
    with pytest.raises(DataError, match="max_users"):
        compare(a, evaluate(fixed(), random_log, "recbole", max_users=5))
