"""Why this item and not that one: what each event adds to the lead, as steps that are seen to reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recblr.data.log import Catalog
from recblr.explain.attribution import UNRELIABLE, Attribution
from recblr.figures.events import Events, describe
from recblr.figures.horizon import events_axis
from recblr.figures.view import MARGIN, ROLES, UNDIMMED, View, cursor, new_figure, number, percent, plural

NAMES = 200
"""Pixels left of the bars, for the events' titles."""
MOST = 8
"""Events with a bar of their own until all are asked for."""
HELD = 0.8
"""Part of all that is added, for or against, which is told to lie in few events."""
_SEEN = 2e-3
"""Error, as a part of the logit, from which on it has a bar of its own."""
_TITLE = 24
"""Letters of a title beside a bar."""


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One bar of the waterfall."""

    name: str
    hover: str
    size: float
    role: str
    event: int = 0
    """Number of the event; 0 where the bar is of none, or of many."""


def explained_events(
    attribution: Attribution,
    catalog: Catalog,
    *,
    first: int = 1,
    causes: tuple[str, ...] = (),
    cause_from: tuple[int, ...] = (),
) -> Events:
    """The events that an explanation is about, named. `first`: number of the first of them in the whole history."""
    times = np.zeros_like(attribution.items) if attribution.times is None else attribution.times
    return describe(
        attribution.items,
        times,
        catalog,
        has_times=attribution.times is not None,
        first=first,
        causes=causes,
        cause_from=cause_from,
    )


def question_of(attribution: Attribution, catalog: Catalog) -> str:
    """What an explanation answers."""
    target = catalog.title(attribution.target)
    if attribution.contrast is None:
        return f"Why does “{target}” get its score?"
    return f"Why “{target}” and not “{catalog.title(attribution.contrast)}”?"


def waterfall(
    attribution: Attribution, events: Events, catalog: Catalog, *, most: int = MOST, chosen: int | None = None
) -> View:
    """The `most` largest parts as bars of their own, then all other events, then the remainder; the last is the sum.

    For an intervention the parts are effects, which need not add up: the remainder is what they miss. `chosen` is the
    number of an event to mark, which then has a bar of its own. Each bar carries (what it is, the number of its event
    or 0), so that it can be chosen.
    """
    order = np.argsort(-np.abs(attribution.values), kind="stable")
    if chosen is not None:
        order = np.array(sorted(order, key=lambda place: place != events.index(chosen)))  # the chosen one in front
    own, others = np.sort(order[:most]), order[most:]
    own = own[np.argsort(-attribution.values[own], kind="stable")]
    steps = [_event_step(attribution, events, int(place)) for place in own]
    if len(others):
        rest = float(attribution.values[others].sum())
        steps.append(_Step(name=f"{plural(len(others), 'other event')}", hover="all other events", size=rest, role=""))
    steps.append(_Step(name=remainder_word(attribution), hover="no event", size=attribution.remainder, role="quiet"))
    missed = attribution.logit - float(attribution.values.sum()) - attribution.remainder
    if abs(missed) > _SEEN * max(1.0, abs(attribution.logit)):
        steps.append(_Step(name="error of the estimate", hover="what the parts miss", size=missed, role="attention"))
    steps.append(_Step(name=_total_word(attribution), hover="the sum", size=attribution.logit, role="state"))
    return View(
        question=question_of(attribution, catalog),
        answer=_answer(attribution, events, catalog),
        figure=_figure(attribution, steps, chosen),
        table=table(attribution, events),
    )


def profile(attribution: Attribution, events: Events, catalog: Catalog, *, chosen: int | None = None) -> View:
    """The part of every event, in order of time. `chosen` is the number of an event to mark."""
    word = "would be missed" if attribution.exactness == "intervention" else "adds"
    values = attribution.values
    bars: dict[str, Any] = {
        "type": "bar",
        "x": events.numbers,
        "y": values,
        "marker": {"color": _colors(values, attribution.reliable), "line": {"width": 0}},
        "customdata": events.titles,
        "hovertemplate": f"event %{{x}}: %{{customdata}}<br>{word} %{{y:+.3~g}}<extra></extra>",
        **UNDIMMED,
    }
    if attribution.standard_error is not None:
        bars["error_y"] = {"array": attribution.standard_error, "thickness": 1, "color": ROLES["quiet"]}
    figure = new_figure(
        [bars],
        height=200,
        x_title="event (the latest on the right)",
        y_title="logits",
        x=events_axis(events),
        y={"zeroline": True},
        shapes=[] if chosen is None else [cursor(chosen)],
        bargap=0.15,
    )
    answer = _reach(values, events)
    if not attribution.reliable:
        answer = "The error of this estimate is too large to say which events hold most of it."
    question = "How far back do the reasons lie?"
    return View(question=question, answer=answer, figure=figure, table=table(attribution, events))


def _reach(values: NDArray[np.float64], events: Events) -> str:
    """The fewest events that hold most of what is added, and the oldest of them."""
    sizes = np.abs(values)
    if not sizes.any():
        return "No event adds anything."
    order = np.argsort(-sizes, kind="stable")
    few = order[: int(np.searchsorted(np.cumsum(sizes[order]), HELD * sizes.sum())) + 1]
    oldest = int(few.min())
    back = len(values) - 1 - oldest
    where = "the last event" if back == 0 else f"event {events.first + oldest}, {plural(back, 'event')} before the last"
    hold = "holds" if len(few) == 1 else "hold"
    return (
        f"{plural(len(few), 'event')} of {len(values)} {hold} {HELD:.0%} of all that is added, for or against; "
        f"the oldest of them is {where}.".replace("%", " %", 1)
    )


def table(attribution: Attribution, events: Events) -> pd.DataFrame:
    """One row an event, the latest first, with its value and, where it may be told, its share."""
    frame = events.frame().assign(value=attribution.values)
    if attribution.standard_error is not None:
        frame["standard error"] = attribution.standard_error
    if attribution.reliable:
        frame["share"] = attribution.shares()
    return frame.iloc[::-1]


def label(attribution: Attribution) -> str:
    """What kind of statement it is, and its error, in a sentence."""
    if attribution.exactness == "intervention":
        return f"The error is {attribution.error:g}: the model was run. Effects are no shares, and need not add up."
    if attribution.exactness == "estimate":
        share = abs(attribution.error) / max(abs(attribution.explained), 1e-12)
        name = "Convergence delta" if "convergence_delta" in attribution.details else "Error"
        refused = "" if attribution.reliable else f"; above {percent(UNRELIABLE)} no shares are shown"
        return (
            f"{name}: {number(attribution.error)} logits, {percent(share)} of the {number(attribution.explained)} that "
            f"the events are to explain{refused}."
        )
    error = f"{attribution.error:.1e} logits"
    held = " The gates are caused by the events too; what that adds, only removal shows." * (
        "held" in attribution.exactness
    )
    return f"The parts add up to the whole with an error of {error}.{held}"


def remainder_word(attribution: Attribution) -> str:
    """What the remainder is."""
    if attribution.exactness == "intervention":
        return "what single effects miss"
    if attribution.exactness == "estimate":
        return "no event: the baseline"
    return "no event: popularity" if attribution.method == "counts" else "no event: biases, positions"


def _total_word(attribution: Attribution) -> str:
    return "score" if attribution.contrast is None else "lead"


def _event_step(attribution: Attribution, events: Events, place: int) -> _Step:
    name = f"{events.first + place} · {_short(events.titles[place])}"
    hover = f"event {events.first + place}: {events.titles[place]}"
    return _Step(name=name, hover=hover, size=float(attribution.values[place]), role="", event=events.first + place)


def _figure(attribution: Attribution, steps: list[_Step], chosen: int | None) -> Any:
    sizes = np.array([one.size for one in steps])
    ends = np.cumsum(sizes[:-1])
    starts = np.concatenate([[0.0], ends[:-1], [0.0]])  # [steps], the sum starts from zero again
    colors = [ROLES[one.role] if one.role else _color(one.size, attribution.reliable) for one in steps]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [one.name for one in steps],
        "x": sizes,
        "base": starts,
        "marker": {"color": colors, "line": {"width": 0}},
        "text": [signed(one.size) for one in steps],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [[one.hover, one.event] for one in steps],
        "hovertemplate": "%{customdata[0]}<br>%{text} logits<extra></extra>",
        **UNDIMMED,
    }
    marked = [_band(row) for row, one in enumerate(steps) if one.event and one.event == chosen]
    reached = np.concatenate([starts, starts + sizes])
    low, high = float(reached.min()), float(reached.max())
    room = 0.2 * max(high - low, 1e-9)
    return new_figure(
        [bars],
        height=74 + 27 * len(steps),
        x_title="logits, added from top to bottom",
        x={"range": [low - room, high + room], "zeroline": True, "showgrid": True},
        y={"autorange": "reversed", "nticks": len(steps), "showgrid": False},
        shapes=[*marked, *(_joint(row, float(end)) for row, end in enumerate(ends))],
        margin={"l": NAMES, "r": MARGIN, "t": 8, "b": 40},
        bargap=0.3,
    )


def _band(row: int) -> dict[str, Any]:
    """What marks the chosen bar, from the names to the right end."""
    return {
        "type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": row - 0.47, "y1": row + 0.47, "layer": "below",
        "fillcolor": "rgba(138, 143, 152, 0.22)", "line": {"width": 0},
    }  # fmt: skip


def _joint(row: int, x: float) -> dict[str, Any]:
    """The line from the end of a bar to the start of the next."""
    line = {"width": 1, "color": ROLES["quiet"]}
    return {"type": "line", "x0": x, "x1": x, "y0": row - 0.35, "y1": row + 1.35, "line": line}


def _answer(attribution: Attribution, events: Events, catalog: Catalog) -> str:
    target, logit = catalog.title(attribution.target), attribution.logit
    if attribution.contrast is None:
        said = f"“{target}” has a score of {number(logit)} logits."
    else:
        other = catalog.title(attribution.contrast)
        verb = "leads" if logit >= 0 else "trails"
        said = f"“{target}” {verb} “{other}” by {number(abs(logit))} logits."
    for place, verb in ((int(np.argmax(attribution.values)), "for"), (int(np.argmin(attribution.values)), "against")):
        value = float(attribution.values[place])
        if (value > 0) == (verb == "for") and value:
            said += f" Most speaks {verb} it event {events.first + place} (“{events.titles[place]}”), {signed(value)}."
    if attribution.exactness == "intervention":
        return said
    total = float(attribution.values.sum())
    parts = f"All events add {signed(total)}, {remainder_word(attribution)} {signed(attribution.remainder)}"
    return f"{said} {parts}: together {signed(total + attribution.remainder)}."


def signed(value: float) -> str:
    """A number with its sign, as +0.8 or −0.8."""
    return ("+" if value >= 0 else "−") + number(abs(value))


def _color(value: float, reliable: bool) -> str:
    return ROLES["quiet"] if not reliable else ROLES["positive" if value >= 0 else "negative"]


def _colors(values: NDArray[np.float64], reliable: bool) -> list[str]:
    return [_color(value, reliable) for value in values.tolist()]


def _short(title: str) -> str:
    return title if len(title) <= _TITLE else title[: _TITLE - 1] + "…"
