"""Numbers in cells can be read, whatever the page behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recblr.explain.faithfulness.agreement import Agreement
from recblr.figures import View, method_agreement, overlap, scoreboard
from recblr.figures.shades import amount, contrast, ink, shade, signed
from recblr.figures.view import ROLES

READABLE = 4.5


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert contrast("#2a9d5c", "#2a9d5c") == 1


def test_a_scale_is_mixed_between_its_stops() -> None:
    scale = [(0.0, "#000000"), (0.5, "#646464"), (1.0, "#640000")]
    assert [shade(scale, at) for at in (-1, 0, 0.25, 0.5, 0.75, 1, 2)] == [
        "#000000", "#000000", "#323232", "#646464", "#643232", "#640000", "#640000"
    ]  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_the_ink_can_be_read_at_every_place_of_every_scale(role: str) -> None:
    for scale in (amount(role), signed()):
        worst = min(contrast(ink(scale, at), shade(scale, at)) for at in np.linspace(0, 1, 101).tolist())
        assert worst >= READABLE


def agreeing() -> View:
    values = np.array([[1, 0.9, -0.2], [0.9, 1, -1.0], [-0.2, -1.0, 1]])
    found = Agreement(methods=("a", "b", "c"), correlation=values, same_first=values > 0)
    return method_agreement(found, {})


def pointing() -> View:
    cells = [("one", "echo", 0.0), ("one", "recall", 0.5), ("two", "echo", 1.0), ("two", "recall", None)]
    rows: list[dict[str, Any]] = [{"method": a, "cause": b, "hit@1": value} for a, b, value in cells]
    return scoreboard(rows, {})


@pytest.mark.parametrize(
    "view", [overlap({"one": "abcde", "two": "abced", "three": "vwxyz"}), agreeing(), pointing()],
    ids=["overlap", "method agreement", "scoreboard"],
)  # fmt: skip
def test_every_number_in_a_cell_can_be_read_on_its_cell(view: View) -> None:
    """Each cell is opaque, so what is behind it does not matter."""
    assert view.figure is not None
    cells, notes = view.figure.data[0], view.figure.layout.annotations
    scale = [tuple(stop) for stop in cells.colorscale]
    assert all(color.startswith("#") for _, color in scale)
    values = np.asarray(cells.z, dtype=float)
    assert len(notes) >= np.isfinite(values).sum() > 0
    names = [list(cells.x or range(values.shape[1])), list(cells.y or range(values.shape[0]))]
    for note in notes:
        value = values[names[1].index(note.y), names[0].index(note.x)]
        if np.isfinite(value):
            color = shade(scale, (value - cells.zmin) / (cells.zmax - cells.zmin))
            assert contrast(note.font.color, color) >= READABLE
