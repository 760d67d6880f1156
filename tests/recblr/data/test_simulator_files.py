"""The shipped logs are what the simulator makes, and the truth on disk fits only the log that it is about."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from recblr.data.log import InteractionLog
from recblr.data.read import read_log
from recblr.data.simulator import (
    CAUSES,
    SAMPLES,
    Simulated,
    SimulatorConfig,
    bayes_ceiling,
    has_truth,
    load_truth,
    ranking_metrics,
    read_manifest,
    simulate,
    table_hashes,
    write_sample,
)
from recblr.data.splits import leave_one_out
from recblr.errors import ConfigError, DataError

SAMPLE_DATA = Path(__file__).parents[3] / "sample_data"


@pytest.fixture(scope="module")
def small() -> Simulated:
    return simulate(SimulatorConfig(n_users=8, seed=1))


@pytest.fixture
def folder(small: Simulated, tmp_path: Path) -> Path:
    write_sample(tmp_path / "log", small)
    return tmp_path / "log"


@pytest.mark.slow
def test_simulating_the_mixed_log_again_gives_the_shipped_tables() -> None:
    made = simulate(SAMPLES["mixed"])
    manifest = read_manifest(SAMPLE_DATA / "mixed")
    assert SimulatorConfig.from_dict(manifest["config"]) == SAMPLES["mixed"]
    assert table_hashes(made) == manifest["sha256"]
    assert made.log.fingerprint == manifest["log"]


@pytest.mark.parametrize("name", list(SAMPLES))
def test_simulating_a_few_users_again_begins_as_the_shipped_log(name: str) -> None:
    """A log of fewer users is the beginning of one of more, so twenty users are enough to tell a change."""
    shipped, _ = read_log(SAMPLE_DATA / name)
    truth = load_truth(SAMPLE_DATA / name, shipped)
    assert truth.config == SAMPLES[name]
    made = simulate(replace(SAMPLES[name], n_users=20))
    n = made.log.n_events
    assert made.log.catalog.ids[made.log.items].tolist() == shipped.catalog.ids[shipped.items[:n]].tolist()
    np.testing.assert_array_equal(made.log.times, shipped.times[:n])
    np.testing.assert_array_equal(made.truth.cause, truth.cause[:n])
    np.testing.assert_allclose(made.truth.p_true, truth.p_true[:n], rtol=1e-5)


@pytest.mark.parametrize("name", list(SAMPLES))
def test_a_shipped_log_is_read_as_it_was_made(name: str) -> None:
    log, report = read_log(SAMPLE_DATA / name)
    truth = load_truth(SAMPLE_DATA / name, log)
    assert table_hashes(Simulated(log=log, truth=truth)) == read_manifest(SAMPLE_DATA / name)["sha256"]
    assert report.rows_out == log.n_events
    assert len(log.catalog) == len(truth.world.shop.catalog)
    assert all(path.stat().st_size < 1_000_000 for path in (SAMPLE_DATA / name).iterdir())


def test_the_readme_tells_the_shares_and_the_ceiling_of_the_mixed_log() -> None:
    text = (SAMPLE_DATA / "README.md").read_text(encoding="utf-8")
    log, _ = read_log(SAMPLE_DATA / "mixed")
    simulated = Simulated(log=log, truth=load_truth(SAMPLE_DATA / "mixed", log))
    counts = read_manifest(SAMPLE_DATA / "mixed")["events_by_cause"]
    assert all(f"| {cause} | {100 * counts[cause] / log.n_events:.1f} % |" in text for cause in CAUSES)
    assert f"{log.n_users:,} users, {log.n_events:,} events, {log.catalog.n_items} items" in text
    targets = leave_one_out(log).test
    ceiling = bayes_ceiling(simulated, targets)
    assert f"HR@10 {ceiling['HR@10']:.3f} and NDCG@10 {ceiling['NDCG@10']:.3f}".replace(" 0.", " .") in text
    counted = np.bincount(log.items, minlength=len(log.catalog))
    popular = (np.argsort(np.argsort(-counted)) + 1.0)[log.items[targets.positions]]
    assert f"popularity reaches HR@10 {ranking_metrics(popular)['HR@10']:.3f}".replace(" 0.", " .") in text


def test_a_small_log_and_its_truth_come_back(small: Simulated, folder: Path) -> None:
    log, _ = read_log(folder)
    truth = load_truth(folder, log)
    assert log.fingerprint == small.log.fingerprint
    assert log.catalog.titles is not None
    assert log.catalog.titles.tolist() == small.log.catalog.titles.tolist()
    for name in ("cause", "cause_pos", "cue_pos", "p_true"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(small.truth, name))
    np.testing.assert_array_equal(truth.next_item_distribution(2, 9), small.truth.next_item_distribution(2, 9))


def test_a_small_log_leaves_out_items_that_never_occur(small: Simulated) -> None:
    assert len(small.log.catalog) < len(small.truth.world.shop.catalog)
    distribution = small.truth.next_item_distribution(0, 5)
    assert distribution.shape == (len(small.log.catalog),)
    assert 0.3 < distribution.sum() < 1
    assert distribution[small.log.sequence(0)[0][5]] == pytest.approx(small.truth.p_true[5], rel=1e-6)


def test_the_tables_have_the_columns_that_the_readme_names(folder: Path) -> None:
    assert pq.read_table(folder / "events.parquet").column_names == ["user", "item", "timestamp"]
    assert pq.read_table(folder / "items.parquet").column_names == ["id", "title", "aisle", "text"]
    assert pq.read_table(folder / "truth.parquet").column_names == ["cause", "cause_pos", "cue_pos", "p_true"]


def test_a_filtered_log_has_no_truth(folder: Path) -> None:
    log, _ = read_log(folder, k_core=5)
    with pytest.raises(DataError, match=r"the truth is about all \d+ events of 8 users .* without a core"):
        load_truth(folder, log)


def test_another_log_of_the_same_size_has_no_truth(small: Simulated, folder: Path) -> None:
    log = small.log
    items = log.items.copy()
    items[[0, 1]] = items[[1, 0]]
    other = InteractionLog(
        name="swapped", items=items, times=log.times, offsets=log.offsets, users=log.users, catalog=log.catalog
    )
    with pytest.raises(DataError, match="or others"):
        load_truth(folder, other)


def test_a_folder_without_truth_says_so(small: Simulated, tmp_path: Path) -> None:
    assert not has_truth(tmp_path)
    with pytest.raises(DataError, match=r"no simulator\.json; only simulated logs know why"):
        load_truth(tmp_path, small.log)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "'config' is missing"),
        ('{"config": {}, "log": "", "n_events": 1, "n_users": 1}', "'sha256' is missing"),
        ('{"config": 3, "log": "", "n_events": 1, "n_users": 1, "sha256": {}}', "must be objects"),
    ],
)
def test_a_damaged_manifest_is_refused(small: Simulated, folder: Path, text: str, message: str) -> None:
    (folder / "simulator.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_truth(folder, small.log)


def test_an_unknown_key_in_the_manifest_is_refused(small: Simulated, folder: Path) -> None:
    manifest = read_manifest(folder)
    manifest["config"]["sede"] = 1
    (folder / "simulator.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="unknown key 'sede'"):
        load_truth(folder, small.log)


def test_a_truth_table_that_was_changed_is_refused(small: Simulated, folder: Path) -> None:
    table = pq.read_table(folder / "truth.parquet")
    pq.write_table(table.set_column(1, "cause_pos", table["cue_pos"]), folder / "truth.parquet")
    with pytest.raises(DataError, match=r"do not match the hash in simulator\.json"):
        load_truth(folder, small.log)
    pq.write_table(table.slice(1), folder / "truth.parquet")
    with pytest.raises(DataError, match="rows, the log"):
        load_truth(folder, small.log)
    (folder / "truth.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        load_truth(folder, small.log)


def test_a_truth_made_under_other_rules_is_refused(small: Simulated, folder: Path) -> None:
    manifest = read_manifest(folder)
    manifest["config"]["shares"] = {"noise": 0.02}
    (folder / "simulator.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="made by another version of the simulator"):
        load_truth(folder, small.log)


def test_writing_again_replaces_a_sample_and_nothing_else(small: Simulated, folder: Path, tmp_path: Path) -> None:
    (folder / "stale.txt").write_text("left from before")
    write_sample(folder, small)
    assert {path.name for path in folder.iterdir()} == {
        "events.parquet",
        "items.parquet",
        "truth.parquet",
        "simulator.json",
    }
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match=r"holds no simulator\.json, so it is no simulated log"):
        write_sample(other, small)
    assert {path.name for path in tmp_path.iterdir()} == {"log", "other"}
