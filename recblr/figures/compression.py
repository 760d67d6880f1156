"""What is lost when the old part of a history is compressed: by how much of it, and by how many bytes are kept.

Left: the value over the number of old events that tokens, a state, or nothing stand for. Right: the same values over
the bytes that stand for them, so that at equal bytes one is above the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recblr.figures.view import GUTTER, MARGIN, ROLES, View, new_figure, nothing, plural

QUESTION = "What is lost when the old part of a history is compressed?"
NEEDED = {"rows", "matches", "log", "protocol", "part", "targets", "users", "recent", "device", "commit", "date"}
"""What a written study must hold to be drawn."""
_KEPT = {
    "tokens": ("learnt tokens", ROLES["write"], "diamond"),
    "state": ("recurrent state", ROLES["state"], "circle"),
    "cache": ("all keys and values", ROLES["attention"], "square"),
    "history": ("the old events themselves", ROLES["quiet"], "cross"),
    "dropped": ("nothing", ROLES["quiet"], "x"),
}
"""What stands for the old events -> (words, colour, shape)."""
_DASHES = ("solid", "dash", "dot", "dashdot")

Study = Mapping[str, Any]
"""As `recblr compression-study --out` writes it."""


def readable(study: object) -> bool:
    """Whether it is a study that can be drawn."""
    if not isinstance(study, Mapping) or not study.keys() >= NEEDED or not isinstance(study["rows"], list):
        return False
    fields = {"run", "kept", "old_events", "bytes_of_user", "metrics", "intervals", "gain"}
    return bool(study["rows"]) and all(isinstance(row, Mapping) and row.keys() >= fields for row in study["rows"])


def metrics_of(study: Study) -> list[str]:
    """Names of what can be drawn, NDCG first."""
    return sorted(study["rows"][0]["metrics"], key=lambda name: (not name.startswith("NDCG"), name))


def compression(study: Study, metric: str = "NDCG@10") -> View:
    """The figure of a written study; KeyError for a metric that it has not."""
    lines = curves(study["rows"], metric)
    if not any(line["old"][-1] for line in lines):
        return nothing(QUESTION, "Nothing was compressed in this study: it has no row with old events.")
    within: dict[str, int] = {}
    traces = []
    for line in lines:
        dash = _DASHES[within.setdefault(line["kept"], 0) % len(_DASHES)]
        within[line["kept"]] += 1
        traces += _line(line, dash)
    figure = new_figure(
        traces,
        height=380,
        x_title="old events that it stands for",
        y_title=metric,
        x={"domain": [0, 0.47], "tickvals": lines[0]["old"]},
        y={"tickformat": ".3f"},
        xaxis2={
            "domain": [0.55, 1],
            "type": "log",
            "title": {"text": "bytes kept of a user's old events"},
            "showgrid": True,
            "dtick": 1,
            "fixedrange": True,
        },
        showlegend=True,
        margin={"l": GUTTER, "r": MARGIN, "t": 62, "b": 44},
    )
    return View(question=QUESTION, answer=_answer(study, lines, metric), figure=figure, table=_table(study, metric))


def curves(rows: Sequence[Mapping[str, Any]], metric: str = "NDCG@10") -> list[dict[str, Any]]:
    """A figure's data from the rows of a written study: for each run, by number of old events, value and bytes."""
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda one: int(one["old_events"])):
        line = found.setdefault(
            row["run"],
            {"run": row["run"], "kept": "dropped", "old": [], "bytes": [], "value": [], "low": [], "high": []},
        )
        line["kept"] = row["kept"]  # of the most old events
        low, high = row["intervals"][metric]
        for key, value in (("old", row["old_events"]), ("bytes", row["bytes_of_user"]), ("low", low), ("high", high)):
            line[key].append(value)
        line["value"].append(row["metrics"][metric])
    return list(found.values())


def _line(line: Mapping[str, Any], dash: str) -> list[dict[str, Any]]:
    """A run in both panels; without old events nothing is kept, which has no place on a scale of powers."""
    words, color, symbol = _KEPT[line["kept"]]
    shared = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{line['run']}: {words}",
        "legendgroup": line["run"],
        "line": {"color": color, "dash": dash, "width": 2},
        "marker": {"color": color, "symbol": symbol, "size": 9},
    }
    value, bounds = line["value"], (line["low"], line["high"])
    bars = {
        "array": [high - one for one, high in zip(value, bounds[1], strict=True)],
        "arrayminus": [one - low for one, low in zip(value, bounds[0], strict=True)],
        "width": 0,
        "thickness": 1,
    }
    hover = "%{y:.4f} with %{customdata[0]} old events in %{customdata[1]:,} bytes"
    told = list(zip(line["old"], line["bytes"], strict=True))
    first = {**shared, "x": line["old"], "y": value, "error_y": bars, "customdata": told}
    kept = [n for n, size in enumerate(line["bytes"]) if size > 0]
    second = {
        **shared,
        "x": [line["bytes"][n] for n in kept],
        "y": [value[n] for n in kept],
        "xaxis": "x2",
        "showlegend": False,
        "customdata": [told[n] for n in kept],
    }
    return [{**one, "hovertemplate": f"{line['run']}: {hover}<extra></extra>"} for one in (first, second)]


def _answer(study: Study, lines: Sequence[Mapping[str, Any]], metric: str) -> str:
    most = max(line["old"][-1] for line in lines)
    told = (
        f"Of {plural(int(study['targets']), 'target')} of {plural(int(study['users']), 'user')}, each with "
        f"{study['recent']} recent events read as they are"
    )
    matches = [one for one in study["matches"] if metric in one["difference"]]
    if matches:  # the pair of most equal bytes, and of several such the one of most old events
        one = min(matches, key=lambda match: (_apart(match), -match["old_events"]))
        gap = one["difference"][metric]
        better = "tells neither apart" if gap["low"] <= 0 <= gap["high"] else (
            "favours the tokens" if gap["mean"] > 0 else "favours the state")  # fmt: skip
        told += (
            f": with {one['old_events']} old events in {one['bytes_of_tokens']:,} bytes of tokens ({one['tokens']}) "
            f"and in {one['bytes_of_state']:,} bytes of state ({one['state']}), the difference in {metric} is "
            f"{gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f}), which {better}"
        )
    gains = [row for row in study["rows"] if row["old_events"] == most]
    best = max(gains, key=lambda row: row["gain"][metric]["mean"])
    gain = best["gain"][metric]
    return (
        f"{told}. The old events are worth most to {best['run']}: {gain['mean']:+.4f} "
        f"({gain['low']:+.4f} to {gain['high']:+.4f}) over dropping them."
    )


def _apart(match: Mapping[str, Any]) -> float:
    """How far the bytes of a pair are from equal, in tenths of the factor between them: a header is no difference."""
    return round(abs(math.log(match["bytes_of_tokens"] / match["bytes_of_state"])), 1)


def _table(study: Study, metric: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "run": row["run"],
                "kept": row["kept"],
                "old events": row["old_events"],
                "bytes": row["bytes_of_user"],
                metric: row["metrics"][metric],
                "95 % of users": " to ".join(f"{one:.4f}" for one in row["intervals"][metric]),
                "gain over dropping": row["gain"][metric]["mean"],
                "gain, 95 %": f"{row['gain'][metric]['low']:+.4f} to {row['gain'][metric]['high']:+.4f}",
            }
            for row in study["rows"]
        ]
    )
