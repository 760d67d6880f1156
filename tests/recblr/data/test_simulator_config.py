"""What a simulated log may be asked for, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recblr.data.simulator import CAUSES, SimulatorConfig, simulate
from recblr.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"causes": ("taste", "fashion")}, "causes: 'fashion' is no cause; choose among taste, sequel"),
        ({"shares": {"sequels": 0.1}}, "shares: 'sequels' is no cause"),
        ({"shares": {"taste": 0.5}}, "taste takes what the other causes leave"),
        ({"shares": {"noise": 1.2}}, "noise is 1.2; a share lies in"),
        ({"shares": {"noise": float("nan")}}, "noise is nan; a share lies in"),
        ({"shares": {"echo": -0.1}}, "echo is -0.1; a share lies in"),
        ({"shares": {"echo": 0.4, "sequel": 0.4, "fork": 0.4}}, "leave no room for the events that open the stories"),
        ({"causes": ("habit",), "shares": {"habit": 0.48}}, "leave no room"),
        ({"shares": {"recall": 0.09}}, "recall is 0.09, more than a gap of at least 8 events allows in 42"),
        ({"causes": ("echo",), "shares": {"noise": 0.1}}, "'noise' has a share but is not among the causes"),
        ({"n_users": 0}, "n_users is 0; it must be 1 or more"),
        ({"seed": -1}, "seed is -1"),
        ({"mean_length": 300}, "mean_length is 300; it must lie between"),
        ({"echo_lag": 2}, "echo_lag is 2; it must be 3 or more"),
        ({"recall_gap": (40, 8)}, "recall_gap is"),
        ({"fork_hours": 30.0}, "fork_hours is 30.0"),
        ({"start": 1704067201}, "start is 1704067201"),
    ],
)
def test_a_config_out_of_range_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimulatorConfig(**changes)  # type: ignore[arg-type]


def test_a_config_survives_json() -> None:
    config = SimulatorConfig(seed=4, causes=("taste", "echo"), shares={"echo": 0.1}, recall_gap=(9, 30))
    assert SimulatorConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"), [({"sede": 1}, "unknown key 'sede'"), ({"n_users": "many"}, "a value of the wrong kind")]
)
def test_a_config_from_a_file_names_what_is_wrong(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimulatorConfig.from_dict(values)


@pytest.mark.parametrize(
    ("cause", "share"), [("sequel", 0.2), ("echo", 0.2), ("habit", 0.2), ("fork", 0.2), ("trend", 0.4), ("noise", 0.4)]
)
def test_a_cause_alone_takes_about_the_share_asked_for(cause: str, share: float) -> None:
    simulated = simulate(SimulatorConfig(n_users=60, causes=("taste", cause), shares={cause: share}))
    names = simulated.truth.names()
    assert set(names.tolist()) == {"taste", cause}
    assert (names == cause).mean() == pytest.approx(share, rel=0.2)


def test_taste_is_always_in_play() -> None:
    simulated = simulate(SimulatorConfig(n_users=5, causes=()))
    assert set(simulated.truth.names().tolist()) == {"taste"}


def test_a_setting_of_a_rule_is_followed() -> None:
    config = SimulatorConfig(n_users=30, causes=("echo", "recall"), echo_lag=7, recall_gap=(5, 12))
    simulated = simulate(config)
    truth, log = simulated.truth, simulated.log
    position = np.arange(log.n_events) - np.repeat(log.offsets[:-1], log.lengths())
    echo, recall = (truth.cause == CAUSES.index(name) for name in ("echo", "recall"))
    assert set((position - truth.cause_pos)[echo].tolist()) == {7}
    gaps = (truth.cue_pos - truth.cause_pos)[recall]
    assert 5 == gaps.min() < gaps.max() <= 12


def test_a_log_of_fewer_users_is_the_beginning_of_one_of_more() -> None:
    few, more = simulate(SimulatorConfig(n_users=3, seed=2)), simulate(SimulatorConfig(n_users=5, seed=2))
    n = few.log.n_events
    assert few.log.users.tolist() == more.log.users[:3].tolist()
    np.testing.assert_array_equal(few.log.times, more.log.times[:n])
    assert few.log.catalog.ids[few.log.items].tolist() == more.log.catalog.ids[more.log.items[:n]].tolist()
    assert not np.array_equal(more.log.times[:n], simulate(SimulatorConfig(n_users=3, seed=1)).log.times[:n])


def test_lengths_lie_between_the_shortest_and_the_longest() -> None:
    lengths = simulate(
        SimulatorConfig(n_users=200, causes=("echo",), min_length=5, mean_length=12, max_length=30)
    ).log.lengths()
    assert lengths.min() >= 5
    assert lengths.max() <= 30
    assert lengths.mean() == pytest.approx(12, abs=1)
