"""How fast backends of an operator are beside a copy of the bytes that it must move, and whether they are right.

The rows are those of a benchmark: one dictionary a program, with "peer", "median_ms", "low_ms", "high_ms", "to_copy",
"bytes", "operations", "error" and "reason"; the first is the copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recblr.figures.view import MARGIN, ROLES, View, new_figure, nothing, number, percent

COPY = "copy"
NAMES = 140
"""Pixels left of the bars, for the names."""

Row = Mapping[str, Any]


def short(peer: str) -> str:
    """As a reader meets it: the project's own backends by their names alone."""
    return peer.removeprefix("lrscan ")


def timed(rows: Sequence[Row]) -> list[Row]:
    """Those that are right and were timed, fastest first, without the copy."""
    return sorted((row for row in rows if "median_ms" in row and row["peer"] != COPY), key=lambda row: row["median_ms"])


def copy_of(rows: Sequence[Row]) -> Row | None:
    """The row of the copy."""
    return next((row for row in rows if row["peer"] == COPY and "median_ms" in row), None)


def speeds(rows: Sequence[Row]) -> View:
    """A bar a program: the median, with the span of 80 % of its calls, and the copy as a line."""
    question = "How fast is it, and is it right?"
    found, copy = timed(rows), copy_of(rows)
    if not found or copy is None:
        reasons = "; ".join(f"{short(row['peer'])}: {row['reason']}" for row in rows if row.get("reason"))
        return nothing(question, f"Nothing was timed. {reasons}".strip())
    slowest_first = found[::-1]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [short(row["peer"]) for row in slowest_first],
        "x": [row["median_ms"] for row in slowest_first],
        "error_x": {
            "array": [row["high_ms"] - row["median_ms"] for row in slowest_first],
            "arrayminus": [row["median_ms"] - row["low_ms"] for row in slowest_first],
            "thickness": 1.5,
            "color": ROLES["quiet"],
        },
        "marker": {"color": ROLES["state"]},
        "text": [f"{number(row['median_ms'])} ms, error {row['error']:.0e}" for row in slowest_first],
        "textposition": "auto",
        "insidetextanchor": "start",
        "insidetextfont": {"color": "#ffffff"},
        "customdata": [[row["error"], row["repeats"]] for row in slowest_first],
        "hovertemplate": "%{y}: %{x:.3~g} ms, the median of %{customdata[1]} calls<br>"
        "error %{customdata[0]:.1e} against float64<extra></extra>",
    }
    line = {"width": 2, "dash": "dash", "color": ROLES["attention"]}
    at = copy["median_ms"]
    label = {"x": at, "y": 1, "yref": "y domain", "yanchor": "bottom", "showarrow": False, "text": "a copy"}
    figure = new_figure(
        [bars],
        height=90 + 34 * len(found),
        x_title="milliseconds (less is better)",
        x={"rangemode": "tozero", "showgrid": True},
        y={"nticks": None},
        margin={"l": NAMES, "r": MARGIN, "t": 26, "b": 40},
        shapes=[{"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "y domain", "line": line}],
        annotations=[label],
    )
    return View(question=question, answer=_answer(found, copy), figure=figure, table=table(rows))


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """Every program with its times, its error, its bandwidth, or the reason for having none."""
    return pd.DataFrame(
        {
            "program": [short(row["peer"]) for row in rows],
            "median ms": [row.get("median_ms") for row in rows],
            "80 % of calls, ms": [_span(row) for row in rows],
            "calls": [row.get("repeats") for row in rows],
            "error": [None if row.get("error") is None else f"{row['error']:.1e}" for row in rows],
            "GB/s": [row.get("gb_per_second") for row in rows],
            "% of copy": [100 / row["to_copy"] if "to_copy" in row else None for row in rows],
            "peak MiB": [_mebibytes(row.get("peak_bytes")) for row in rows],
            "not timed because": [row.get("reason") for row in rows],
        }
    ).dropna(axis="columns", how="all")


def _span(row: Row) -> str | None:
    return f"{number(row['low_ms'])} to {number(row['high_ms'])}" if "low_ms" in row else None


def _mebibytes(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def _answer(found: Sequence[Row], copy: Row) -> str:
    best = found[0]
    said = (
        f"{short(best['peer']).capitalize()} takes {number(best['median_ms'])} ms ({_span(best)} in 80 % of "
        f"{best['repeats']} calls) and differs from float64 by at most {best['error']:.0e} of the largest value. "
        f"It must move {number(best['bytes'] / 1e6)} MB, and does so at {number(best['gb_per_second'])} GB/s: "
        f"{percent(1 / best['to_copy'])} of the bandwidth of a copy measured in turns with it "
        f"({number(copy['gb_per_second'])} GB/s)."
    )
    if len(found) > 1:
        ratio = found[1]["median_ms"] / best["median_ms"]
        said += f" Next is {short(found[1]['peer'])}, {number(ratio, 2)} times as slow."
    return said
