"""How the time of each program grows with the length of sequences, or with their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from recblr.figures.roofline import SYMBOLS
from recblr.figures.speeds import COPY, Row, short
from recblr.figures.view import MARGIN, ROLES, View, new_figure, nothing, number

LETTERS = {"time": "T", "batch": "B"}
WORDS = {"time": "events a sequence", "batch": "sequences"}
COLORS = ("#2a9d5c", "#2f7fd6", "#d6453d", "#b58900", "#0f8b8d", "#c2478f")
DASHES = ("solid", "dot", "dashdot", "longdash")
KEYS = (15, 24)
"""Pixels a line of the legend, and above it."""


def scaling(rows: Sequence[Row], along: str) -> View:
    """Log-log lines of the median over `along` ("time" or "batch"), a line a program, the copy among them."""
    question = f"How does the time grow with {WORDS[along]}?"
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if "median_ms" in row:
            lines.setdefault(row["peer"], []).append(row)
    if not lines:
        return nothing(question, "Nothing was timed.")
    entries = -(-len(lines) // 2) * KEYS[0] + KEYS[1]
    figure = new_figure(
        [_line(peer, points, along, n) for n, (peer, points) in enumerate(lines.items())],
        height=340 + entries,
        x_title=f"{LETTERS[along]}, {WORDS[along]}",
        y_title="milliseconds",
        x={"type": "log", "showgrid": True, "tickvals": sorted({row[along] for row in rows})},
        y={"type": "log", "dtick": 1, "nticks": None},
        showlegend=True,
        margin={"l": 64, "r": MARGIN, "t": entries, "b": 44},
    )
    table = pd.DataFrame(
        [
            {
                LETTERS[along]: row[along],
                "program": short(row["peer"]),
                "median ms": row.get("median_ms"),
                "low ms": row.get("low_ms"),
                "high ms": row.get("high_ms"),
                "error": None if row.get("error") is None else f"{row['error']:.1e}",
                "not timed because": row.get("reason"),
            }
            for row in rows
        ]
    ).dropna(axis="columns", how="all")
    return View(question=question, answer=_answer(lines, along), figure=figure, table=table)


def _line(peer: str, points: Sequence[Row], along: str, n: int) -> dict[str, Any]:
    ours = bool(points[0].get("ours"))
    color = ROLES["quiet"] if peer == COPY else ROLES["state"] if ours else COLORS[n % len(COLORS)]
    return {
        "type": "scatter",
        "x": [row[along] for row in points],
        "y": [row["median_ms"] for row in points],
        "name": short(peer),
        "mode": "lines+markers",
        "marker": {"size": 7, "symbol": SYMBOLS[n % len(SYMBOLS)], "color": color},
        "line": {"color": color, "width": 2.5 if ours else 1.5, "dash": "dash" if peer == COPY else DASHES[n % 4]},
        "hovertemplate": f"{short(peer)}, {LETTERS[along]} = %{{x}}: %{{y:.3~g}} ms<extra></extra>",
    }


def _answer(lines: dict[str, list[Row]], along: str) -> str:
    largest = max(row[along] for points in lines.values() for row in points)
    there = {peer: points[-1] for peer, points in lines.items() if points[-1][along] == largest and peer != COPY}
    ranked = sorted(there.values(), key=lambda row: row["median_ms"])
    if not ranked:
        return "Only the copy was timed."
    best = ranked[0]
    said = f"At {LETTERS[along]} = {largest:,} {short(best['peer'])} is fastest with {number(best['median_ms'])} ms"
    peers = [row for row in ranked if not row.get("ours")]
    if best.get("ours") and peers:
        said += f", {number(peers[0]['median_ms'] / best['median_ms'], 2)} times as fast as {short(peers[0]['peer'])}"
        said += ", the fastest peer that is installed"
    points = lines[best["peer"]]
    if len(points) > 1:
        first, last = points[-2], points[-1]
        power = math.log(last["median_ms"] / first["median_ms"]) / math.log(last[along] / first[along])
        said += f". Between the last two sizes its time grows as {LETTERS[along]} to the power {number(power, 2)}"
    return said + "."
