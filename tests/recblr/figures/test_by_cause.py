"""Models by cause, and against what they keep of a user."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recblr.figures import against_state, by_cause
from recblr.figures.by_cause import rows_of
from recblr.runs import SAMPLE_ROOT, list_runs


def row(cause: str, value: float, *, planted: bool = True, **more: Any) -> dict[str, Any]:
    return {"cause": cause, "planted": planted, "targets": 40, "metrics": {"HR@1": value, "HR@10": 1.0},
            "intervals": {"HR@1": [value - 0.1, value + 0.1]}, **more}  # fmt: skip


FOUND = {
    "small": [row("echo", 1.0), row("habit", 0.2), row("noise", 0.9, planted=False)],
    "large": [row("echo", 0.9), row("habit", 0.8), row("noise", 0.0, planted=False)],
    "none": [row("echo", 0.0), row("habit", 0.0), row("noise", 0.0, planted=False)],
}
KEPT = {"small": (512, "state"), "large": (160_000, "cache"), "none": (0, "state")}


def test_models_are_ordered_by_what_was_planted_alone() -> None:
    view = by_cause(FOUND)
    cells = view.figure.data[0]
    assert list(cells.y) == ["large", "small", "none"]
    assert list(cells.x) == ["echo", "habit", "noise"]
    np.testing.assert_allclose(cells.z[1], [1.0, 0.2, 0.9])
    assert "Of what was planted (echo, habit), large puts most first, 85 %" in view.answer
    assert "differ most on echo: 0 % to 100 %" in view.answer
    assert len(view.table) == 9


def test_a_model_that_was_not_asked_for_a_cause_leaves_its_cell_empty() -> None:
    view = by_cause({"one": [row("echo", 1.0)], "two": [row("habit", 0.5)]})
    assert np.isnan(np.asarray(view.figure.data[0].z)[0, 1])
    assert by_cause({}).figure is None
    assert "drawn anew" in by_cause({"one": [row("noise", 0.1, planted=False)]}).answer


def test_success_stands_over_the_bytes_with_a_shape_for_what_is_kept() -> None:
    view = against_state(FOUND, KEPT, "habit")
    assert [(list(dots.x), list(dots.y), dots.marker.symbol) for dots in view.figure.data] == [
        ([512], [0.2], "circle"), ([160_000], [0.8], "diamond")
    ]  # fmt: skip
    assert view.figure.data[1].error_y.array == pytest.approx([0.1])
    assert "large is right most often (80 %, 160,000 bytes)" in view.answer
    assert "rank correlation of 1.00" in view.answer
    assert "nothing is kept of a user: none" in view.answer
    assert view.table["bytes kept"].tolist() == [512, 160_000, 0]


def test_the_least_that_does_nearly_as_well_is_named_and_equal_success_has_no_correlation() -> None:
    level = {name: [row("habit", 0.5)] for name in ("small", "large")}
    view = against_state(level, KEPT, "habit")
    assert "correlation" not in view.answer
    near = {"small": [row("habit", 0.78)], "large": [row("habit", 0.8)]}
    assert "within 5 percentage points of it, small keeps least, 512 bytes" in against_state(near, KEPT, "habit").answer
    assert against_state(FOUND, {"small": KEPT["small"]}, "habit").figure is None
    assert against_state(FOUND, KEPT, "fork").figure is None


def test_points_too_near_for_labels_of_their_own_share_one() -> None:
    found = {name: [row("habit", value)] for name, value in (("a", 0.5), ("b", 0.501), ("c", 0.9))}
    view = against_state(found, {"a": (1000, "state"), "b": (1001, "cache"), "c": (1000, "state")}, "habit")
    texts = {name: text for dots in view.figure.data for name, text in zip(dots.customdata, dots.text, strict=True)}
    assert texts == {"a": "a, b", "b": "", "c": "c"}


def test_the_shipped_runs_say_by_cause_what_they_get_right() -> None:
    runs = [info for info in list_runs([SAMPLE_ROOT]) if info.data.get("name") == "mixed"]
    assert runs
    for info in runs:
        causes = [one["cause"] for one in rows_of(info.metrics)]
        assert {"sequel", "echo", "recall", "habit", "fork"} <= set(causes), info.name


@pytest.mark.parametrize(
    "metrics",
    [{}, {"test": None}, {"test": {"per_cause": None}}, {"test": {"per_cause": [1, {}, {"cause": "echo"}]}},
     {"test": {"per_cause": [row("echo", 1.0) | {"metrics": {"HR@1": "much"}}]}}],
    ids=["none", "no test", "no causes", "no rows", "no numbers"],
)  # fmt: skip
def test_metrics_that_cannot_be_read_have_no_rows(metrics: dict[str, Any]) -> None:
    assert rows_of(metrics) == []
