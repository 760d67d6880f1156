"""The compression study as a figure, of a study whose numbers are made up and whose classes are the real ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recblr.evaluation.compression import CompressionRow, CompressionStudy, Kept, Match
from recblr.evaluation.intervals import Difference
from recblr.figures import compression
from recblr.figures.compression import metrics_of, readable


def row(run: str, kept: Kept, old: int, size: int, value: float, gain: float) -> CompressionRow:
    return CompressionRow(
        run=run, backbone="any", preset="fixed", kept=kept, old_events=old, bytes_of_user=size,
        metrics={"HR@10": 2 * value, "NDCG@10": value},
        intervals={"HR@10": (2 * value - 0.02, 2 * value + 0.02), "NDCG@10": (value - 0.01, value + 0.01)},
        gain={name: Difference(mean=gain, low=gain - 0.004, high=gain + 0.004) for name in ("HR@10", "NDCG@10")},
    )  # fmt: skip


def made(difference: float = -0.02) -> dict[str, Any]:
    found = CompressionStudy(
        log="a-log", fingerprint="f" * 12, protocol="recbole", part="test", users=80, targets=80, recent=40,
        rows=(
            row("folded", "dropped", 0, 0, 0.10, 0.0), row("folded", "tokens", 160, 4136, 0.12, 0.02),
            row("carried", "dropped", 0, 0, 0.11, 0.0), row("carried", "state", 160, 4104, 0.14, 0.03),
            row("all", "dropped", 0, 0, 0.09, 0.0), row("all", "cache", 160, 163_848, 0.13, 0.04),
        ),
        matches=(
            Match(tokens="folded", state="carried", old_events=160, bytes_of_tokens=4136, bytes_of_state=4104,
                  difference={"NDCG@10": Difference(mean=difference, low=difference - 0.01, high=difference + 0.01)}),
        ),
    )  # fmt: skip
    place = {"device": "a processor", "commit": "abcdef0", "date": "2026-01-02T03:04:05+00:00"}
    return json.loads(json.dumps({"format": 1, "set": "compression", **place, **found.as_dict()}))


def test_every_run_is_a_line_by_old_events_and_by_bytes() -> None:
    view = compression(made())
    by_events, by_bytes = view.figure.data[::2], view.figure.data[1::2]
    assert [line.name for line in by_events] == [
        "folded: learnt tokens", "carried: recurrent state", "all: all keys and values"
    ]  # fmt: skip
    assert [list(line.x) for line in by_events] == [[0, 160]] * 3
    assert list(by_events[0].y) == [0.10, 0.12]
    assert by_events[0].error_y.array == pytest.approx([0.01, 0.01])
    assert [list(line.x) for line in by_bytes] == [[4136], [4104], [163_848]]
    assert [list(line.y) for line in by_bytes] == [[0.12], [0.14], [0.13]]
    assert view.table["bytes"].tolist() == [0, 4136, 0, 4104, 0, 163_848]


@pytest.mark.parametrize(
    ("difference", "words"),
    [(-0.02, "favours the state"), (0.02, "favours the tokens"), (0.005, "tells neither apart")],
)
def test_tokens_and_state_of_equal_bytes_are_told_apart_only_outside_of_the_interval(
    difference: float, words: str
) -> None:
    answer = compression(made(difference)).answer
    assert f"is {difference:+.4f} (" in answer
    assert words in answer
    assert "4,136 bytes of tokens (folded) and in 4,104 bytes of state (carried)" in answer
    assert "worth most to all: +0.0400 (+0.0360 to +0.0440) over dropping them" in answer


def test_the_pair_of_most_equal_bytes_is_told_of() -> None:
    study = made()
    more = {"tokens": "folded", "state": "carried", "old_events": 320, "bytes_of_tokens": 9000, "bytes_of_state": 4104}
    study["matches"].append({**study["matches"][0], **more})
    assert "with 160 old events in 4,136 bytes" in compression(study).answer
    study["matches"][-1]["bytes_of_tokens"] = 4100
    assert "with 320 old events in 4,100 bytes" in compression(study).answer


def test_any_metric_of_the_study_can_be_drawn_and_what_was_not_matched_is_not_told() -> None:
    study = made()
    assert metrics_of(study) == ["NDCG@10", "HR@10"]
    view = compression(study, "HR@10")
    assert list(view.figure.data[0].y) == [0.20, 0.24]
    assert "difference" not in view.answer


def test_a_study_without_old_events_is_not_drawn() -> None:
    study = made()
    study["rows"] = [row for row in study["rows"] if not row["old_events"]]
    assert compression(study).figure is None


@pytest.mark.parametrize("broken", [None, [], {}, {"rows": []}, {**made(), "rows": [{"run": "x"}]}],
                         ids=["none", "list", "empty", "no rows", "half a row"])  # fmt: skip
def test_what_is_no_study_is_not_taken_for_one(broken: object) -> None:
    assert readable(made())
    assert not readable(broken)
