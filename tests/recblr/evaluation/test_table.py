"""The tables that documents quote, made from the files beside the shipped runs."""

from __future__ import annotations

import json
from pathlib import Path

from recblr.evaluation.table import rows, rows_by_cause

SHIPPED = Path(__file__).parents[3] / "sample_data" / "checkpoints"


def test_each_shipped_run_has_a_line_and_the_best_of_a_log_comes_first() -> None:
    found = rows(SHIPPED)
    assert len(found) == len(list(SHIPPED.glob("*/*/metrics.json")))
    mixed = [float(line.split("|")[4]) for line in found if "mixed/" in line]
    assert mixed == sorted(mixed, reverse=True)


def test_a_table_by_cause_has_the_runs_that_were_tested_on_a_log_with_causes() -> None:
    head, found = rows_by_cause(SHIPPED)
    assert len(found) == len(list(SHIPPED.glob("mixed/*/metrics.json")))
    (line,) = [one for one in found if "mixed/recblr]" in one]
    told = json.loads((SHIPPED / "mixed" / "recblr" / "metrics.json").read_text(encoding="utf-8"))
    wanted = {row["cause"]: f"{row['metrics']['HR@1']:.2f}" for row in told["test"]["per_cause"]}
    assert dict(zip(head[1:], [cell.strip() for cell in line.split("|")[2:-1]], strict=True)) == wanted


def test_a_folder_without_such_runs_has_no_table_by_cause(tmp_path: Path) -> None:
    assert rows_by_cause(tmp_path) == (["model"], [])
