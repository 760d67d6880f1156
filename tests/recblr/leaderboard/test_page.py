"""The page says what the rows hold: seeds, bars, machines, and what is missing."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable

from recblr.leaderboard.cells import TRACKS, Cell
from recblr.leaderboard.entries import entries_of
from recblr.leaderboard.page import page
from recblr.leaderboard.published import read_published
from recblr.leaderboard.rows import RESULTS, TABLE, Row, read_rows

LRUREC = next(track for track in TRACKS if track.name == "ml-1m/lrurec")


def line_of(text: str, *words: str) -> str:
    (found,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return found


def test_a_row_says_everything_that_was_measured(made: Callable[..., Row]) -> None:
    text = page([made(ndcg=0.2012)], read_published())
    said = [cell.strip() for cell in line_of(text, "| LRURec |").strip("|").split("|")]
    assert said == [
        "LRURec", "fixed", ".3219", "**.2012**", ".1912 to .2112", ".1930 ¹ reached", "355,993", "60.0", "2.00",
        "0.50", "4,104 (state)",
    ]  # fmt: skip
    assert "- ¹ LRURec, arXiv 2310.02367, table 3." in text
    assert "Log `0123456789ab`; one seed." in text
    assert "Trained on a small machine: all." in text


def test_a_missed_bar_stands_first_and_in_its_row(made: Callable[..., Row]) -> None:
    text = page([made(ndcg=0.19)], read_published())
    assert "1 missed, 0 reached" in text
    bars = [line for line in text.splitlines() if line.startswith(("| **missed**", "| reached", "| open"))]
    assert bars[0].startswith("| **missed** ≈ | `ml-1m/lrurec` | lrurec | .1900 (short by .0030) | published .1930")
    assert "**missed**" in line_of(text, "| LRURec |")


def test_a_figure_of_another_protocol_is_in_brackets_and_says_what_differs(made: Callable[..., Row]) -> None:
    text = page([made(backbone="recblr", title="RecBLR", ndcg=0.1)], read_published())
    assert "| (.1901) ¹ |" in line_of(text, "| RecBLR |")
    assert "Another protocol, for orientation only: items of the history stay" in text
    assert "0 missed" in text


def test_several_seeds_are_a_mean_with_half_the_range(made: Callable[..., Row]) -> None:
    text = page([made(ndcg=0.20), made(ndcg=0.21, seed=1)], read_published())
    row = line_of(text, "| LRURec |")
    assert "| fixed, 2 seeds |" in row
    assert "**.2050** ± .0050" in row
    assert "± is half the range" in text


def test_times_beside_other_work_are_marked(made: Callable[..., Row]) -> None:
    row = made()
    assert row.training is not None
    busy = dataclasses.replace(
        row,
        training=dataclasses.replace(row.training, beside_other_work=True),
        asking=dataclasses.replace(row.asking, beside_other_work=True),
    )
    assert "| 60.0† | 2.00† | 0.50† |" in line_of(page([busy], read_published()), "| LRURec |")


def test_what_does_not_stream_and_what_does_not_train_has_a_dash(made: Callable[..., Row]) -> None:
    row = made(training=None, objective="counts")
    still = dataclasses.replace(
        row.asking, step_ms=None, step_low_ms=None, step_high_ms=None, state_bytes=3200, state_kind="history"
    )
    text = page([dataclasses.replace(row, asking=still)], read_published())
    assert "| – | 2.00 | – | 3,200 (history) |" in line_of(text, "| LRURec |")


def test_what_is_missing_is_named(made: Callable[..., Row]) -> None:
    missing = [
        Cell(log="ml-1m", protocol="lrurec", backbone=name, preset="fixed", seed=seed)
        for name, seed in (("sasrec", 0), ("lrurec", 1))
    ]
    text = page([made()], read_published(), missing)
    assert "- Not trained yet: sasrec fixed." in text


def test_machines_are_named_with_what_ran_on_them(made: Callable[..., Row]) -> None:
    row = made(backbone="sasrec", title="SASRec")
    assert row.training is not None
    other = dataclasses.replace(row, training=dataclasses.replace(row.training, machine="a large machine"))
    text = page([made(), other], read_published())
    assert "- Trained on a small machine: LRURec fixed." in text
    assert "- Trained on a large machine: SASRec fixed." in text


def test_rows_of_another_log_of_the_same_name_are_not_averaged_with_the_others(made: Callable[..., Row]) -> None:
    entries = entries_of([made(), made(seed=1, fingerprint="ba9876543210")], LRUREC)
    assert [entry.seeds for entry in entries] == [1, 1]


def test_the_best_stands_first(made: Callable[..., Row]) -> None:
    rows = [made(ndcg=0.1, backbone="gru4rec"), made(ndcg=0.3, backbone="sasrec"), made(ndcg=0.2)]
    assert [entry.backbone for entry in entries_of(rows, LRUREC)] == ["sasrec", "lrurec", "gru4rec"]


def test_the_shipped_page_is_made_from_the_shipped_table() -> None:
    rows = read_rows(RESULTS / TABLE)
    shipped = (RESULTS / "README.md").read_text(encoding="utf-8")
    made = page(rows.values(), read_published())
    without = [line for line in shipped.splitlines() if not line.startswith("- Not trained yet")]
    assert without == [line for line in made.splitlines() if not line.startswith("- Not trained yet")]


def test_the_table_and_the_page_need_no_torch() -> None:
    code = (
        "import sys, json, recblr.leaderboard.page, recblr.leaderboard.rows;"
        "print(json.dumps(sorted(name for name in ('torch', 'plotly') if name in sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
