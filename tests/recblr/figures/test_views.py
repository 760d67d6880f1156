"""Every figure of every backbone: what it says, and that its numbers are the trace's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, Batch, make_config
from recblr.data.log import Catalog
from recblr.figures import channel_parts, describe, heat, horizon_sentence, lives, memory, norms
from recblr.figures.events import Events
from recblr.figures.matrix import offered
from recblr.figures.trajectory import project, trajectory
from recblr.figures.view import number, percent, time_span
from recblr.trace import Trace

ITEMS = 30
CATALOG = Catalog(
    ids=np.array([""] + [f"i{n}" for n in range(1, ITEMS + 1)]),
    titles=np.array([""] + [f"Title {n}" for n in range(1, ITEMS + 1)]),
)


def made(name: str, steps: int, *, first: int = 1, timed: bool = True) -> tuple[Trace, Events]:
    torch.manual_seed(0)
    cls = REGISTRY[name]
    model = cls(make_config(cls, n_items=ITEMS, max_len=50, d=8)).eval()
    items = torch.randint(1, ITEMS + 1, (1, steps))
    times = 1_700_000_000 + torch.randint(1, 200_000, (1, steps)).cumsum(1)
    trace = model.trace(Batch(items=items, times=times))
    return trace, describe(trace.items[0], trace.times[0], CATALOG, has_times=timed, first=first)


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("steps", [1, 2, 17])
def test_every_figure_of_every_backbone_has_a_question_an_answer_and_numbers(name: str, steps: int) -> None:
    trace, events = made(name, steps)
    step = steps // 2
    for layer, record in enumerate(trace.layers):
        views = [
            memory(trace, layer, step, events),
            norms(trace, layer, step, events),
            lives(trace, layer, events, channel=0),
            channel_parts(trace, layer, 0, step, events),
            trajectory(trace, layer, step, events),
            *(heat(trace, layer, quantity, events) for quantity in offered(record)),
        ]
        for view in views:
            assert view.question.endswith("?")
            assert view.answer.endswith(".")
            assert "nan" not in view.answer
            assert (view.figure is None) == (len(view.table) == 0)
            if view.figure is not None:
                view.figure.to_json()


def test_shares_add_up_and_the_horizon_is_the_smallest_that_holds_nine_tenths() -> None:
    trace, events = made("recblr", 17)
    view = memory(trace, 0, 11, events)
    shares, inside = view.table["share"].to_numpy(), view.table["inside the horizon"].to_numpy()
    assert len(shares) == 12
    assert shares.sum() == pytest.approx(1.0)
    assert shares[inside].sum() >= 0.9 - 1e-9
    assert shares[inside][:-1].sum() < 0.9
    assert f"{inside.sum()} events" in view.answer


def test_the_horizon_is_told_in_days_where_there_are_times_and_not_where_there_are_none() -> None:
    trace, events = made("recblr", 17)
    assert "day" in horizon_sentence(trace, 0, 12, events)
    untimed = Trace(**{**{name: getattr(trace, name) for name in trace.__dataclass_fields__}, "has_times": False})
    _, plain = made("recblr", 17, timed=False)
    assert "back to “Title" in horizon_sentence(untimed, 0, 12, plain)
    assert "day" not in horizon_sentence(untimed, 0, 12, plain)


def test_steps_are_named_by_their_number_in_the_whole_history() -> None:
    trace, events = made("recblr", 17, first=101)
    assert "After event 111," in memory(trace, 0, 10, events).answer
    assert events.numbers[0] == 101
    assert events.index(111) == 10
    assert events.index(9999) == 16
    assert events.title(101) == events.titles[0]


def test_the_path_keeps_the_distances_that_two_directions_can_keep() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 40))  # a path that lies in a plane
    path, share = project(flat)
    assert share.sum() == pytest.approx(1.0)
    between = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(path[:, None] - path[None], axis=-1), between, atol=1e-8)


def test_pauses_and_sessions_are_read_from_the_times() -> None:
    times = np.array([0, 0, 90, 90 + 86400 * 3])
    events = describe(np.array([1, 2, 3, 4]), times, CATALOG)
    assert events.pause_texts == ("", "at the same second", "1.5 minutes later", "3 days later")
    assert events.session_starts.tolist() == [False, False, False, True]
    assert events.when[0] == "Thu 1 Jan 1970, 00:00"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.4, "1,234"), (12.34, "12.3"), (9.516, "9.52"), (9.996, "10"),
     (0.001234, "0.00123"), (-2.5, "-2.5"), (100.0, "100"),
     (999.7, "1,000"), (1e-9, "1.00e-09"), (math.inf, "forever"), (3.0, "3")],
)  # fmt: skip
def test_numbers_are_said_with_three_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (5400, "1.5 hours"), (86400, "1 day"),
     (86400 * 400, "400 days"), (31557600 * 3, "3 years")],
)  # fmt: skip
def test_a_length_of_time_is_said_in_the_unit_a_reader_would_choose(seconds: float, text: str) -> None:
    assert time_span(seconds) == text


def test_small_shares_keep_a_digit() -> None:
    assert [percent(share) for share in (0, 0.034, 0.34, 1)] == ["0 %", "3.4 %", "34 %", "100 %"]
