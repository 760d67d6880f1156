"""Asking a run: any history gets an answer in external ids, or an error that says what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recblr
from recblr.backbones import Batch, backbone, make_config
from recblr.checkpoint import load_run, save_run
from recblr.data.log import Catalog
from recblr.errors import CheckpointError, HistoryError
from recblr.recommender import Recommender, load

N_ITEMS, MAX_LEN = 20, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    cls = backbone("recblr")
    model = cls(make_config(cls, n_items=N_ITEMS, max_len=MAX_LEN, d=8, n_layers=2))
    catalog = Catalog(
        ids=np.array(["", *(f"i{n:03d}" for n in range(1, N_ITEMS + 1))]),
        titles=np.array(["", *(f"Thing {n}" for n in range(1, N_ITEMS + 1))]),
    )
    data = {"name": "toy", "fingerprint": "0" * 12, "n_users": 3, "n_events": 9}
    root = tmp_path_factory.mktemp("root")
    return save_run(root / "mixed" / "tiny", model, catalog, train={}, data=data, metrics={})


@pytest.fixture(scope="module")
def model(folder: Path) -> Recommender:
    return load(folder)


def ids(*numbers: int) -> list[str]:
    return [f"i{n:03d}" for n in numbers]


def test_recommendations_are_the_best_scores_in_order(model: Recommender) -> None:
    scores = model.scores(ids(1, 2, 3))
    result = model.recommend(ids(1, 2, 3), k=5, mask_seen=False)
    order = np.argsort(-scores[1:], kind="stable")[:5] + 1
    assert [row.item for row in result.rows] == ids(*order)
    assert [row.rank for row in result] == [1, 2, 3, 4, 5]
    assert [row.score for row in result] == pytest.approx(scores[order].tolist())
    assert result.rows[0].title == f"Thing {order[0]}"
    assert (result.used, result.truncated, result.skipped, result.notes) == (3, 0, (), ())


def test_scores_are_those_of_the_model_itself(model: Recommender) -> None:
    items = torch.tensor([[4, 5]])
    with torch.no_grad():
        inner = model.run.model
        expected = inner.scores(inner(Batch(items=items, times=torch.zeros_like(items)))[:, -1])[0]
    np.testing.assert_allclose(model.scores(ids(4, 5))[1:], expected[1:].numpy(), rtol=1e-5)


def test_seen_items_are_not_recommended_unless_asked_for(model: Recommender) -> None:
    history = ids(*range(1, 11))
    masked = {row.item for row in model.recommend(history, k=N_ITEMS)}
    assert masked == set(ids(*range(11, 21)))  # the four events before the last six count as seen too
    assert {row.item for row in model.recommend(history, k=N_ITEMS, mask_seen=False)} == set(ids(*range(1, 21)))


def test_padding_is_never_recommended(model: Recommender) -> None:
    result = model.recommend(ids(1), k=N_ITEMS + 1, mask_seen=False)
    assert "" not in {row.item for row in result}


def test_unknown_ids_are_skipped_and_reported_with_their_places(model: Recommender) -> None:
    result = model.recommend(["nope", "i001", "?", "i002"], k=3)
    assert [(one.position, one.item) for one in result.skipped] == [(0, "nope"), (2, "?")]
    assert result.used == 2
    assert "not in the catalogue and skipped (2 in all): 'nope' at 0, '?' at 2" in result.notes[0]
    assert [row.item for row in result] == [row.item for row in model.recommend(ids(1, 2), k=3)]


def test_the_times_of_skipped_ids_go_with_them(model: Recommender) -> None:
    read = model.read(["i001", "nope", "i002"], [10, 20, 30])
    assert read.times.tolist() == [10, 30]
    assert read.has_times


def test_an_empty_history_is_an_error_that_shows_an_id(model: Recommender) -> None:
    for history in ([], ()):
        with pytest.raises(HistoryError, match=r"the history is empty.*'i001'"):
            model.recommend(history)


def test_a_history_without_any_known_id_names_them(model: Recommender) -> None:
    with pytest.raises(HistoryError, match=r"none of the 7 ids.*'a' at 0, 'b' at 1.*\.\.\..*'i001'"):
        model.recommend(list("abcdefg"))


def test_of_ten_thousand_events_the_last_are_read_and_that_is_said(model: Recommender) -> None:
    history = ids(*(n % 7 + 1 for n in range(10_000)))
    result = model.recommend(history, k=3)
    assert (result.used, result.truncated) == (MAX_LEN, 10_000 - MAX_LEN)
    assert "older ones left out: 9994" in result.notes[0]
    np.testing.assert_array_equal(model.scores(history), model.scores(history[-MAX_LEN:]))


def test_k_beyond_the_catalogue_is_clipped_and_that_is_said(model: Recommender) -> None:
    result = model.recommend(ids(1, 2), k=500)
    assert len(result) == N_ITEMS - 2
    assert "500 items were asked for" in result.notes[0]


def test_a_history_that_holds_every_item_leaves_nothing_to_recommend(model: Recommender) -> None:
    result = model.recommend(ids(*range(1, 21)), k=5)
    assert len(result) == 0
    assert list(result.frame().columns) == ["rank", "item", "title", "score"]
    assert any("has 0" in note for note in result.notes)


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", True, None])
def test_k_that_is_no_positive_whole_number_is_an_error(model: Recommender, k: Any) -> None:
    with pytest.raises(HistoryError, match="k is"):
        model.recommend(ids(1), k=k)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([1], "2 events and 1 times"),
        ([1, 2, 3], "2 events and 3 times"),
        ([2, 1], r"times\[1\] is 1, before times\[0\] = 2"),
        ([1, 2.5], r"times\[1\] is 2.5"),
        ([1, "2"], r"times\[1\] is '2'"),
        ([1, None], r"times\[1\] is None"),
        ([1, float("nan")], r"times\[1\] is nan"),
        ([1, 10**30], r"times\[1\] is"),
        ([True, True], r"times\[0\] is True"),
    ],
)
def test_times_that_do_not_fit_are_an_error(model: Recommender, times: Any, words: str) -> None:
    with pytest.raises(HistoryError, match=words):
        model.recommend(ids(1, 2), times=times)


def timed(folder: Path, preset: str) -> Recommender:
    cls = backbone("hstu")
    torch.manual_seed(3)
    inner = cls(make_config(cls, preset, n_items=N_ITEMS, max_len=MAX_LEN, d=8)).eval()
    torch.nn.init.normal_(inner.layers[0].time_bias, std=3.0)
    return Recommender(replace(load_run(folder), model=inner))


def test_a_model_that_reads_the_moment_of_the_request_is_asked_at_it(folder: Path) -> None:
    asked = timed(folder, "reference")
    plain = asked.recommend(ids(1, 2), times=[100, 200])
    assert "give that of the request" in plain.notes[0]
    assert asked.recommend(ids(1, 2), times=[100, 200], at=200).rows == plain.rows
    later = asked.recommend(ids(1, 2), times=[100, 200], at=9_000_000)
    assert (later.notes, later.used) == ((), 2)
    assert [row.score for row in later] != [row.score for row in plain]
    inner = asked.run.model
    whole = Batch(items=torch.tensor([[1, 2, 3]]), times=torch.tensor([[100, 200, 9_000_000]]))
    with torch.no_grad():  # the next event's time is that of the request, whatever its item
        expected = inner.scores(inner(whole))[0, 1]
    np.testing.assert_allclose(asked.scores(ids(1, 2), [100, 200], 9_000_000), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("preset", "times", "at", "words"),
    [
        ("fixed", [100, 200], 300, "HSTU fixed does not read the moment of a request"),
        ("reference", None, 300, "the history has no times to count from"),
        ("reference", [100, 200], 199, "before the last event at 200"),
        ("reference", [100, 200], "soon", "whole numbers"),
    ],
)
def test_a_moment_that_cannot_be_asked_at_is_an_error(
    folder: Path, preset: str, times: Any, at: Any, words: str
) -> None:
    with pytest.raises(HistoryError, match=words):
        timed(folder, preset).recommend(ids(1, 2), times=times, at=at)


def test_times_may_be_a_numpy_array(model: Recommender) -> None:
    assert model.recommend(ids(1, 2), times=np.array([5, 5])).used == 2  # type: ignore[arg-type]


def test_one_text_in_place_of_a_list_is_an_error(model: Recommender) -> None:
    with pytest.raises(HistoryError, match="pass a list of ids"):
        model.recommend("i001,i002")


def test_numbers_are_taken_as_ids(model: Recommender) -> None:
    with pytest.raises(HistoryError, match="'1' at 0"):
        model.recommend([1])  # type: ignore[list-item]


def test_a_trace_has_a_step_for_each_event_that_was_read(model: Recommender) -> None:
    trace = model.trace(["i003", "nope", "i001"])
    assert trace.items.tolist() == [[3, 1]]
    assert not trace.has_times
    assert any("not in the catalogue" in note for note in trace.notes)
    assert trace.layers[0].state is not None
    timed = model.trace(ids(3, 1), [86400, 3 * 86400])
    assert timed.has_times
    horizon = timed.horizon(0, 1)
    assert horizon is not None
    assert horizon.days in (0.0, 2.0)


def test_asking_changes_nothing_in_the_model(model: Recommender) -> None:
    before = {name: tensor.clone() for name, tensor in model.run.model.state_dict().items()}
    first = model.scores(ids(1, 2))
    model.trace(ids(5, 6, 7))
    model.recommend(ids(9))
    np.testing.assert_array_equal(model.scores(ids(1, 2)), first)
    for name, tensor in model.run.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_recommendations_become_a_table_and_plain_values(model: Recommender) -> None:
    result = model.recommend([*ids(1), "nope"], k=2)
    assert result.frame()["rank"].tolist() == [1, 2]
    plain = result.as_dict()
    assert plain["rows"][0]["item"] == result.rows[0].item
    assert plain["skipped"] == ({"position": 1, "item": "nope"},)


def test_a_run_is_opened_by_path_or_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert load(folder).name == "tiny"
    assert load("tiny").name == "tiny"
    assert load("./tiny").name == "tiny"
    monkeypatch.setenv("RECBLR_RUNS", str(folder.parents[1]))
    assert recblr.load("mixed/tiny").name == "mixed/tiny"
    assert load_run(folder).name == "mixed/tiny"


def test_a_run_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such run folder"):
        load(tmp_path / "nope")
    with pytest.raises(CheckpointError, match="no run 'mixed/nope'"):
        load("mixed/nope")
    for name in ("~nobody-by-this-name/run", "a\0b", "x" * 5000, ""):
        with pytest.raises(CheckpointError):
            load(name)


def test_the_front_door_offers_its_names(folder: Path) -> None:
    assert {"load", "Recommender", "save_run", "list_runs"} <= set(dir(recblr))
    assert recblr.Recommender is Recommender
    with pytest.raises(AttributeError, match="no attribute 'lead'"):
        _ = recblr.lead
