"""The Trace page: what it draws is what the library says."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from tests_app import component, figures, shown

import recblr
from recblr.data.log import InteractionLog

Open = Callable[..., AppTest]


def decoded(data: dict, name: str = "values") -> np.ndarray:
    packed = data[name] if name == "values" else data["terms"][name]
    return np.frombuffer(base64.b64decode(packed), dtype="<f4").reshape(-1, data["columns"])


def history(log: InteractionLog, user: str) -> tuple[list[str], list[int]]:
    items, times = log.sequence(log.user_index[user])
    return log.catalog.ids[items].tolist(), times.tolist()


@pytest.mark.parametrize(
    ("layer", "quantity", "field"), [(1, "state", "state"), (2, "decay", "decay"), (2, "input gate", "input_gate")]
)
def test_the_cells_sent_are_the_trace_that_the_library_gives(
    app: Open, sample_log: InteractionLog, layer: int, quantity: str, field: str
) -> None:
    at = app("trace", user="u0002", layer=str(layer), show=quantity)
    data = component(at, "heatmap")
    trace = recblr.load("mixed/recblr").trace(*history(sample_log, "u0002"))
    expected = getattr(trace.layers[layer - 1], field)[0][:, data["row_numbers"]].T
    np.testing.assert_array_equal(decoded(data), expected)
    assert len(data["row_numbers"]) == 12
    decay, state = decoded(data, "decay"), decoded(data, "state")
    entered = trace.layers[layer - 1].entered[0][:, data["row_numbers"]].T
    np.testing.assert_allclose(decay[:, 1:] * state[:, :-1] + entered[:, 1:], state[:, 1:], atol=1e-5)


def test_all_channels_are_shown_on_request_within_the_size_of_an_instant_message(app: Open) -> None:
    few = component(app("trace"), "heatmap")
    at = app("trace", all="true")
    every = component(at, "heatmap")
    assert len(every["row_numbers"]) > len(few["row_numbers"])
    assert sorted(every["row_numbers"]) == list(range(len(every["row_numbers"])))
    assert len(next(one.proto.json for one in at.get("bidi_component") if "heatmap" in one.proto.id)) < 500_000


@pytest.mark.parametrize("view", ["What still matters", "How the state moves", "What fills a channel", "Since when"])
def test_the_step_moves_the_cursor_the_sentence_and_every_chart_over_events(app: Open, view: str) -> None:
    at = app("trace", user="u0002", step="7", view=view)
    at.slider(key="step_slider").set_value(20).run()
    assert component(at, "strip")["step"] == component(at, "heatmap")["step"] == 20
    assert "After event 20," in shown(at)
    marks = [one["layout"]["shapes"][0]["x0"] for one in figures(at) if "shapes" in one["layout"]]
    assert marks == [20]


def test_only_the_open_tab_is_built(app: Open) -> None:
    assert len(figures(app("trace"))) == 1
    assert len(figures(app("trace", view="How the state moves"))) == 2
    assert "How long does each channel remember?" in shown(app("trace", view="How long channels remember"))
    assert len(figures(app("trace", view="nonsense"))) == 1


def test_the_strip_says_why_each_event_of_the_sample_log_happened(app: Open, sample_log: InteractionLog) -> None:
    data = component(app("trace", user="u0001"), "strip")
    names = [data["cause_names"][cause] for cause in data["causes"]]
    echo = names.index("echo")
    assert data["cause_from"][echo] > 0
    assert "refill" in data["titles"][echo]
    source = data["titles"][data["cause_from"][echo] - 1]
    assert data["titles"][echo].startswith(source.split(" ")[0])


@pytest.mark.parametrize("run", ["mixed/lrurec", "mixed/sasrec", "mixed/gru4rec", "mixed/markov", "mixed/popularity"])
def test_every_backbone_is_traced_with_what_it_has(app: Open, run: str) -> None:
    at = app("trace", run=run, user="u0003")
    assert not at.exception
    assert not at.error
    if run == "mixed/popularity":
        assert "keeps no memory of events" in shown(at)
        return
    data = component(at, "heatmap")
    assert data["rows_are_events"] == (run in {"mixed/sasrec", "mixed/markov"})
    assert (data["terms"] is None) == data["rows_are_events"]


def test_a_complex_state_is_sent_with_its_imaginary_part_and_its_turn(app: Open) -> None:
    data = component(app("trace", run="mixed/lrurec"), "heatmap")
    assert decoded(data, "state").shape == (2 * data["rows"], data["columns"])
    assert "phase" in data["terms"]


def test_a_chosen_channel_is_among_the_rows_and_taken_apart_exactly(app: Open) -> None:
    at = app("trace", channel="5", step="12", view="What fills a channel")
    assert 5 in component(at, "heatmap")["row_numbers"]
    text = shown(at)
    assert "Which events fill channel 5 after event 12?" in text
    assert "exact, with an error of" in text


def test_the_word_exact_never_stands_without_an_error(app: Open) -> None:
    for run in ("mixed/recblr", "mixed/sasrec", "mixed/lrurec"):
        for line in shown(app("trace", run=run, view="What fills a channel")).splitlines():
            if "exact" in line:
                assert "error of" in line or "misses by" in line, line


@pytest.mark.parametrize(
    ("view", "key", "run"),
    [("Since when", "since_when", "mixed/recblr"), ("Since when", "since_when", "mixed/tim4rec"),
     ("Another pause", "pauses", "mixed/tbdlru"), ("Another pause", "pauses", "mixed/tisasrec"),
     ("How much it needs", "needed", "mixed/gru4rec")],
)  # fmt: skip
def test_what_a_run_says_when_asked_again_is_what_the_python_beside_it_gives(
    app: Open, view: str, key: str, run: str
) -> None:
    at = app("trace", run=run, user="u0002", step="20", view=view)
    assert not at.exception
    assert not at.error
    at.session_state[f"{key}_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert names["view"].answer in shown(at)
    assert names["view"].question in shown(at)


def test_the_rank_after_every_event_is_of_the_item_asked_about_or_else_of_the_first_choice(
    app: Open, sample_log: InteractionLog
) -> None:
    ids, times = history(sample_log, "u0002")
    model = recblr.load("mixed/recblr")
    best = next(iter(model.recommend(ids[:20], k=1, times=times[:20], mask_seen=False))).title
    at = app("trace", user="u0002", step="20", view="Since when")
    assert f"Since when would it recommend “{best}”?" in shown(at)
    assert f"After event 20 it ranks “{best}” 1 of {sample_log.catalog.n_items}" in shown(at)
    title = sample_log.catalog.title(9)
    asked = app("trace", user="u0002", step="20", view="Since when", target=sample_log.catalog.ids[9])
    assert f"Since when would it recommend “{title}”?" in shown(asked)


def test_a_pause_is_changed_only_where_the_run_reads_the_time(app: Open) -> None:
    at = app("trace", run="mixed/recblr", user="u0002", view="Another pause")
    assert "RecBLR reads no times" in shown(at)
    assert not at.error
    first = app("trace", run="mixed/tbdlru", user="u0002", step="1", view="Another pause")
    assert "one event, and no pause before it" in shown(first)
    assert not first.exception
    assert not first.error


def test_without_its_log_a_run_is_measured_on_nobody(app: Open) -> None:
    at = app("trace", run="elsewhere/recblr", history="a,b,c", view="How much it needs")
    assert "no users to measure this on" in shown(at)
    assert not at.error
