"""Figures of explanations: what they show adds up, and says what kind of statement it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recblr.backbones import backbone, make_config
from recblr.data.log import Catalog
from recblr.errors import ExplainError
from recblr.explain import Attribution, ask, explain
from recblr.explain.faithfulness.agreement import agreement
from recblr.explain.faithfulness.curves import Curve, curve
from recblr.explain.outcomes import Outcomes
from recblr.figures import (
    deletion_curve,
    explained_events,
    method_agreement,
    movement,
    profile,
    removals,
    scoreboard,
    waterfall,
)
from recblr.figures.waterfall import label

CATALOG = Catalog(
    ids=np.array([""] + [f"i{n}" for n in range(1, 31)]), titles=np.array([""] + [f"Title {n}" for n in range(1, 31)])
)


def made(values: list[float], *, remainder: float = 0.5, contrast: int | None = 7, **fields: object) -> Attribution:
    given = {"method": "held_gates", "exactness": "exact with gates held", "error": 1e-6, **fields}
    return Attribution(
        values=np.array(values),
        items=1 + np.arange(len(values)) % 30,
        target=5,
        contrast=contrast,
        logit=sum(values) + remainder,
        remainder=remainder,
        **given,
    )


def ends(bars: dict) -> tuple[np.ndarray, np.ndarray]:
    starts = np.asarray(bars["base"], dtype=float)
    return starts, starts + np.asarray(bars["x"], dtype=float)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 40])
def test_every_bar_starts_where_the_one_before_ended_and_the_last_is_the_sum(count: int) -> None:
    attribution = made(np.random.default_rng(0).normal(size=count).tolist())
    view = waterfall(attribution, explained_events(attribution, CATALOG), CATALOG)
    starts, stops = ends(view.figure.data[0])
    np.testing.assert_allclose(starts[1:-1], stops[:-2])
    assert starts[0] == starts[-1] == 0
    assert stops[-1] == pytest.approx(attribution.logit)
    assert stops[-2] == pytest.approx(stops[-1])
    assert len(starts) == min(count, 8) + (count > 8) + 2


def test_the_largest_parts_have_bars_of_their_own_those_for_the_item_first() -> None:
    attribution = made([0.1, -2.0, 3.0, 0.2, 1.0])
    view = waterfall(attribution, explained_events(attribution, CATALOG, first=11), CATALOG, most=3)
    assert [name.partition(" ")[0] for name in view.figure.data[0]["y"][:4]] == ["13", "15", "12", "2"]
    assert "Most speaks for it event 13 (“Title 3”), +3." in view.answer
    assert "Most speaks against it event 12 (“Title 2”), −2." in view.answer


def test_the_question_names_both_items_or_the_score() -> None:
    against, alone = made([1.0]), made([1.0], contrast=None)
    events = explained_events(against, CATALOG)
    assert waterfall(against, events, CATALOG).question == "Why “Title 5” and not “Title 7”?"
    assert waterfall(alone, events, CATALOG).question == "Why does “Title 5” get its score?"
    assert "trails “Title 7” by 2 logits" in waterfall(made([-2.5]), events, CATALOG).answer


def test_a_chosen_event_has_a_marked_bar_of_its_own_however_small_and_the_sum_stays() -> None:
    attribution = made([0.01, *np.linspace(1, 3, 20)])
    events = explained_events(attribution, CATALOG, first=4)
    plain = waterfall(attribution, events, CATALOG).figure
    marked = waterfall(attribution, events, CATALOG, chosen=4).figure
    numbers = [number for _, number in marked.data[0]["customdata"]]
    assert 4 not in [number for _, number in plain.data[0]["customdata"]]
    assert numbers.count(4) == 1
    assert numbers[-3:] == [0, 0, 0], "the other events, the remainder and the sum are no event"
    bands = [one for one in marked.layout.shapes if one.type == "rect"]
    assert [(one.y0 + one.y1) / 2 for one in bands] == [numbers.index(4)]
    assert ends(marked.data[0])[1][-1] == pytest.approx(ends(plain.data[0])[1][-1])
    assert marked.data[0]["unselected"]["marker"]["opacity"] == 1


def test_the_convergence_delta_is_always_said_in_logits_and_as_a_part_of_what_is_explained() -> None:
    near = made([2.0, 2.0], exactness="estimate", error=0.1, details={"convergence_delta": 0.1})
    far = made([2.0, 2.0], exactness="estimate", error=1.0, details={"convergence_delta": 1.0})
    assert label(near) == "Convergence delta: 0.1 logits, 2.5 % of the 4 that the events are to explain."
    tiny = made([2.0, 2.0], exactness="estimate", error=1e-5, details={"convergence_delta": 1e-5})
    assert "under 0.1 % of the 4" in label(tiny)
    assert "25 % of the 4 that the events are to explain; above 20 % no shares are shown." in label(far)


def test_the_label_never_says_exact_without_an_error() -> None:
    assert "error of 1.0e-06 logits" in label(made([1.0]))
    assert "exact" not in label(made([1.0], exactness="estimate", error=0.01))
    assert "need not add up" in label(made([1.0], exactness="intervention", error=0.0))


def test_no_share_and_no_colour_of_support_is_shown_where_an_estimate_is_too_far_off() -> None:
    sound = made([1.0, 2.0], exactness="estimate", error=0.01)
    broken = made([1.0, 2.0], exactness="estimate", error=2.0)
    events = explained_events(sound, CATALOG)
    assert "share" in waterfall(sound, events, CATALOG).table
    assert "share" not in waterfall(broken, events, CATALOG).table
    assert "no shares are shown" in label(broken)
    assert "no shares are shown" not in label(sound)
    assert set(profile(broken, events, CATALOG).figure.data[0]["marker"]["color"]) == {"#8a8f98"}


def test_the_profile_says_in_how_few_events_most_lies() -> None:
    attribution = made([9.0, 0.1, 0.1, 0.1, 0.1])
    view = profile(attribution, explained_events(attribution, CATALOG), CATALOG, chosen=2)
    assert view.answer.startswith("1 event of 5 holds 80 %")
    assert "event 1, 4 events before the last" in view.answer
    assert view.figure.layout.shapes[0]["x0"] == 2
    assert profile(made([0.0]), explained_events(made([0.0]), CATALOG), CATALOG).answer == "No event adds anything."


def found(ranks: list[float], tops: list[list[int]] | None = None) -> Outcomes:
    rows = len(ranks)
    top = np.array(tops if tops is not None else [[5, 7]] * rows)
    scores = np.linspace(2, 1, top.shape[1])
    return Outcomes(
        rank=np.array(ranks), score=10 - np.array(ranks), lead=5 - np.array(ranks), top=top,
        top_scores=np.tile(scores, (rows, 1)),
    )  # fmt: skip


def test_removals_name_the_event_that_holds_the_item_up_and_list_it_first() -> None:
    attribution = made([1.0, 2.0, 3.0])
    events = explained_events(attribution, CATALOG, first=4)
    view = removals(found([1, 9, 2]), found([1]), events, "Title 5")
    assert "Without event 5 (“Title 2”) it would fall to 9; 2 events of 3 hold it up." in view.answer
    assert view.table["event"].tolist() == [5, 6, 4]
    assert view.table["rank without it"].tolist() == [9, 2, 1]


@pytest.mark.parametrize(
    ("ranks", "says"), [([1, 1, 1], "No single event moves it"), ([3, 2, 3], "without event 2 it would rise to 2")]
)
def test_removals_say_so_where_nothing_holds_the_item_up(ranks: list[float], says: str) -> None:
    events = explained_events(made([1.0, 2.0, 3.0]), CATALOG)
    assert says in removals(found(ranks), found([ranks[0]]), events, "Title 5").answer


def test_a_history_of_one_has_no_picture_of_removals() -> None:
    view = removals(found([1, 1]), found([1]), explained_events(made([1.0]), CATALOG), "T")
    assert view.figure is None
    assert "one event" in view.answer


@pytest.fixture(scope="module")
def curves() -> tuple[Curve, Curve]:
    """Of a made-up explanation and its reverse, on a small model."""
    torch.manual_seed(0)
    cls = backbone("recblr")
    model = cls(make_config(cls, n_items=30, max_len=20, d=8)).eval()
    question = ask(model, list(range(1, 13)), target=20)
    order = explain(model, question.items, target=20, method="removal").order()
    return curve(question, order), curve(question, order[::-1], "insertion")


@pytest.mark.parametrize("measure", ["logit", "rank", "probability"])
def test_a_curve_draws_its_own_numbers_inside_a_band_of_random_orders(
    curves: tuple[Curve, Curve], measure: str
) -> None:
    for drawn in curves:
        view = deletion_curve(drawn, measure, name="Removal")
        low, mean, _ = drawn.band(measure)
        np.testing.assert_allclose(view.table["most important first"], drawn.most.read(measure))
        assert (view.table["random, lowest"] <= view.table["random, highest"]).all()
        lines = {one["name"]: list(one["y"]) for one in view.figure.data}
        before = [float(drawn.before.read(measure)[0])] if drawn.kind == "deletion" else []
        np.testing.assert_allclose(lines["random, mean"], [*before, *mean])
        assert f"outside of the random band at {drawn.beats(measure, edge=True).sum()} of {len(low)}" in view.answer
        assert view.question == "Does the order of Removal tell which events count?"


def test_an_unknown_measure_of_a_curve_is_refused(curves: tuple[Curve, Curve]) -> None:
    with pytest.raises(ExplainError, match="choose one of logit, rank, probability"):
        deletion_curve(curves[0], "log_prob")


def test_methods_agree_by_the_ranks_of_their_values() -> None:
    same, turned, flat = (
        made([1.0, 2.0, 3.0]),
        made([3.0, 2.0, 1.0], method="removal"),
        made([0.0] * 3, method="counts"),
    )
    view = method_agreement(agreement([same, turned]), {"held_gates": "Held gates", "removal": "Removal"})
    assert "rank correlation -1.00" in view.answer
    assert view.table["same first event"].tolist() == [False]
    assert [one["text"] for one in view.figure.layout.annotations] == ["-1.00"]
    assert "no order to compare" in method_agreement(agreement([same, flat]), {}).answer


def played(hits: dict[str, float | None]) -> list[dict[str, object]]:
    return [
        {"cause": cause, "method": method, "events": 10, "hit@1": hit}
        for cause in ("recall", "echo")
        for method, hit in hits.items()
    ]


def test_the_scoreboard_shows_each_method_and_cause_with_what_needs_no_method_below() -> None:
    view = scoreboard(played({"chance": 0.03, "held_gates": 0.95, "removal": 0.5}), {"held_gates": "Held gates"})
    cells, points = view.figure.data
    assert list(view.figure.layout.yaxis.ticktext) == ["Held gates", "removal", "chance"]
    assert list(view.figure.layout.xaxis.ticktext) == ["recall", "echo"]
    np.testing.assert_allclose(cells["z"], [[0.95] * 2, [0.5] * 2, [0.03] * 2])
    texts = {(one["x"], one["y"]): one["text"] for one in view.figure.layout.annotations}
    assert texts[0, 0] == "95 %"
    assert list(zip(points["x"], points["y"], points["text"], strict=True))[2] == (0, 1, "50 %")
    assert "Held gates does best, 95 % over all causes; removal does worst, 50 %" in view.answer
    assert "chance would reach 3.0 %" in view.answer


def test_a_cell_without_a_number_is_a_dash_and_no_rows_are_no_picture() -> None:
    view = scoreboard(played({"held_gates": None}), {})
    assert {one["text"] for one in view.figure.layout.annotations} == {"–"}
    assert view.answer == "No event with a known cause was explained."
    assert scoreboard([], {}).figure is None
    with pytest.raises(ExplainError, match="choose one of"):
        scoreboard(played({"held_gates": 1.0}), {}, "luck")


def test_an_estimates_error_has_a_bar_of_its_own() -> None:
    off = Attribution(values=np.array([1.0, 2.0]), items=np.array([1, 2]), target=5, method="integrated_gradients",
                      exactness="estimate", logit=3.5, remainder=0.3, error=0.25)  # fmt: skip
    bars = waterfall(off, explained_events(off, CATALOG), CATALOG).figure.data[0]
    assert list(bars["y"][-2:]) == ["error of the estimate", "score"]
    _, stops = ends(bars)
    assert stops[-2] == pytest.approx(stops[-1])


def test_movement_joins_equal_items_and_names_what_comes_in() -> None:
    view = movement(found([1], [[5, 7, 9]]), found([2], [[8, 5, 7]]), 5, CATALOG)
    lines = [tuple(one["y"]) for one in view.figure.data if one["mode"] == "lines"]
    assert lines == [(1, 2), (2, 3)]
    assert "“Title 5” falls from rank 1 to 2" in view.answer
    assert "1 item of 3 comes in, first “Title 8”" in view.answer
    assert view.table["item"].tolist() == ["i8", "i5", "i7", "i9"]
    assert view.table["rank after"].isna().tolist() == [False, False, False, True]


def test_movement_of_equal_lists_says_that_they_are_equal() -> None:
    view = movement(found([1]), found([1]), 5, CATALOG)
    assert "stays at rank 1" in view.answer
    assert "the same 2 items, in the same order" in view.answer
