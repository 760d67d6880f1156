"""What a longer or shorter pause would change: the decay of each layer, and the rank of an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recblr.data.log import Catalog
from recblr.figures.view import GUTTER, MARGIN, ROLES, View, new_figure, number, percent, time_span

if TYPE_CHECKING:
    from recblr.explain.memory import GapResponse

_DASHES = ("solid", "dash", "dot", "dashdot")


def pauses(found: GapResponse, target: int, catalog: Catalog, *, event: int) -> View:
    """`target` is the internal id that was asked about, `event` the number of the event after the pause."""
    title = catalog.title(target)
    words = ["none" if gap == 0 else time_span(float(gap)) for gap in found.gaps]
    forgets = [n for n in range(len(found.layers)) if np.isfinite(found.decay[n]).all()]
    upper, lower = ([0.6, 1.0], [0.0, 0.46]) if forgets else ([0.0, 1.0], [0.0, 1.0])
    lines = [_decay(found, n, words) for n in forgets]
    rank_axis = "y2" if forgets else "y"
    lines.append(_ranks(found, words, catalog, rank_axis, title))
    top = max(float(found.rank.max()) * 1.6, 10)
    ranks = {"title": {"text": "rank"}, "type": "log", "range": [np.log10(top), np.log10(0.75)], "dtick": 1}
    layout: dict[str, Any] = {"y": {**ranks, "domain": upper}}
    if forgets:
        layout = {
            "y_title": "part kept",
            "y": {"domain": upper, "tickformat": ".3~p"},
            "yaxis2": {**ranks, "domain": lower, "zeroline": False, "fixedrange": True},
        }
    given = np.flatnonzero(found.gaps == found.as_given)
    figure = new_figure(
        lines,
        height=340 if forgets else 240,
        x_title=f"pause before event {event}",
        x={
            "type": "category",
            "categoryarray": words,
            "range": [-0.4, len(words) - 0.6],
            "anchor": rank_axis,
            "automargin": True,
        },
        shapes=[_marker(int(n)) for n in given[:1]],
        showlegend=True,
        margin={"l": GUTTER, "r": MARGIN, "t": 28, "b": 40},
        **layout,
    )
    table = pd.DataFrame({"pause": words, "seconds": found.gaps, "as it was": found.gaps == found.as_given})
    for n in forgets:
        table[f"kept, {found.layers[n]}"] = found.decay[n]
    table[f"rank of {title}"] = found.rank
    table["score"] = found.logit
    table["first choice"] = [catalog.title(int(item)) for item in found.top]
    question = f"What would a longer pause before event {event} change?"
    return View(question=question, answer=_answer(found, forgets, words, title, catalog), figure=figure, table=table)


def _decay(found: GapResponse, n: int, words: list[str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": words,
        "y": found.decay[n],
        "name": f"kept by {found.layers[n]}, median channel",
        "mode": "lines+markers",
        "line": {"color": ROLES["decay"], "dash": _DASHES[n % len(_DASHES)], "width": 2},
        "hovertemplate": "a pause of %{x}: the median channel keeps %{y:.3p}<extra></extra>",
    }


def _ranks(found: GapResponse, words: list[str], catalog: Catalog, axis: str, title: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": words,
        "y": found.rank,
        "yaxis": axis,
        "name": f"rank of “{title}”",
        "mode": "lines+markers",
        "line": {"color": ROLES["state"], "width": 2},
        "customdata": [catalog.title(int(item)) for item in found.top],
        "hovertemplate": "a pause of %{x}: rank %{y:.4~g}<br>first choice: %{customdata}<extra></extra>",
    }


def _marker(place: int) -> dict[str, Any]:
    """The pause as it was, over both panels."""
    line = {"width": 1.5, "dash": "dot", "color": ROLES["quiet"]}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _answer(found: GapResponse, forgets: list[int], words: list[str], title: str, catalog: Catalog) -> str:
    short, long = int(found.gaps.argmin()), int(found.gaps.argmax())

    def after(gap: int) -> str:
        return "without a pause" if words[gap] == "none" else f"after {words[gap]}"

    told = f"The pause was {time_span(found.as_given)}."
    if forgets:
        last = forgets[-1]
        told += (
            f" The median channel of {found.layers[last]} keeps {_share(found.decay[last, short])} of the old state "
        )
        told += f"{after(short)}, {_share(found.decay[last, long])} {after(long)}."
    else:
        told += " No layer fades by itself: the pause is one of the things that attention looks at."
    if (found.rank == found.rank[0]).all():
        told += f" “{title}” stands at {number(float(found.rank[0]), 4)} whatever the pause"
    else:
        told += f" “{title}” stands at {number(float(found.rank[short]), 4)} {after(short)} and at "
        told += f"{number(float(found.rank[long]), 4)} {after(long)}"
    firsts = [catalog.title(int(item)) for item in found.top[[short, long]]]
    if firsts[0] != firsts[1]:
        told += f"; the first choice is “{firsts[0]}” {after(short)} and “{firsts[1]}” {after(long)}"
    return f"{told}."


def _share(kept: float) -> str:
    """Gates lie close to 1, where whole percents hide what differs."""
    return percent(kept) if kept < 0.9 else f"{100 * kept:.1f} %"
