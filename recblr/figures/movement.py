"""How a top list moves when the history changes: before on the left, after on the right, equal items joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from recblr.data.log import Catalog
from recblr.figures.view import MARGIN, ROLES, View, new_figure, number, plural

if TYPE_CHECKING:
    from recblr.explain.outcomes import Outcomes  # which imports torch


QUESTION = "What would be recommended instead?"
_TITLE = 24
_SIDE = 1.5
"""Width left on each side for the titles, in distances between the lists."""


def movement(before: Outcomes, after: Outcomes, target: int, catalog: Catalog, *, name: str = "after") -> View:
    """Top k of two histories (row 0 of each). `target` is the internal id of the item asked about; `name` heads the
    right side."""
    old, new = _list(before), _list(after)
    k = max(len(old), len(new))
    lines = [_line(old.index(item), new.index(item), item, target) for item in old if item in new]
    lines.append(_dots(0, old, new, catalog))
    lines.append(_dots(1, new, old, catalog))
    notes = [_title(0, row, item, target, catalog) for row, item in enumerate(old)]
    notes += [_title(1, row, item, target, catalog) for row, item in enumerate(new)]
    notes += [_head(0, "as given"), _head(1, name)]
    figure = new_figure(
        lines,
        height=60 + 27 * k,
        x_title="",
        x={"range": [-_SIDE, 1 + _SIDE], "visible": False},
        y={"range": [k + 0.6, 0.4], "visible": False},
        annotations=notes,
        margin={"l": MARGIN, "r": MARGIN, "t": 30, "b": 8},
    )
    return View(
        question=QUESTION,
        answer=_answer(before, after, old, new, target, catalog),
        figure=figure,
        table=_table(before, after, old, new, catalog),
    )


def _list(outcome: Outcomes) -> list[int]:
    return [item for item in outcome.top[0].tolist() if item]


def _line(before: int, after: int, item: int, target: int) -> dict[str, Any]:
    role = "attention" if item == target else "quiet" if before == after else "state"
    return {
        "type": "scatter",
        "x": [0, 1],
        "y": [before + 1, after + 1],
        "mode": "lines",
        "line": {"width": 3 if item == target else 1.5, "color": ROLES[role]},
        "hoverinfo": "skip",
    }


def _dots(side: int, items: list[int], others: list[int], catalog: Catalog) -> dict[str, Any]:
    """The ends of the lines; an open dot is of an item that the other list does not have."""
    told = [f"{catalog.title(item)}: rank {row}" for row, item in enumerate(items, 1)]
    return {
        "type": "scatter",
        "x": [side] * len(items),
        "y": list(range(1, len(items) + 1)),
        "mode": "markers",
        "marker": {
            "size": 9,
            "color": ROLES["state"],
            "symbol": ["circle" if item in others else "circle-open" for item in items],
        },
        "text": told,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _title(side: int, row: int, item: int, target: int, catalog: Catalog) -> dict[str, Any]:
    title = catalog.title(item)
    text = title if len(title) <= _TITLE else title[: _TITLE - 1] + "…"
    text = f"<b>{text}</b>" if item == target else text
    return {
        "x": side,
        "y": row + 1,
        "text": f"{text} · {row + 1}" if side == 0 else f"{row + 1} · {text}",
        "xanchor": "right" if side == 0 else "left",
        "xshift": -10 if side == 0 else 10,
        "showarrow": False,
        "font": {"size": 11},
    }


def _head(side: int, text: str) -> dict[str, Any]:
    anchor = "right" if side == 0 else "left"
    return {
        "x": side, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": anchor,
        "text": f"<b>{text}</b>", "showarrow": False,
    }  # fmt: skip


def _answer(before: Outcomes, after: Outcomes, old: list[int], new: list[int], target: int, catalog: Catalog) -> str:
    came = [item for item in new if item not in old]
    was, now = float(before.rank[0]), float(after.rank[0])
    verb = "stays at" if was == now else "falls from" if now > was else "rises from"
    move = f"{verb} rank {number(was, 4)}" + ("" if was == now else f" to {number(now, 4)}")
    score, then = number(float(before.score[0])), number(float(after.score[0]))
    moves = f"stays {score}" if score == then else f"goes from {score} to {then}"
    told = f"“{catalog.title(target)}” {move}; its score {moves}."
    if not came:
        same = "in the same order" if old == new else "in another order"
        return f"{told} The list holds the same {plural(len(new), 'item')}, {same}."
    first = catalog.title(came[0])
    come = "comes" if len(came) == 1 else "come"
    return f"{told} {plural(len(came), 'item')} of {len(new)} {come} in, first “{first}”."


def _table(before: Outcomes, after: Outcomes, old: list[int], new: list[int], catalog: Catalog) -> pd.DataFrame:
    """One row an item of either list."""
    scores_old = dict(zip(before.top[0].tolist(), before.top_scores[0].tolist(), strict=True))
    scores_new = dict(zip(after.top[0].tolist(), after.top_scores[0].tolist(), strict=True))
    items = [*new, *(item for item in old if item not in new)]
    return pd.DataFrame(
        {
            "item": [str(catalog.ids[item]) for item in items],
            "title": [catalog.title(item) for item in items],
            "rank before": pd.array([old.index(item) + 1 if item in old else None for item in items], dtype="Int64"),
            "rank after": pd.array([new.index(item) + 1 if item in new else None for item in items], dtype="Int64"),
            "score before": [scores_old.get(item) for item in items],
            "score after": [scores_new.get(item) for item in items],
        }
    )
