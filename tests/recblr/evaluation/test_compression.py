"""The compression study: who is measured, what is read, what is kept, and what a figure is made of."""

import json

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, make_config
from recblr.backbones.base import Batch
from recblr.errors import ConfigError, DataError
from recblr.evaluation.compression import bytes_of_user, kept_by, study
from recblr.evaluation.ranking import metrics_from_ranks
from recblr.figures.compression import curves

ITEMS, SEGMENT, RECENT = 9, 3, 3


def model(name="persrec", preset=None, max_len=15, **fields):
    torch.manual_seed(0)
    if name == "persrec":
        fields = {"segment": SEGMENT, "segments": 4, "tokens": 1, **fields}
    built = REGISTRY[name](make_config(REGISTRY[name], preset, n_items=ITEMS, d=8, max_len=max_len, **fields))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return built.eval()


RUNS = {"tokens": model(), "state": model("gru4rec", hidden=4), "carried": model(preset="recblr", tokens=0),
        "attention": model("sasrec")}  # fmt: skip


@pytest.fixture(scope="module")
def found(random_log):
    return study(RUNS, random_log, "recbole", old=[6, 3], recent=RECENT, draws=20)


def test_every_run_is_measured_with_every_number_of_old_events_on_the_same_long_histories(found, random_log):
    lengths = random_log.lengths()
    assert found.targets == found.users == int((lengths - 1 >= 6 + RECENT).sum())
    assert [(row.run, row.old_events) for row in found.rows] == [(run, n) for run in RUNS for n in (0, 3, 6)]
    kept = {run: {row.kept for row in found.rows if row.run == run and row.old_events} for run in RUNS}
    assert kept == {"tokens": {"tokens"}, "state": {"state"}, "carried": {"state"}, "attention": {"cache"}}
    assert {row.kept for row in found.rows if not row.old_events} == {"dropped"}
    for row in found.rows:
        low, high = row.intervals["NDCG@10"]
        assert low <= row.metrics["NDCG@10"] <= high
        if row.old_events == 0:
            assert row.bytes_of_user == 0
            assert row.gain["NDCG@10"].mean == 0


def test_the_figures_are_those_of_reading_so_many_events(found, random_log):
    """Ranks of each target by the plain forward pass over the last n + recent events."""
    for row in found.rows:
        ranks = []
        for user in range(random_log.n_users):
            history = random_log.items[random_log.offsets[user] : random_log.offsets[user + 1]].astype(np.int64)
            times = random_log.times[random_log.offsets[user] : random_log.offsets[user + 1]]
            if len(history) - 1 < 6 + RECENT:
                continue
            n = row.old_events + RECENT
            batch = Batch(items=torch.tensor(history[None, -1 - n : -1]), times=torch.tensor(times[None, -1 - n : -1]))
            with torch.no_grad():
                scores = RUNS[row.run].scores(RUNS[row.run](batch)[0, -1])[1:].numpy()
            ranks.append(1 + (scores > scores[history[-1] - 1]).sum())
        wanted = metrics_from_ranks(np.array(ranks, dtype=float), (10,))
        assert row.metrics == pytest.approx(wanted, abs=1e-6)


def test_the_bytes_are_those_of_what_is_kept_of_one_user(found):
    size = {(row.run, row.old_events): row.bytes_of_user for row in found.rows}
    tokens = 2 * 2 * 8 * 4 + 8  # keys and values of two layers in float32, and the time of a token
    position = 8
    assert size["tokens", 3] == tokens + position
    assert size["tokens", 6] == 2 * tokens + position
    assert size["state", 3] == size["state", 6] == 4 * 4
    assert size["attention", 6] == 6 * 2 * 2 * 8 * 4 + position


def test_tokens_are_compared_with_the_state_that_is_nearest_in_bytes(found):
    assert [(one.tokens, one.old_events) for one in found.matches] == [("tokens", 3), ("tokens", 6)]
    for one in found.matches:
        by_run = {row.run: row for row in found.rows if row.old_events == one.old_events}
        nearest = min(
            ("state", "carried"), key=lambda run: abs(np.log(by_run[run].bytes_of_user / one.bytes_of_tokens))
        )
        assert one.state == nearest
        gap = by_run["tokens"].metrics["NDCG@10"] - by_run[one.state].metrics["NDCG@10"]
        assert one.difference["NDCG@10"].mean == pytest.approx(gap)


def test_a_written_study_gives_the_lines_of_a_figure(found):
    written = json.loads(json.dumps(found.as_dict()))
    lines = curves(written["rows"], "HR@10")
    assert [line["run"] for line in lines] == list(RUNS)
    for line in lines:
        assert line["old"] == [0, 3, 6]
        assert line["bytes"][0] == 0
        assert line["kept"] != "dropped"
        assert all(
            low <= value <= high for low, value, high in zip(line["low"], line["value"], line["high"], strict=True)
        )


def test_by_default_one_token_after_each_of_four_segments_takes_the_bytes_of_the_state_of_recblr():
    old = Batch(items=torch.ones(1, 160, dtype=torch.int64), times=torch.ones(1, 160, dtype=torch.int64))
    with torch.no_grad():
        tokens = REGISTRY["persrec"](make_config(REGISTRY["persrec"], n_items=ITEMS, tokens=1)).eval()
        assert bytes_of_user(tokens, old) - 8 == 4 * (1024 + 8)
        state = REGISTRY["recblr"](make_config(REGISTRY["recblr"], n_items=ITEMS)).eval()
        assert bytes_of_user(state, old) - 8 == 4096


def test_a_backbone_that_is_not_causal_keeps_the_events_themselves():
    both = model("ssd4rec", "reference")
    old = Batch(items=torch.ones(1, 5, dtype=torch.int64), times=torch.ones(1, 5, dtype=torch.int64))
    assert (kept_by(both), bytes_of_user(both, old)) == ("history", 5 * 16)


def test_what_cannot_be_read_or_compressed_is_an_error_that_names_the_run(random_log):
    def asked(run, old, recent, **fields):
        return study({"mine": model(run, **fields)}, random_log, "recbole", old=old, recent=recent, draws=2)

    for run, old, recent, words in (
        ("persrec", [4], 2, "mine compresses up to 4 segments of 3 events, so not 4"),
        ("persrec", [15], 2, "mine reads 15 events at most"),
        ("persrec", [3], 4, "mine would compress some of 4 recent events"),
        ("sasrec", [14], 2, "mine reads 15 events at most, 14 old and 2 recent"),
        ("gru4rec", [-3], 2, "at least 0 old"),
        ("gru4rec", [3], 0, "1 recent"),
    ):
        with pytest.raises(ConfigError, match=words):
            asked(run, old, recent)
    with pytest.raises(DataError, match="no target of log 'toy' has 202 events"):
        asked("gru4rec", [200], 2)
    other = REGISTRY["gru4rec"](make_config(REGISTRY["gru4rec"], n_items=4, d=8))
    with pytest.raises(ConfigError, match="mine ranks 4 items"):
        study({"mine": other}, random_log, "recbole", old=[3], recent=2)
