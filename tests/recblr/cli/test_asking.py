"""recommend, trace and backbones."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from recblr.backbones import REGISTRY, make_config
from recblr.recommender import load

HISTORY = "i001,i005,i001,i022"
TIMES = "1704067200,1704070800,1704153600,1704240000"


def test_recommendations_are_printed_as_a_table(cli, run_folder: Path) -> None:
    answer = cli("recommend", run_folder, "--history", HISTORY, "-k", "3")
    lines = answer.out.splitlines()
    expected = load(run_folder).recommend(HISTORY.split(","), k=3)
    assert answer.code == 0
    assert lines[0].split() == ["rank", "item", "title", "score"]
    assert [line.split()[:2] for line in lines[1:4]] == [[str(row.rank), row.item] for row in expected]
    assert lines[4] == "from 4 events"
    assert answer.err == ""


def test_recommendations_as_json_are_those_of_the_library(cli, run_folder: Path) -> None:
    answer = cli("recommend", run_folder, "--history", HISTORY + ",nope", "--json", "--k", "4")
    expected = load(run_folder).recommend([*HISTORY.split(","), "nope"], k=4)
    assert answer.json == json.loads(json.dumps(expected.as_dict()))
    assert answer.json["skipped"] == [{"position": 4, "item": "nope"}]


def test_skipped_ids_are_said_in_the_table_too(cli, run_folder: Path) -> None:
    answer = cli("recommend", run_folder, "--history", "nope," + HISTORY)
    assert "note: not in the catalogue and skipped (1 in all): 'nope' at 0" in answer.out


def test_seen_items_come_back_when_asked_for(cli, run_folder: Path) -> None:
    seen = set(HISTORY.split(","))
    plain = cli("recommend", run_folder, "--history", HISTORY, "-k", "500", "--json").json
    kept = cli("recommend", run_folder, "--history", HISTORY, "-k", "500", "--keep-seen", "--json").json
    assert not seen & {row["item"] for row in plain["rows"]}
    assert seen <= {row["item"] for row in kept["rows"]}
    assert "500 items were asked for" in plain["notes"][0]


def test_a_history_may_come_from_stdin(cli, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(HISTORY.replace(",", "\n") + "\n\n"))
    piped = cli("recommend", run_folder, "--history", "-", "--json").json
    assert piped == cli("recommend", run_folder, "--history", HISTORY, "--json").json


def test_ten_thousand_events_are_read_from_the_end(cli, run_folder: Path) -> None:
    long = ",".join(["i002", "i003"] * 5000)
    answer = cli("recommend", run_folder, "--history", long, "--json").json
    assert (answer["used"], answer["truncated"]) == (20, 9980)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--history", ""], "the history is empty"),
        (["--history", "a,b"], "none of the 2 ids"),
        (["--history", HISTORY, "--times", "1,2"], "4 events and 2 times"),
        (["--history", HISTORY, "--times", "1,2,3,x"], "times[3] is 'x'"),
        (["--history", HISTORY, "--times", "1,2,3,2.5"], "times[3] is '2.5'"),
        (["--history", HISTORY, "--times", "4,3,2,1"], "before times[0]"),
        (["--history", "i001,i002", "--times", "-5,3"], "write one that begins with - as --option=value"),
    ],
)
@pytest.mark.parametrize("name", ["recommend", "trace"])
def test_a_history_that_cannot_be_read_is_one_clear_line(
    cli, run_folder: Path, name: str, extra: list[str], words: str
) -> None:
    cli.refused([name, run_folder, *extra], words)


def test_k_that_is_no_positive_number_is_one_clear_line(cli, run_folder: Path) -> None:
    cli.refused(["recommend", run_folder, "--history", HISTORY, "-k", "0"], "k is 0")
    cli.refused(["recommend", run_folder, "--history", HISTORY, "-k", "many"], "k: must be int, not many")


def test_times_before_1970_can_be_given(cli, run_folder: Path) -> None:
    assert cli("recommend", run_folder, "--history", "i001,i002", "--times=-5,3").code == 0


@pytest.mark.parametrize("name", ["recommend", "trace"])
def test_a_run_that_cannot_be_opened_is_one_clear_line(cli, tmp_path: Path, name: str) -> None:
    cli.refused([name, "mixed/nothing", "--history", "i001"], "no run 'mixed/nothing'")
    cli.refused([name, "mixed/../../etc", "--history", "i001"], "'..'")
    cli.refused([name, tmp_path / "nowhere", "--history", "i001"], "no such run folder")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("speed: 1")
    cli.refused([name, tmp_path / "broken", "--history", "i001"], "unknown key 'speed'")


def test_a_run_is_found_by_name_below_the_named_roots(cli, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBLR_RUNS", str(run_folder.parents[1]))
    assert cli("recommend", "shop/recblr", "--history", HISTORY).code == 0


def test_a_trace_shows_half_lives_horizons_and_a_row_a_step(cli, run_folder: Path) -> None:
    answer = cli("trace", run_folder, "--history", HISTORY, "--times", TIMES)
    assert answer.code == 0
    assert answer.out.count("half-life in steps") == 2
    trace = load(run_folder).trace(HISTORY.split(","), [int(one) for one in TIMES.split(",")])
    horizon = trace.horizon(1, 3)
    assert horizon is not None
    assert f"last step: {horizon.items} events, {horizon.days:,.1f} days hold" in answer.out
    rows = answer.out.splitlines()
    head = next(row for row in rows if row.startswith("step"))
    assert "half-life 1" in head
    assert "write 2" in head
    assert "2024-01-03 00:00" in answer.out


def test_one_layer_and_the_last_steps_can_be_chosen(cli, run_folder: Path) -> None:
    answer = cli("trace", run_folder, "--history", HISTORY, "--layer", "2", "--steps", "2")
    assert "half-life 1" not in answer.out
    assert "half-life 2" in answer.out
    assert [line.split()[0] for line in answer.out.splitlines() if line[:4].strip().isdigit()] == ["3", "4"]


def test_a_trace_as_json_holds_every_array(cli, run_folder: Path) -> None:
    answer = cli("trace", run_folder, "--history", HISTORY, "--json").json
    trace = load(run_folder).trace(HISTORY.split(","))
    assert answer["items"] == HISTORY.split(",")
    assert answer["times"] is None
    for got, layer in zip(answer["layers"], trace.layers, strict=True):
        np.testing.assert_allclose(got["decay"], layer.decay[0], rtol=1e-6)
        np.testing.assert_allclose(got["state"], layer.state[0], rtol=1e-6)
        np.testing.assert_allclose(got["conv"], layer.conv, rtol=1e-6)
        assert got["mix"] is None
        assert len(got["horizon_items"]) == 4


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_backbone_can_be_asked_and_traced(cli, any_run, name: str) -> None:
    folder = any_run(name)
    assert len(cli("recommend", folder, "--history", HISTORY, "-k", "3", "--json").json["rows"]) == 3
    table = cli("trace", folder, "--history", HISTORY, "--times", TIMES)
    assert table.code == 0, table.err
    assert name in table.out
    told = cli("trace", folder, "--history", HISTORY, "--json")
    assert told.code == 0, told.err
    assert told.json["items"] == HISTORY.split(",")
    assert len(told.json["hidden"]) == 4


def test_a_complex_state_has_a_real_and_an_imaginary_part(cli, any_run) -> None:
    folder = any_run("lrurec")
    state = load(folder).trace(HISTORY.split(",")).layers[0].state
    told = cli("trace", folder, "--history", HISTORY, "--json").json["layers"][0]["state"]
    assert state is not None
    np.testing.assert_allclose(told["real"], state[0].real, rtol=1e-6)
    np.testing.assert_allclose(told["imag"], state[0].imag, rtol=1e-6)


def test_a_layer_that_is_not_there_is_one_clear_line(cli, run_folder: Path) -> None:
    for layer in ("0", "3"):
        cli.refused(["trace", run_folder, "--history", HISTORY, "--layer", layer], "traces 2 layers, from 1")
    cli.refused(["trace", run_folder, "--history", HISTORY, "--steps", "0"], "--steps is 0")


def test_the_backbones_are_those_of_the_registry(cli) -> None:
    answer = cli("backbones", "--json").json
    assert [row["name"] for row in answer] == list(REGISTRY)
    table = cli("backbones").out
    for row in answer:
        assert row["presets"][0] == next(iter(REGISTRY[row["name"]].presets))
        assert f"{row['parameters']:,}" in table


def test_the_backbones_are_said_to_be_causal_preset_by_preset(cli) -> None:
    rows = {row["name"]: row for row in cli("backbones", "--json").json}
    for name, cls in REGISTRY.items():
        for preset in cls.presets:
            flags = cls.flags(make_config(cls, preset, n_items=3))
            assert (rows[name]["causal"][preset], rows[name]["uses_time"][preset], rows[name]["recurrent"][preset]) == (
                flags.causal, flags.uses_time, flags.recurrent,
            )  # fmt: skip
    head, *lines = cli("backbones").out.splitlines()
    table = {line.split()[0]: line for line in lines}

    def cell(name: str, column: str) -> str:
        begin = head.index(column)
        return table[name][begin:].split("  ")[0].strip()

    for name in ("ssd4rec", "tisasrec"):
        assert cell(name, "causal") == "fixed"
    assert cell("tim4rec", "causal") == "fixed, untimed"
    assert cell("tim4rec", "uses time") == "fixed, reference"
    assert cell("persrec", "uses time") == "fixed"
    assert cell("persrec", "recurrent") == "recblr"
    assert cell("recblr", "causal") == cell("recblr", "recurrent") == "yes"
    assert cell("sasrec", "recurrent") == "no"


def test_parameters_are_counted_for_the_catalogue_asked_for(cli) -> None:
    small, large = (
        {row["name"]: row["parameters"] for row in cli("backbones", "--json", "--n-items", n).json}
        for n in ("10", "11")
    )
    assert large["sasrec"] - small["sasrec"] == 64
    cli.refused(["backbones", "--n-items", "0"], "--n-items is 0")
