"""The Why page: what it draws adds up, and what cannot be explained is refused in words."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import explain_choices
import numpy as np
import pytest
from cache import answers, records, sources
from streamlit.testing.v1 import AppTest
from tests_app import figures, shown, told
from trust_runs import Measured, Request, TrustRunner

import recblr
from recblr.data.log import InteractionLog
from recblr.explain import explain
from recblr.figures.waterfall import label

Open = Callable[..., AppTest]
RECALL = {"user": "u0012", "step": "28"}  # a reward whose true cause is the pass of event 1


def history(log: InteractionLog, user: str, step: int) -> tuple[list[str], list[int]]:
    items, times = log.sequence(log.user_index[user])
    return log.catalog.ids[items].tolist()[:step], times.tolist()[:step]


@pytest.fixture(scope="module")
def first_two(sample_log: InteractionLog) -> str:
    """The question that the page asks by default: the model's first choice and its second."""
    ids, times = history(sample_log, "u0012", 28)
    one, two = recblr.load("mixed/recblr").recommend(ids, k=2, times=times, mask_seen=False)
    return f"Why “{one.title}” and not “{two.title}”?"


def bars(at: AppTest) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(names, starts, lengths) of the waterfall."""
    drawn = next(one for one in figures(at) if "base" in one["data"][0])["data"][0]
    return drawn["y"], number(drawn["base"]), number(drawn["x"])


def number(values: object) -> np.ndarray:
    if isinstance(values, dict):  # as Plotly packs arrays
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return np.array(values, dtype=float)


@pytest.mark.parametrize("run", ["recblr", "lrurec", "sasrec", "gru4rec"])
def test_the_bars_and_the_remainder_reach_the_difference_of_the_logits(
    app: Open, sample_log: InteractionLog, run: str
) -> None:
    at = app("why", run=f"mixed/{run}", target="i001", contrast="i002", **RECALL)
    names, starts, lengths = bars(at)
    scores = recblr.load(f"mixed/{run}").scores(*history(sample_log, "u0012", 28))
    index = sample_log.catalog.index
    difference = float(scores[index["i001"]]) - float(scores[index["i002"]])
    assert names[-1] == "lead"
    assert lengths[-1] == pytest.approx(difference, abs=1e-4)
    assert lengths[:-1].sum() == pytest.approx(difference, abs=1e-3)
    np.testing.assert_allclose(starts[1:-1], np.cumsum(lengths[:-2]), atol=1e-5)
    assert "exact with gates held" in shown(at)
    assert "with an error of" in shown(at)


def test_by_default_the_first_recommendation_is_compared_with_the_second(app: Open, first_two: str) -> None:
    assert first_two in shown(app("why", **RECALL))
    alone = app("why", contrast="nothing", **RECALL)
    assert "Why does “Opal reward: key ring” get its score?" in shown(alone)
    assert bars(alone)[0][-1] == "score"


def test_the_true_cause_is_named_and_placed_where_it_is_known(app: Open) -> None:
    text = shown(app("why", **RECALL))
    assert "True cause: event 1 (“Opal pass”, by recall), ranked 1st of 28 by Held gates." in text
    assert "True cause" not in shown(app("why", target="i001", **RECALL))


def test_a_true_cause_that_the_method_does_not_put_first_is_told_with_its_place(
    app: Open, sample_log: InteractionLog
) -> None:
    at = app("why", run="mixed/lrurec", target="i247", contrast="nothing", method="Gradient × input", **RECALL)
    found = explain(
        recblr.load("mixed/lrurec"), *history(sample_log, "u0012", 28), target="i247", method="gradient_input",
        mask_seen=False,
    )  # fmt: skip
    place = found.order().tolist().index(0) + 1
    assert re.search(rf"ranked {place}(st|nd|rd|th) of 28 by Gradient × input", shown(at))
    assert (":material/check_circle:" in shown(at)) == (place == 1)


def test_an_event_that_no_other_decided_is_told_to_have_no_true_cause(app: Open, sample_log: InteractionLog) -> None:
    subject = sources.user(sources.run_log(sources.runs()["mixed/recblr"]), "u0012")
    step = next(n for n in range(5, len(subject)) if subject.cause_from[n] == 0)
    text = shown(app("why", user="u0012", step=str(step), target=subject.ids[step]))
    assert f"by {subject.causes[step]}, which no single earlier event decides" in text
    assert "True cause" not in text


def test_a_history_without_truth_is_told_nothing_of_it(app: Open) -> None:
    text = shown(app("why", history="i001,i002,i003"))
    assert "True cause" not in text
    assert "simulated" not in text


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_log: InteractionLog) -> dict[str, Any]:
    """A recorded scoreboard of a run; change it before the page is opened."""
    rows = [
        {"cause": "recall", "method": "held_gates", "events": 500, "hit@1": 0.971},
        {"cause": "recall", "method": "chance", "events": 500, "hit@1": 0.04},
        {"cause": "echo", "method": "removal", "events": 500, "hit@1": 0.5},
    ]
    board = {"pointing": rows, "device": "a machine", "date": "2025-01-02T03:04:05", "contrast": "none",
             "fingerprint": sample_log.fingerprint}  # fmt: skip
    monkeypatch.setattr(records, "trust_records", lambda: {"mixed/recblr": board})
    return board


def test_the_recorded_hits_of_the_method_on_this_cause_stand_beside_and_are_marked(
    app: Open, record: dict[str, Any]
) -> None:
    text = shown(app("why", **RECALL))
    assert (
        "Recorded on a machine, 2025-01-02, not measured now: of 500 unseen events by recall, Held gates puts the true "
        "cause first for 97 %, chance for 4.0 % (explained is each item's own score)."
    ) in text
    assert "Recorded" not in shown(app("why", method="Removal", **RECALL)), "it was not recorded for this cause"
    assert "Recorded" not in shown(app("why", run="mixed/lrurec", **RECALL)), "it was not recorded for this run"
    record["fingerprint"] = "another log"
    assert "Recorded" not in shown(app("why", **RECALL))


def test_the_hits_that_were_measured_on_this_server_are_told_too(app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = TrustRunner()
    request = Request(run="mixed/recblr", state=sources.run_state("mixed/recblr"), methods=("held_gates",), events=5,
                      contrast="runner-up")  # fmt: skip
    done = Measured(request=request, owner="me", finished=1.0)
    done.rows = [{"cause": "recall", "method": "held_gates", "events": 5, "hit@1": 0.8}]
    runner._done[request] = done
    monkeypatch.setattr(records, "trust_runs", lambda: runner)
    assert (
        "Measured on this server, on the Trust page: of 5 unseen events by recall, Held gates puts the true cause "
        "first for 80 % (explained is each item's lead over the best other)."
    ) in shown(app("why", **RECALL))


def test_turning_the_comparison_round_turns_the_signs(app: Open) -> None:
    one = bars(app("why", target="i001", contrast="i002", all="true", **RECALL))
    other = bars(app("why", target="i002", contrast="i001", all="true", **RECALL))
    lengths = dict(zip(one[0], one[2], strict=True))
    turned = dict(zip(other[0], other[2], strict=True))
    assert len(lengths) == 30
    for name, value in lengths.items():
        assert turned[name] == pytest.approx(-value, abs=1e-4)


def test_another_method_keeps_the_question(app: Open, first_two: str) -> None:
    at = app("why", **RECALL)
    at.session_state["method"] = "Removal"
    at.run()
    assert not at.exception
    assert first_two in shown(at)
    assert ":violet-badge[intervention]" in shown(at)
    assert "exact" not in shown(at)


@pytest.mark.parametrize(
    ("run", "says"), [("mixed/markov", "reads the last event alone"), ("mixed/popularity", "reads no history")]
)
def test_a_counting_baseline_is_explained_by_its_counts(app: Open, run: str, says: str) -> None:
    at = app("why", run=run, **RECALL)
    assert not at.exception
    assert says in shown(at)
    assert ":green-badge[exact]" in "".join(one.value for one in at.markdown)


def test_a_method_that_a_backbone_cannot_have_is_refused_with_its_reason(app: Open) -> None:
    at = app("why", method="Counts", **RECALL)
    assert "Counts cannot explain this: RecBLR learns its weights and looks up no counts" in told(at)
    assert "exact with gates held" in shown(at)
    at = app("why", run="mixed/markov", method="Held gates", **RECALL)
    assert "it has neither gates nor gradients" in told(at)


def test_the_list_of_removals_is_what_the_model_says_without_each_event(app: Open, sample_log: InteractionLog) -> None:
    at = app("why", **RECALL)
    listed = at.dataframe[0].value
    model = recblr.load("mixed/recblr")
    ids, times = history(sample_log, "u0012", 28)
    target = model.recommend(ids, k=1, times=times, mask_seen=False).rows[0].item
    row = sample_log.catalog.index[target]
    for event, rank, score in listed[["event", "rank without it", "score without it"]].to_numpy()[:3]:
        gone = int(event) - 1
        scores = model.scores(ids[:gone] + ids[gone + 1 :], times[:gone] + times[gone + 1 :])
        assert score == pytest.approx(float(scores[row]), abs=1e-3)
        assert rank == 1 + (scores[1:] > scores[row]).sum()
    assert listed["rank without it"].is_monotonic_decreasing


def test_the_event_looked_at_is_told_with_what_it_is_adds_and_is_worth(app: Open, sample_log: InteractionLog) -> None:
    at = app("why", event="1", **RECALL)
    text = shown(at)
    assert "Event 1, “Opal pass” (i238), Mon 15 Apr 2024, 14:01 UTC, 27 events and 44 days before the last." in text
    assert re.search(r"Held gates: \+[\d.]+ logits, \d+ % of all that is added, for or against; 1st of 28", text)
    ids, times = history(sample_log, "u0012", 28)
    model = recblr.load("mixed/recblr")
    target = sample_log.catalog.index[model.recommend(ids, k=1, times=times, mask_seen=False).rows[0].item]
    scores = model.scores(ids[1:], times[1:])
    rank = 1 + int((scores[1:] > scores[target]).sum())
    assert rank > 10  # as the example on the Start page claims
    assert f"by running the model again: rank 1 → {rank}, score " in text
    addresses = [one.proto.query_string for one in at.get("page_link")]
    assert any("edits=0%3Aremove%3A1" in one and "user=u0012" in one for one in addresses)
    marked = next(one for one in figures(at) if "base" in one["data"][0])
    assert [one["type"] for one in marked["layout"]["shapes"]].count("rect") == 1


def test_the_event_is_chosen_in_a_list_that_a_keyboard_reaches(app: Open) -> None:
    at = app("why", **RECALL)
    assert "Choose an event here" in shown(at)
    box = at.selectbox(key="event_box")
    assert box.options[0].startswith("1 · Opal pass · +")
    assert len(box.options) == 28
    box.set_value(28).run()
    assert not at.exception
    assert "Event 28, “Redeem a pass”" in shown(at)
    assert at.query_params["event"] == "28"
    at.selectbox(key="event_box").set_value(None).run()
    assert "Choose an event here" in shown(at)
    assert "event" not in at.query_params


def test_the_only_event_is_told_and_not_offered_for_removal(app: Open) -> None:
    at = app("why", history="i001", event="1")
    assert "It is the only event: without it the model says nothing" in shown(at)
    assert not any("edits" in one.proto.query_string for one in at.get("page_link"))


def test_a_bar_of_an_event_is_looked_at_and_a_bar_of_none_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, str] = {}
    monkeypatch.setattr(explain_choices.choices, "keep", kept.__setitem__)
    for data, after in (
        (["no event", 0], {}),
        (["event 4: x", 4], {"event": "4"}),
    ):
        point = {"x": 1.5, "y": "a name", "customdata": data}
        monkeypatch.setattr(explain_choices, "selected", lambda chart, point=point: point)
        explain_choices.event_from_bar("waterfall")
        assert kept == after


BASELINES = {"mean item": "mean", "popular items": "popularity", "random histories": "random"}


@pytest.mark.parametrize("baseline", BASELINES)
def test_integrated_gradients_takes_the_baseline_and_the_steps_that_are_asked_for(
    app: Open, sample_log: InteractionLog, baseline: str
) -> None:
    lines = {"lines": "3"} if baseline == "random histories" else {}
    at = app("why", method="Integrated gradients", baseline=baseline, steps="12", **lines, **RECALL)
    assert not at.exception
    counts = np.bincount(sample_log.items, minlength=len(sample_log.catalog))
    more = {"popularity": {"counts": counts}, "random": {"draws": 3}}.get(BASELINES[baseline], {})
    model, asked = recblr.load("mixed/recblr"), history(sample_log, "u0012", 28)
    one, two = (row.item for row in model.recommend(asked[0], k=2, times=asked[1], mask_seen=False).rows)
    found = explain(model, *asked, target=one, contrast=two, method="integrated_gradients", mask_seen=False,
                    baseline=BASELINES[baseline], steps=12, **more)  # fmt: skip
    assert label(found) in shown(at)
    assert "Convergence delta: " in shown(at)
    assert ("no shares are shown" in shown(at)) == bool(told(at)) == (not found.reliable)
    assert bars(at)[2][-1] == pytest.approx(found.logit, abs=1e-4)
    at.session_state["waterfall_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    np.testing.assert_allclose(names["attribution"].values, found.values, atol=1e-6)


def test_an_estimate_that_misses_more_than_a_fifth_shows_no_shares(app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    real = answers.explained

    def far(*args: Any, **kwargs: Any) -> Any:
        return replace(real(*args, **kwargs), error=1e3)

    monkeypatch.setattr(answers, "explained", far)
    at = app("why", method="Integrated gradients", event="1", **RECALL)
    assert not at.exception
    assert "take more steps or draws, another baseline, or another method above" in told(at)
    assert "above 20 % no shares are shown" in shown(at)
    assert "of all that is added" not in shown(at)
    assert "misses too much" in shown(at)


@pytest.mark.parametrize(("key", "value"), [("steps", "1"), ("steps", "100000"), ("steps", "²"), ("baseline", "zeros")])
def test_options_out_of_range_are_told_and_the_methods_own_are_taken(app: Open, key: str, value: str) -> None:
    at = app("why", method="Integrated gradients", **{key: value}, **RECALL)
    assert not at.exception
    assert f"“{value}” is no " in told(at)
    assert "Convergence delta" in shown(at)


def test_a_log_that_is_not_here_knows_no_popular_items(app: Open) -> None:
    at = app("why", run="elsewhere/recblr", history="a,b,c", method="Integrated gradients", baseline="popular items")
    assert not at.exception
    assert "“popular items” is no choice" in told(at)


@pytest.mark.parametrize("method", ["GradientShap", "Shapley values"])
def test_a_mean_over_draws_takes_as_many_as_are_asked_for(app: Open, method: str) -> None:
    key = {"GradientShap": "samples", "Shapley values": "orders"}[method]
    at = app("why", method=method, event="1", **{key: "3"}, **RECALL)
    assert not at.exception
    assert "is no number" not in told(at)
    assert "(standard error)" in shown(at)


def test_an_unknown_item_in_the_address_is_told_and_replaced_by_the_default(app: Open) -> None:
    at = app("why", target="no such item", contrast="nor this", **RECALL)
    assert not at.exception
    assert not at.error
    assert "“no such item” is not in the catalogue of this run" in told(at)
    assert "“nor this” is not in the catalogue of this run" in told(at)
    assert "Why “Opal reward: key ring” and not" in shown(at)


def test_an_item_compared_with_itself_is_told_and_compared_with_the_best_other(app: Open) -> None:
    at = app("why", target="i001", contrast="i001", **RECALL)
    assert not at.exception
    assert "“Tripod” is compared with itself" in told(at)
    assert shown(at).count("Why “Tripod” and not “") == 1
    assert "Why “Tripod” and not “Tripod”" not in shown(at)


WRONG = {
    "a user": ({"user": "nobody"}, "There is no user “nobody” in the log “mixed”; this is user u0012."),
    "a step": ({"step": "999"}, "There is no event “999”: the history has the events 1 to 30."),
    "a step that is no number": ({"step": "²"}, "There is no event “²”"),
    "a step of many digits": ({"step": "9" * 5000}, "9…”: the history has the events 1 to 30."),
    "an event": ({"event": "29"}, "There is no event “29” here: the model reads the events 1 to 28."),
    "an event that is no number": ({"event": "²"}, "There is no event “²”"),
    "a method": ({"method": "magic"}, "“magic” is no choice of “Method” here: there is Held gates, Removal"),
    "a tab": ({"evidence": "magic"}, "“magic” is no choice of “Tabs” here: there is Over time"),
    "the name of a parameter": ({"item": "i001"}, "No page reads “item” from the address: write target=i001."),
    "a pin": ({"pin": "mixed/recblr~nobody~3"}, "is no user of a run here: nothing is pinned"),
    "Markdown": ({"target": "**[a](http://b)**"}, "The target “**[a](http://b)**” is not in the catalogue"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_an_address_asks_for_in_vain_is_named_and_the_page_still_answers(app: Open, what: str) -> None:
    wrong, says = WRONG[what]
    at = app("why", **{**RECALL, **wrong})
    assert not at.exception
    assert not at.error
    assert says in told(at)
    assert any("base" in one["data"][0] for one in figures(at)), "the waterfall is not drawn"


def test_a_message_repeats_an_address_without_its_markdown(app: Open) -> None:
    at = app("why", target="[click](http://elsewhere.example)", **RECALL)
    assert "](" not in at.warning[0].value
    assert "\\[click\\]\\(http" in at.warning[0].value


def test_a_method_may_be_named_as_the_command_line_names_it(app: Open) -> None:
    at = app("why", method="gradient_input", **RECALL)
    assert "is no choice" not in told(at)
    assert ":orange-badge[estimate] The slope" in shown(at)


def test_a_typed_history_says_that_it_stands_in_place_of_the_user(app: Open) -> None:
    at = app("why", history="i001,zzz")
    assert "1 of the typed ids are not in the catalogue of mixed/recblr: “zzz”. The others are read." in told(at)
    assert "Shown is the typed history, 1 event long, and not that of user u0012." in shown(at)
    assert "None is left to read." in told(app("why", history="zzz"))


def test_the_axis_of_a_single_event_has_one_tick(app: Open) -> None:
    at = app("why", history="i001")
    axis = figures(at)[-1]["layout"]["xaxis"]
    assert (axis["tick0"], axis["dtick"]) == (1, 1)


def test_an_item_already_in_the_history_is_explained_or_refused_as_the_ranking_has_it(
    app: Open, sample_log: InteractionLog
) -> None:
    item = history(sample_log, "u0012", 28)[0][4]
    at = app("why", target=item, **RECALL)
    assert "is already in the history" in shown(at)
    at = app("why", target=item, unseen="true", **RECALL)
    assert not at.exception
    assert "is already in the history (event 5), and items seen before are left out" in told(at)


@pytest.mark.parametrize("evidence", ["Over time", "Without each event", "Deletion curve", "Do methods agree?"])
def test_a_history_of_one_is_explained_and_its_removal_refused(app: Open, evidence: str) -> None:
    at = app("why", history="i001", evidence=evidence)
    assert not at.exception
    assert not at.error
    assert "The history has one event" in shown(at)
    at = app("why", history="i001", method="Removal")
    assert not at.exception
    assert "Removal cannot explain this: the history has one event" in told(at)
    assert "exact with gates held" in shown(at)


def test_a_run_without_its_log_is_explained_for_a_typed_history(app: Open) -> None:
    at = app("why", run="elsewhere/recblr", history=",".join("abc" * 10))
    assert not at.exception
    assert not told(at)
    assert "of 12 hold" in shown(at)


@pytest.mark.parametrize(
    ("evidence", "box"),
    [
        ("Over time", "profile"),
        ("Without each event", "removals"),
        ("Deletion curve", "deletion"),
        ("Do methods agree?", "agreement"),
    ],
)
def test_the_python_under_each_figure_makes_that_figure(app: Open, evidence: str, box: str) -> None:
    at = app("why", target="i001", contrast="i002", evidence=evidence, **RECALL)
    at.session_state["waterfall_numbers"] = at.session_state[f"{box}_numbers"] = True
    at.run()
    assert len(at.code) == 2
    for code in at.code:
        names: dict[str, Any] = {}
        exec(code.value, names)
        assert names["view"].question in shown(at)
        assert names["view"].answer in shown(at)


def test_a_slow_method_tells_how_far_it_is_and_is_asked_once(sample_log: InteractionLog) -> None:
    opened = sources.run_log(sources.runs()["mixed/recblr"])
    asked = sources.Asked(run="mixed/recblr", subject=sources.user(opened, "u0012"), step=28, target="i003",
                        contrast="i004", hide=False)  # fmt: skip
    told: list[tuple[int, int]] = []
    first = answers.explained(asked, "integrated_gradients", lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert len(told) > 1
    told.clear()
    assert answers.explained(asked, "integrated_gradients", lambda done, total: told.append((done, total))) is first
    assert not told


def test_the_deletion_curve_stands_beside_its_random_band(app: Open) -> None:
    at = app("why", evidence="Deletion curve", measure="rank", **RECALL)
    names = [one.get("name") for one in figures(at)[-1]["data"]]
    assert names[1:] == ["all of 20 random orders", "random, mean", "least important first", "most important first"]
    assert "tell which events count?" in shown(at)
    assert "events kept" not in json.dumps(figures(at)[-1]["layout"])
    kept = app("why", evidence="Deletion curve", curve="kept", **RECALL)
    assert "events kept" in json.dumps(figures(kept)[-1]["layout"])


def test_one_method_alone_has_nothing_to_agree_with(app: Open) -> None:
    at = app("why", evidence="Do methods agree?", methods=["Held gates"], **RECALL)
    assert not at.exception
    assert "Choose at least two methods above." in shown(at)


def test_what_the_page_says_is_what_the_library_says(app: Open, sample_log: InteractionLog) -> None:
    at = app("why", target="i001", contrast="i002", all="true", **RECALL)
    found = explain(
        recblr.load("mixed/recblr"), *history(sample_log, "u0012", 28), target="i001", contrast="i002", mask_seen=False
    )
    names, _, lengths = bars(at)
    drawn = {int(name.split(" ")[0]): size for name, size in zip(names[:28], lengths[:28], strict=True)}
    np.testing.assert_allclose([drawn[event] for event in range(1, 29)], found.values, atol=1e-6)
