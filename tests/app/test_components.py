"""What the browser is handed: scripts that keep to the rules, and data of the right shape."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from components import assets, heatmap, strip
from tests_app import APP

from recblr.data.log import Catalog
from recblr.figures import describe
from recblr.figures.matrix import Matrix

SCRIPTS = sorted((APP / "components").glob("*.js"))
EVIL = "<img src=x onerror=alert(1)>"


def events(steps: int):
    catalog = Catalog(ids=np.array(["", "a", "b"]), titles=np.array(["", EVIL, "*b*"]))
    return describe(np.arange(steps) % 2 + 1, np.arange(steps) * 3600, catalog)


def drawn(rows: int, columns: int) -> Matrix:
    values = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    labels = tuple(str(n) for n in range(rows))
    return Matrix(name="state", values=values, rows=np.arange(rows), labels=labels, low=-3.0, high=3.0, signed=True)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_writes_text_and_never_markup(path: Path) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_asks_no_other_host(path: Path) -> None:
    addresses = re.findall(r"https?://[^\s\"'`]+", path.read_text())
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}


def test_every_component_has_its_script_and_its_style() -> None:
    for path in (APP / "components").glob("*.py"):
        if path.stem not in {"__init__", "assets"}:
            assert "export default" in assets.script(path.stem)
            assert assets.style(path.stem).strip()


def test_packed_numbers_are_little_endian_floats_row_by_row() -> None:
    assert assets.packed(np.array([[1.0, 2.0]])) == "AACAPwAAAEA="


def test_titles_travel_as_they_are() -> None:
    data = strip.payload(events(4), subject="s", step=1)
    assert data["titles"][0] == EVIL
    assert data["pauses"] == ["", "1 hour later", "1 hour later", "1 hour later"]


def test_a_matrix_too_large_for_its_arithmetic_is_sent_without_it() -> None:
    from recblr.figures.matrix import Arithmetic

    def terms(rows: int, columns: int) -> Arithmetic:
        cells = np.zeros((rows, columns), dtype=np.float32)
        return Arithmetic(decay=cells, phase=None, state=cells, start=np.zeros(rows, np.float32), write=cells)

    def sent(rows: int, columns: int) -> dict:
        return heatmap.payload(
            drawn(rows, columns), terms(rows, columns), events(columns), subject="s", step=1, channel=0, alt="a"
        )

    assert sent(12, 200)["terms"] is not None
    assert sent(256, 200)["terms"] is None


def test_rows_are_high_enough_to_read_when_few_and_all_fit_when_many() -> None:
    def height(rows: int) -> int:
        return heatmap.payload(drawn(rows, 3), None, events(3), subject="s", step=1, channel=0, alt="a")["row_height"]

    assert height(12) == 20
    assert 128 * height(128) <= 640
    assert height(1000) >= 3
