"""The pointing game on small simulated logs, with models whose reasons are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from recblr.backbones import SequentialBackbone, backbone, make_config
from recblr.checkpoint import Run
from recblr.data.log import InteractionLog
from recblr.data.simulator import Simulated, SimulatorConfig, simulate
from recblr.errors import ConfigError, DataError, ExplainError
from recblr.evaluation.protocols import protocol
from recblr.explain import attribute, methods_of
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness.cases import Case, held_out_cases, planted_causes
from recblr.explain.faithfulness.pointing import pointing_game, question_of
from recblr.explain.faithfulness.scoreboard import scoreboard
from recblr.explain.question import Question
from recblr.training import build

RULE = protocol("recbole")


@pytest.fixture(scope="module")
def shop() -> Simulated:
    return simulate(
        SimulatorConfig(
            n_users=60,
            causes=("taste", "sequel", "echo", "recall"),
            shares={"sequel": 0.15, "echo": 0.1},
            mean_length=30,
        )
    )


def _model(log: InteractionLog, name: str = "markov", max_len: int = 20) -> SequentialBackbone:
    cls = backbone(name)
    sizes = {"d": 8, "n_layers": 1} if cls.learns else {}
    model = build(name, make_config(cls, n_items=log.catalog.n_items, max_len=max_len, **sizes), seed=0).eval()
    return model.requires_grad_(False) if cls.learns else model.fit(log, log.offsets[1:])


def _run(log: InteractionLog, model: SequentialBackbone) -> Run:
    config = {"train": {"protocol": "recbole"}, "data": {"name": log.name, "fingerprint": log.fingerprint}}
    return Run(folder=Path("nowhere"), name="shop/toy", model=model, catalog=log.catalog, config=config, metrics={})


def test_cases_are_held_out_events_with_their_true_cause(shop: Simulated) -> None:
    log, truth = shop.log, shop.truth
    assert planted_causes(truth) == ("sequel", "echo", "recall")
    cases = held_out_cases(log, truth, RULE, 20, 500, anew=False)
    assert sum(map(len, cases.values())) > 10
    for cause, of_cause in cases.items():
        for case in of_cause:
            user = log.user_index[case.user]
            items, times = log.sequence(user)
            event = int(log.offsets[user]) + case.position
            assert case.position >= len(items) - 2
            assert str(truth.names()[event]) == case.cause == cause
            assert case.target == items[case.position]
            window = slice(max(0, case.position - 20), case.position)
            np.testing.assert_array_equal(case.items, items[window])
            np.testing.assert_array_equal(case.times, times[window])
            assert case.items[case.cause_pos] == items[truth.cause_pos[event]]
            assert not case.fresh
    assert all(case.cause_pos == len(case.items) - 1 for case in cases["sequel"])
    assert all(case.cause_pos == len(case.items) - 4 for case in cases["echo"])
    assert all(case.cue_pos == len(case.items) - 1 for case in cases["recall"])


def test_users_drawn_anew_supply_what_the_log_lacks_and_no_more(shop: Simulated) -> None:
    cases = held_out_cases(shop.log, shop.truth, RULE, 20, 40)
    assert {cause: len(of_cause) for cause, of_cause in cases.items()} == {"sequel": 40, "echo": 40, "recall": 40}
    plain = held_out_cases(shop.log, shop.truth, RULE, 20, 40, anew=False)
    for cause, of_cause in cases.items():
        assert [case.fresh for case in of_cause] == [False] * len(plain[cause]) + [True] * (40 - len(plain[cause]))
    fresh = [case for case in cases["sequel"] if case.fresh]
    known = shop.log.catalog.index
    redeem = simulate(replace(shop.truth.config, n_users=100, seed=1))
    for case in fresh[:5]:
        own = redeem.log.sequence(redeem.log.user_index[case.user.removeprefix("new ")])[0]
        ids = redeem.log.catalog.ids[own]
        assert known[str(ids[case.position])] == case.target


def test_the_same_seed_draws_the_same_cases(shop: Simulated) -> None:
    one, other, third = (held_out_cases(shop.log, shop.truth, RULE, 20, 8, seed=seed) for seed in (3, 3, 4))
    places = [[(case.user, case.position) for case in cases["echo"]] for cases in (one, other, third)]
    assert places[0] == places[1] != places[2]


def test_the_truth_of_another_log_is_refused(shop: Simulated) -> None:
    other = simulate(SimulatorConfig(n_users=5, causes=("taste", "echo"), shares={"echo": 0.2}))
    with pytest.raises(DataError, match="the truth describes"):
        held_out_cases(shop.log, other.truth, RULE, 20, 5)


def test_a_cause_before_the_window_is_no_case(shop: Simulated) -> None:
    near = held_out_cases(shop.log, shop.truth, RULE, 3, 500, anew=False)
    assert near["echo"] == []
    assert near["sequel"]


def _case(cause_pos: int, cue_pos: int = -1) -> Case:
    return Case(
        cause="recall", items=np.array([1, 2, 3, 4]), times=np.arange(4), target=5, cause_pos=cause_pos,
        cue_pos=cue_pos, user="u1", position=4,
    )  # fmt: skip


def test_hits_are_counted_strictly_with_the_cue_and_beside_it(shop: Simulated) -> None:
    model = _model(shop.log)

    def points(question: Question) -> Attribution:
        values = np.array([0.0, 2.0, -1.0, 3.0])
        return question.answer(
            values=values, method="removal", exactness="intervention", logit=4.0, remainder=0.0, error=0.0
        )

    cases = {"recall": [_case(3), _case(1, 3), _case(1), _case(0, 3), _case(2)]}
    row = {one.method: one for one in pointing_game(cases, model, {"points": points})}
    found = row["points"]
    assert found.hit.tolist() == [True, False, False, False, False]
    assert found.hit_either.tolist() == [True, True, False, True, False]
    assert found.hit_beside_cue.tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(found.mass, [0.6, 0.4, 0.4, 0, 0])
    assert len(found.milliseconds) == 5
    assert row["last event"].hit.tolist() == [True, False, False, False, False]
    assert row["chance"].hit.tolist() == [0.25] * 5
    assert row["chance"].hit_beside_cue.tolist() == pytest.approx([0.25, 1 / 3, 0.25, 1 / 3, 0.25])


def test_a_method_that_takes_many_questions_is_timed_on_all_of_them_at_once(shop: Simulated) -> None:
    model, asked = _model(shop.log), []

    def points(question: Question) -> Attribution:
        return question.answer(
            values=np.ones(4), method="removal", exactness="intervention", logit=4.0, remainder=0.0, error=0.0
        )

    def many(questions: Sequence[Question]) -> list[Attribution]:
        asked.append(len(questions))
        return [points(one) for one in questions]

    found = pointing_game({"recall": [_case(3), _case(1)]}, model, {"points": points}, together={"points": many})[0]
    assert asked == [2]
    assert found.together is not None
    row = found.row()
    assert row["ms together"] == found.together
    assert row["hits per ms"] == pytest.approx(row["hit@1"] / min(row["ms"], row["ms together"]))


def test_a_markov_chain_points_at_every_sequel_and_at_no_echo(shop: Simulated) -> None:
    model = _model(shop.log)
    cases = held_out_cases(shop.log, shop.truth, RULE, 20, 25)
    rows = pointing_game(cases, model, {"counts": partial(attribute, method="counts")})
    hits = {(one.cause, one.method): one.row()["hit@1"] for one in rows}
    assert hits["sequel", "counts"] == 1
    assert hits["echo", "counts"] == 0
    assert hits["recall", "counts"] == 0
    assert hits["sequel", "last event"] == 1


def test_a_contrast_is_the_best_scored_other_item(shop: Simulated) -> None:
    model, case = _model(shop.log), _case(3)
    question, _ = question_of(case, model, "runner-up")
    scores = question.scores()[0]
    scores[[0, 5]] = -np.inf
    assert question.contrast == int(scores.argmax())
    assert question_of(case, model)[0].contrast is None
    with pytest.raises(ExplainError, match="none or runner-up"):
        question_of(case, model, "other")  # type: ignore[arg-type]


def test_a_scoreboard_has_a_row_for_each_cause_and_method_and_can_be_json(shop: Simulated) -> None:
    model = _model(shop.log, "recblr")
    told: list[tuple[str, int, int]] = []
    board = scoreboard(
        _run(shop.log, model), shop.log, shop.truth, events=2, users=2, methods=("held_gates", "removal"), draws=3,
        progress=lambda *done: told.append(done),
    )  # fmt: skip
    assert [(one.cause, one.method) for one in board.pointing] == [
        (cause, method)
        for cause in ("sequel", "echo", "recall")
        for method in ("held_gates", "removal", "last event", "chance")
    ]
    assert [row["method"] for row in board.faithfulness] == ["held_gates", "removal"]
    assert [(row["method"], row["other"]) for row in board.agreement] == [("held_gates", "removal")]
    assert {"infidelity", "sensitivity", "normalised AOPC", "completeness error"} <= set(board.faithfulness[0])
    assert board.faithfulness[0]["completeness error"] < 1e-4
    assert ("true causes", 12, 12) in told
    assert told[-1] == ("faithfulness", 2, 2)
    text = json.loads(json.dumps(board.as_dict(), allow_nan=False))
    assert {"device", "versions", "commit", "date", "seed", "fingerprint"} <= set(text)


def test_a_scoreboard_of_a_real_log_has_no_causes(shop: Simulated) -> None:
    model = _model(shop.log)
    board = scoreboard(_run(shop.log, model), shop.log, None, users=2, draws=2)
    assert board.pointing == ()
    assert [row["method"] for row in board.faithfulness] == [one.name for one in methods_of(model)]
    assert all(row["infidelity"] is None for row in board.faithfulness)


def test_there_must_be_something_to_measure(shop: Simulated) -> None:
    run = _run(shop.log, _model(shop.log))
    with pytest.raises(DataError, match="nothing to measure"):
        scoreboard(run, shop.log, None, users=0)
    with pytest.raises(ExplainError, match="none below 0"):
        scoreboard(run, shop.log, shop.truth, events=-1)
    with pytest.raises(ExplainError, match="held_gates cannot explain markov"):
        scoreboard(run, shop.log, shop.truth, methods=("held_gates",))
    with pytest.raises(ConfigError, match="no protocol 'x'"):
        scoreboard(run, shop.log, shop.truth, protocol="x")
