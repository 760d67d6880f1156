"""Since when would the model recommend an item? Its rank after every event, read off each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recblr.data.log import Catalog
from recblr.figures.events import Events
from recblr.figures.horizon import events_axis
from recblr.figures.view import GUTTER, MARGIN, ROLES, View, cursor, new_figure, number, plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recblr.explain.memory import Lens


def since_when(lens: Lens, target: int, events: Events, catalog: Catalog, *, step: int) -> View:
    """`lens` of the same events; `target` is the internal id it was asked about, `step` counts from 0."""
    title, n_items = catalog.title(target), catalog.n_items
    own = lens.rank[-1]
    lines = [
        _line(events, lens, n, catalog, layer, ROLES["quiet"], dash)
        for n, (layer, dash) in enumerate(
            zip(lens.layers[:-1], ("dot", "dash", "dashdot", "longdash") * 9, strict=False)
        )
    ]
    figure = new_figure(
        [*lines, _line(events, lens, len(lens.layers) - 1, catalog, "the model's answer", ROLES["state"], "solid")],
        height=260,
        x_title="event",
        y_title=f"rank of {n_items:,}",
        x=events_axis(events),
        y={"type": "log", "range": [np.log10(1.6 * max(float(lens.rank.max()), 10)), np.log10(0.75)], "dtick": 1},
        shapes=[cursor(events.first + step)],
        showlegend=True,
        margin={"l": GUTTER, "r": MARGIN, "t": 28, "b": 40},
    )
    table = events.frame().assign(rank=own, **{"log-probability": lens.log_prob[-1]})
    table["first choice then"] = [catalog.title(int(item)) for item in lens.top[-1]]
    for n, layer in enumerate(lens.layers[:-1]):
        table[f"rank, {layer}"] = lens.rank[n]
    answer = f"{_answer(own, step, title, n_items, events)}{_layers(lens, step)}"
    return View(question=f"Since when would it recommend “{title}”?", answer=answer, figure=figure, table=table)


def _line(events: Events, lens: Lens, n: int, catalog: Catalog, name: str, color: str, dash: str) -> dict[str, Any]:
    first = [catalog.title(int(item)) for item in lens.top[n]]
    return {
        "type": "scatter",
        "x": events.numbers,
        "y": lens.rank[n],
        "name": name,
        "mode": "lines+markers",
        "marker": {"size": 5 if dash == "solid" else 3, "color": color},
        "line": {"color": color, "dash": dash, "width": 2 if dash == "solid" else 1.5},
        "customdata": [[event, one] for event, one in zip(events.titles, first, strict=True)],
        "hovertemplate": f"after event %{{x}}, %{{customdata[0]}}<br>{name}: rank %{{y:.4~g}}"
        "<br>its first choice: %{customdata[1]}<extra></extra>",
    }


def _answer(rank: NDArray[np.float64], step: int, title: str, n_items: int, events: Events) -> str:
    now, at = float(rank[step]), events.first + step
    told = f"After event {at} it ranks “{title}” {number(now, 4)} of {n_items:,}"
    before = rank[: step + 1]
    if now > 1:
        best = int(before.argmin())
        if best == step:
            return f"{told}, higher than after any event before."
        return f"{told}; highest it stood after event {events.first + best}, at {number(float(before[best]), 4)}."
    others = np.flatnonzero(before > 1)
    if not len(others):
        return f"{told}, as after every event that it read."
    since = int(others[-1]) + 1
    if since == step:
        return f"{told}; after the event before, it stood at {number(float(before[step - 1]), 4)}."
    return f"{told}, and has done so since event {events.first + since}, for {plural(step - since + 1, 'event')}."


def _layers(lens: Lens, step: int) -> str:
    """What the earlier layers would say; they were not trained to be read."""
    if len(lens.layers) < 2:
        return ""
    told = " and ".join(f"{name} at {number(float(lens.rank[n, step]), 4)}" for n, name in enumerate(lens.layers[:-1]))
    return f" Read off the layers below, which were not trained to be read so, it would stand: {told}."
