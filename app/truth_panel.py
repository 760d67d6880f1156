"""Where an explanation puts the event that truly decided, where the log knows it, and how often its method finds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import streamlit as st
from cache import records, sources
from cache.sources import Asked
from choice import Choice
from draw import plain

from recblr.explain import Attribution, Method
from recblr.figures import Events
from recblr.figures.causes import CAUSES
from recblr.figures.reason import ordinal
from recblr.figures.view import percent

_WORDS = {"none": "each item's own score", "runner-up": "each item's lead over the best other"}


def truth_panel(choice: Choice, asked: Asked, method: Method, found: Attribution, events: Events) -> None:
    """Draws nothing where the truth is not known: for a log that knows no causes, and for an item that did not come
    next."""
    causes = asked.subject.causes
    if not causes or choice.came_next(asked.step) != asked.target:
        return
    cause, source = causes[asked.step], asked.subject.cause_from[asked.step]
    icon, said = _place(cause, source, method, found, events)
    rates = list(_rates(choice, method, cause)) if source else []
    words = f"{cause}: {CAUSES[cause]}." if cause in CAUSES else None
    st.markdown("\n\n".join([f"{icon} {plain(said)}", *map(plain, rates)]), help=words)


def _place(cause: str, source: int, method: Method, found: Attribution, events: Events) -> tuple[str, str]:
    known = "The log is simulated, and this item is what came next"
    if not source:
        return ":material/info:", f"{known}: by {cause}, which no single earlier event decides."
    if not events.first <= source <= events.last:
        return ":material/info:", f"{known}: by {cause}, because of event {source}, too old for the model to read."
    place = found.order().tolist().index(source - events.first) + 1
    icon = ":material/check_circle:" if place == 1 else ":material/cancel:"
    return icon, (
        f"True cause: event {source} (“{events.title(source)}”, by {cause}), ranked {ordinal(place)} of {len(events)} "
        f"by {method.title}. {known}."
    )


def _rates(choice: Choice, method: Method, cause: str) -> Iterator[str]:
    """How often the method puts the true cause first, as measured on this server and as recorded."""
    measured = records.trust_runs().latest(choice.run.name, sources.run_state(choice.run.name), method.name, cause)
    if measured is not None:
        said = _rate(measured.rows, method, cause, measured.request.contrast)
        yield f"Measured on this server, on the Trust page: {said}."
    record = records.trust_records().get(choice.run.name)
    if record is None or record.get("fingerprint") not in {None, choice.run.data.get("fingerprint")}:
        return
    said = _rate(record.get("pointing", []), method, cause, str(record.get("contrast", "none")))
    if said is not None:
        made = f"{record.get('device', 'an unnamed machine')}, {str(record.get('date', 'no date'))[:10]}"
        yield f"Recorded on {made}, not measured now: {said}."


def _rate(rows: list[Mapping[str, Any]], method: Method, cause: str, contrast: str) -> str | None:
    """Such as "of 500 unseen events by recall, Held gates puts the true cause first for 98 %"."""
    of_cause = {row.get("method"): row for row in rows if row.get("cause") == cause}
    row = of_cause.get(method.name)
    if row is None or row.get("hit@1") is None:
        return None
    said = (
        f"of {row.get('events', '?')} unseen events by {cause}, {method.title} puts the true cause first for "
        f"{percent(row['hit@1'])}"
    )
    if "chance" in of_cause:
        said += f", chance for {percent(of_cause['chance']['hit@1'])}"
    return f"{said} (explained is {_WORDS.get(contrast, contrast)})"
