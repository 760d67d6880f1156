"""Quality and the two costs in one figure: what is drawn is what the entries hold."""

from __future__ import annotations

import dataclasses

import pytest

from recblr.figures import golden_triangle
from recblr.leaderboard.entries import Entry

PLAIN = Entry(
    log="ml-1m", protocol="lrurec", fingerprint="0123456789ab", backbone="recblr", preset="fixed", title="RecBLR",
    default=True, seeds=1, hr10=0.35, ndcg10=0.21, spread=0.0, low=0.202, high=0.218, parameters=402_240, causal=True,
    objective="all", epoch_seconds=60.0, trained_on="a small machine", training_beside=False, whole_ms=4.0, step_ms=1.0,
    length=200, asked_on="a small machine, 1 thread", asking_beside=False, state_bytes=4104, state_kind="state",
    date="2026-01-02T03:04:05+00:00",
)  # fmt: skip
FAST = dataclasses.replace(PLAIN, backbone="gru4rec", title="GRU4Rec", ndcg10=0.19, epoch_seconds=20.0, step_ms=0.25)
STILL = dataclasses.replace(PLAIN, backbone="ssd4rec", title="SSD4Rec", preset="reference", default=False,
                            ndcg10=0.2, epoch_seconds=400.0, step_ms=None, state_kind="history")  # fmt: skip
COUNTS = dataclasses.replace(PLAIN, backbone="markov", title="Markov", epoch_seconds=None, trained_on="", ndcg10=0.1)


def test_the_answer_names_the_best_the_cheapest_and_the_quickest() -> None:
    answer = golden_triangle([PLAIN, FAST, STILL]).answer
    assert answer.startswith(
        "RecBLR finds most (NDCG@10 0.2100), GRU4Rec trains fastest (20 s an epoch), GRU4Rec answers fastest (0.25 ms)"
    )
    assert "beside other work" not in answer


def test_every_trained_entry_stands_at_its_seconds_and_its_quality() -> None:
    figure = golden_triangle([PLAIN, FAST, STILL, COUNTS]).figure
    assert figure is not None
    points = {text: (x, y) for trace in figure.data for text, x, y in zip(trace.text, trace.x, trace.y, strict=True)}
    assert points == {"RecBLR": (60.0, 0.21), "GRU4Rec": (20.0, 0.19), "SSD4Rec reference": (400.0, 0.2)}
    assert figure.layout.xaxis.type == "log"


def test_ways_to_answer_differ_in_colour_and_in_shape() -> None:
    figure = golden_triangle([PLAIN, FAST, STILL]).figure
    assert figure is not None
    ways = {trace.name: (trace.marker.color, trace.marker.symbol, list(trace.text)) for trace in figure.data}
    assert ways["the whole history read anew"][2] == ["SSD4Rec reference"]
    assert sorted(ways["one event more, from a kept state"][2]) == ["GRU4Rec", "RecBLR"]
    colors, symbols, _ = zip(*ways.values(), strict=True)
    assert len(set(colors)) == len(set(symbols)) == 2


def test_a_marker_has_the_area_of_its_milliseconds_and_the_largest_is_drawn_first() -> None:
    slow = dataclasses.replace(STILL, whole_ms=4.0)
    half = dataclasses.replace(STILL, backbone="a", title="A", whole_ms=2.0)
    figure = golden_triangle([half, slow]).figure
    assert figure is not None
    large, small = figure.data[0].marker.size
    assert (large / small) ** 2 == pytest.approx(2)
    assert figure.data[0].text[0] == "SSD4Rec reference"
    assert "4 ms the largest" in figure.layout.xaxis.title.text


def test_times_that_do_not_compare_are_said() -> None:
    busy = dataclasses.replace(FAST, training_beside=True)
    elsewhere = dataclasses.replace(FAST, trained_on="a large machine")
    assert "recorded beside other work and are indicative" in golden_triangle([PLAIN, busy]).answer
    assert "seconds compare only within one" in golden_triangle([PLAIN, elsewhere]).answer


def test_what_counts_is_in_the_table_and_not_in_the_figure() -> None:
    view = golden_triangle([PLAIN, FAST, COUNTS])
    assert view.answer.endswith("Without epochs, and so not drawn: Markov.")
    assert list(view.table["backbone"]) == ["RecBLR", "GRU4Rec", "Markov"]
    assert view.table["date"][0] == "2026-01-02"


def test_labels_of_neighbours_stand_at_different_places() -> None:
    near = dataclasses.replace(PLAIN, backbone="b", title="Neighbour", ndcg10=0.2105, epoch_seconds=62.0)
    figure = golden_triangle([PLAIN, near, STILL, FAST]).figure
    assert figure is not None
    places = {text: place for trace in figure.data for text, place in zip(trace.text, trace.textposition, strict=True)}
    assert places["RecBLR"] != places["Neighbour"]


@pytest.mark.parametrize("entries", [[], [PLAIN], [COUNTS, PLAIN]])
def test_one_trained_backbone_is_no_comparison(entries: list[Entry]) -> None:
    view = golden_triangle(entries)
    assert view.figure is None
    assert "Fewer than two" in view.answer
