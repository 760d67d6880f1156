from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recblr.backbones.base import SequentialBackbone
from recblr.data.log import InteractionLog
from recblr.errors import ConfigError, DataError
from recblr.evaluation import PROTOCOLS, evaluate, protocol

MakeLog = Callable[..., InteractionLog]
MakeModel = Callable[..., SequentialBackbone]


def test_a_protocol_is_found_by_name_and_an_unknown_name_lists_them() -> None:
    assert protocol("lrurec") is PROTOCOLS["lrurec"]
    assert protocol(PROTOCOLS["time"]).name == "time"
    with pytest.raises(ConfigError, match="recbole, lrurec, time, users"):
        protocol("loo")


def test_the_protocols_rank_against_other_items(make_log: MakeLog, fixed: MakeModel) -> None:
    log = make_log([[1, 2, 3, 4, 5]])  # item 1 scores best: of the items before it, 4 stand above the target 5
    model = fixed(max_len=2)
    everything = replace(protocol("lrurec"), mask_seen="history")
    ranks = {one: float(evaluate(model, log, one).ranks[0]) for one in ("recbole", "lrurec")}
    assert ranks == {"recbole": 5, "lrurec": 3}
    assert evaluate(model, log, everything).ranks.tolist() == [1]


def test_a_target_that_was_seen_before_still_competes(make_log: MakeLog, fixed: MakeModel) -> None:
    log = make_log([[3, 1, 2, 3]])
    assert evaluate(fixed(), log, "lrurec").ranks.tolist() == [1]


def test_the_global_time_protocol_tests_what_comes_after_a_moment(make_log: MakeLog, fixed: MakeModel) -> None:
    log = make_log([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]], times=[range(0, 10, 2), range(1, 11, 2)])
    chosen = protocol("time")
    split = chosen.split(log)
    assert evaluate(fixed(), log, chosen).positions.tolist() == [9]
    assert evaluate(fixed(), log, chosen, "valid").positions.tolist() == [4]
    assert split.train_end.tolist() == [4, 9]


def test_held_out_users_do_not_train_and_every_event_but_their_first_is_a_target(make_log: MakeLog) -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 9, size=50)
    log = make_log([[1] * size for size in sizes])
    split = protocol("users").split(log)
    trained = split.train_end > log.offsets[:-1]
    for targets in (split.valid, split.test):
        users = np.unique(targets.users)
        assert len(users) == round((sizes >= 2).sum() * 0.1)
        assert not trained[users].any()
        assert len(targets) == (sizes[users] - 1).sum()
        assert not np.isin(targets.positions, log.offsets).any()
        assert (np.diff(targets.positions) > 0).all()
        assert np.array_equal(np.searchsorted(log.offsets, targets.positions, side="right") - 1, targets.users)
    assert not np.intersect1d(split.valid.users, split.test.users).size
    held = np.union1d(split.valid.users, split.test.users)
    assert np.array_equal(np.flatnonzero(~trained), held)
    assert np.array_equal(protocol("users").split(log).test.positions, split.test.positions)


def test_a_log_with_too_few_users_to_hold_out_raises(make_log: MakeLog) -> None:
    with pytest.raises(DataError, match="2 users with 2 events or more"):
        protocol("users").split(make_log([[1, 2], [3, 4], [5]]))


def test_users_with_too_few_events_train_and_are_not_tested(make_log: MakeLog, fixed: MakeModel) -> None:
    log = make_log([[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]])
    result = evaluate(fixed(), log, "recbole")
    assert result.users.tolist() == [2, 3]
    assert result.n_users == 2
    with pytest.raises(DataError, match="no user has 3 events"):
        evaluate(fixed(), make_log([[1], [1, 2]]), "recbole")
