"""A recommendation in a sentence, and one event in a few: what it adds, and what happens without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recblr.data.log import Catalog
from recblr.explain.attribution import Attribution
from recblr.figures.events import Events
from recblr.figures.view import number, percent, plural, time_span
from recblr.figures.waterfall import signed

if TYPE_CHECKING:
    from recblr.explain.outcomes import Outcomes  # which imports torch

_MOST = 0.5
"""Part of all support from which on an event is told to be most of the reason."""


def reason(attribution: Attribution, events: Events, catalog: Catalog, without: Outcomes | None, now: Outcomes) -> str:
    """Why, in two sentences: the event that the explanation puts first, and what the model says without it.

    `without` has one row an event; None for a history of one, from which nothing can be left out.
    """
    values, rank = attribution.values, float(now.rank[0])
    place = int(attribution.order()[0])
    value, ranked = float(values[place]), f"“{catalog.title(attribution.target)}” has rank {number(rank, 4)}"
    if not attribution.reliable:
        return (
            f"{ranked}, and this explanation misses too much of its score to name a reason: the error is "
            f"{number(attribution.error)} logits, and {number(abs(attribution.explained))} are explained."
        )
    if value <= 0:
        return (
            f"{ranked}, and no event speaks for it: what is left is no event, {signed(attribution.remainder)} logits."
        )
    share = value / float(values[values > 0].sum())
    told = f"{ranked}, {'mostly' if share >= _MOST else 'first of all'} because of"
    if attribution.exactness == "intervention":  # whose effects are no shares
        told = f"{ranked}, and hangs most on"
    if attribution.contrast is not None and attribution.logit < 0:
        told = f"{ranked}, behind “{catalog.title(attribution.contrast)}”; most speaks for it"
    event = events.first + place
    told += f" event {event}, “{events.titles[place]}”, {back(events, event)}"
    if attribution.exactness != "intervention":
        told += f": {percent(share)} of all that speaks for it comes from there"
    return f"{told}." if without is None else f"{told}. {_without(float(without.rank[place]), rank)}"


def _without(after: float, before: float) -> str:
    if after > before:
        return f"Without that event it falls to rank {number(after, 4)}."
    if after < before:
        return f"Yet without that event it rises to rank {number(after, 4)}."
    return f"Yet without that event alone it stays at rank {number(before, 4)}."


def back(events: Events, event: int) -> str:
    """How long before the last event another was, such as "27 events and 33 days before the last"."""
    steps = events.last - event
    if steps == 0:
        return "the last one"
    seconds = int(events.times[-1] - events.times[events.index(event)])
    span = f" and {time_span(seconds)}" if events.has_times and seconds > 0 else ""
    return f"{plural(steps, 'event')}{span} before the last"


def event_facts(
    attribution: Attribution,
    events: Events,
    event: int,
    catalog: Catalog,
    *,
    name: str,
    without: Outcomes | None,
    now: Outcomes,
) -> list[str]:
    """What one event is, what the method `name` says of it, and what the model says without it; a sentence or two each.

    `event` is its number. `without` has one row an event; None for a history of one.
    """
    place = events.index(event)
    return [
        _what(events, event),
        _adds(attribution, place, name),
        "It is the only event: without it the model says nothing, so it cannot be left out."
        if without is None
        else _effect(attribution, catalog, without, now, place),
    ]


def _what(events: Events, event: int) -> str:
    place = events.index(event)
    when = f", {events.when[place]} UTC" if events.has_times else ""
    cause = f" In the simulated log it happened by {events.causes[place]}." if events.causes else ""
    return f"Event {event}, “{events.titles[place]}” ({events.ids[place]}){when}, {back(events, event)}.{cause}"


def _adds(attribution: Attribution, place: int, name: str) -> str:
    value = float(attribution.values[place])
    rank = int(np.flatnonzero(attribution.order() == place)[0]) + 1
    error = ""
    if attribution.standard_error is not None:
        error = f" ± {number(float(attribution.standard_error[place]))} (standard error)"
    said = f"{name}: {signed(value)}{error} logits"
    if attribution.reliable and attribution.exactness != "intervention":
        said += f", {percent(abs(float(attribution.shares()[place])))} of all that is added, for or against"
    return f"{said}; {ordinal(rank)} of {len(attribution.values)} in what speaks for the item."


def _effect(attribution: Attribution, catalog: Catalog, without: Outcomes, now: Outcomes, place: int) -> str:
    before, after = float(now.rank[0]), float(without.rank[place])
    rank = f"rank {number(before, 4)} → {number(after, 4)}" if after != before else f"still rank {number(before, 4)}"
    said = f"Without it, by running the model again: {rank}, score {_moves(now.score[0], without.score[place])}"
    if attribution.contrast is not None:
        other = catalog.title(attribution.contrast)
        said += f", lead over “{other}” {_moves(now.lead[0], without.lead[place])}"
    first = int(without.top[place][0])
    if after > 1 and first:
        said += f"; first would be “{catalog.title(first)}”"
    return f"{said}."


def _moves(before: float, after: float) -> str:
    return f"{number(float(before))} → {number(float(after))}".replace("-", "−")


def ordinal(rank: int) -> str:
    """1st, 2nd, 3rd, 4th …, 11th …"""
    ending = "th" if 10 <= rank % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
