"""Users take 1, 2 or 3 at will; 4 is followed by 5 (cause "sequel"), and 5 comes by no other way but once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from recblr.backbones.base import SequentialBackbone, make_config
from recblr.backbones.markov import Markov
from recblr.data.log import InteractionLog
from recblr.data.simulator import SimulatorConfig, simulate
from recblr.errors import DataError
from recblr.evaluation import evaluate, evaluate_every_position, protocol
from recblr.evaluation.causes import cause_table

MakeLog = Callable[..., InteractionLog]
MakeModel = Callable[..., SequentialBackbone]


@dataclass
class PlantedTruth:
    cause: np.ndarray
    cause_pos: np.ndarray

    def names(self) -> np.ndarray:
        return np.array(["taste", "sequel", "echo"])[self.cause]


@pytest.fixture
def log(make_log: MakeLog) -> InteractionLog:
    return make_log([[1, 4, 5, 2], [4, 5, 1], [3, 5, 2]])


@pytest.fixture
def truth() -> PlantedTruth:
    return PlantedTruth(
        cause=np.array([0, 0, 1, 0, 0, 1, 0, 0, 0, 0]),
        cause_pos=np.array([-1, -1, 1, -1, -1, 0, -1, -1, -1, -1]),
    )


def test_each_cause_has_its_own_metrics_and_false_alarms(log: InteractionLog, truth: PlantedTruth) -> None:
    positions = np.array([2, 3, 5, 6, 9])
    taste, sequel = cause_table(
        log,
        truth,
        ranks=np.array([1.0, 3.0, 11.0, 1.0, 2.0]),
        top=np.array([5, 5, 1, 1, 5]),
        users=np.array([0, 0, 1, 1, 2]),
        positions=positions,
    )
    assert (taste.cause, taste.planted, taste.targets) == ("taste", False, 3)
    assert taste.metrics == {"HR@1": 1 / 3, "HR@10": 1.0, "NDCG@10": pytest.approx((1 / 2 + 1 + 1 / np.log2(3)) / 3)}
    assert taste.false_alarms is None
    assert (sequel.cause, sequel.planted, sequel.targets) == ("sequel", True, 2)
    assert sequel.metrics == {"HR@1": 0.5, "HR@10": 0.5, "NDCG@10": 0.5}
    assert sequel.intervals["HR@10"] == (0.0, 1.0)
    assert sequel.false_alarms == pytest.approx(2 / 3)  # 5 is put first on two of three unplanted targets


def test_causes_without_a_target_have_no_row(log: InteractionLog, truth: PlantedTruth, fixed: MakeModel) -> None:
    result = evaluate(fixed(), log, "recbole", truth=truth)
    assert result.per_cause is not None
    assert [row.cause for row in result.per_cause] == ["taste"]
    assert evaluate(fixed(), log, "recbole").per_cause is None


def test_every_position_gives_each_cause_all_of_its_events(
    log: InteractionLog, truth: PlantedTruth, fixed: MakeModel
) -> None:
    whole = evaluate_every_position(fixed(), log, "recbole", "train", truth=truth)
    held = evaluate_every_position(fixed(), log, "recbole", "held-out", truth=truth)
    rows = [*(whole.per_cause or ()), *(held.per_cause or ())]
    assert {(row.cause, row.targets) for row in rows} == {("taste", 1), ("sequel", 2), ("taste", 4)}
    assert json.loads(json.dumps(held.as_dict()))["per_cause"][1]["cause"] == "sequel"


def test_the_truth_of_another_log_is_refused(log: InteractionLog, truth: PlantedTruth, fixed: MakeModel) -> None:
    truth.cause = truth.cause[:-1]
    with pytest.raises(DataError, match="describes 9 events, log 'toy' has 10"):
        evaluate(fixed(), log, "recbole", truth=truth)


def test_a_markov_chain_solves_the_sequels_of_a_simulated_shop_and_no_other_planted_cause() -> None:
    shop = simulate(SimulatorConfig(seed=1, n_users=200))
    chosen = protocol("users")
    split = chosen.split(shop.log)
    model = Markov(make_config(Markov, n_items=shop.log.catalog.n_items)).fit(shop.log, split.train_end)
    result = evaluate_every_position(model, shop.log, chosen, "held-out", split=split, truth=shop.truth, draws=0)
    rows = {row.cause: row for row in result.per_cause or ()}
    assert {cause for cause, row in rows.items() if row.planted} == {"sequel", "echo", "recall", "habit", "fork"}
    solved = {cause for cause, row in rows.items() if row.metrics["HR@1"] > 0.5}
    assert solved == {"sequel"}
    assert sum(row.targets for row in rows.values()) == len(result.ranks)
    assert all((row.false_alarms is None) != row.planted for row in rows.values())
    assert (rows["sequel"].false_alarms or 0.0) < 0.05
