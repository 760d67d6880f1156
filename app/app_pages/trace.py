"""Trace: what the model remembers of this user, and since when."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import choices
import links
import streamlit as st
import trace_code
from cache import answers, sources
from cache.sources import Asked
from choices import Choice
from components.heatmap import heatmap
from components.strip import strip
from draw import heading, numbers, page_title, plain, show
from guard import guard
from pages import PAGES

from recblr import figures
from recblr.errors import RecblrError
from recblr.figures import Events, channels, heat_map
from recblr.figures.matrix import QUANTITIES, arithmetic, matrix, offered
from recblr.trace import Trace

SHOWN = 3  # recommendations named in the summary
MEASURED = 200  # users that a run is measured on


def summary(choice: Choice, trace: Trace, layer: int, step: int, events: Events) -> None:
    """The memory horizon, and what the model would recommend now, as sentences."""
    st.markdown(f"**{plain(figures.horizon_sentence(trace, layer, events.index(step), events))}**")
    hide = choices.hides_seen(choice)
    best = answers.recommend(choice.run.name, choice.subject, step, SHOWN, hide)
    names = ", ".join(f"{row.rank}. {choice.title(row.item)}" for row in best)
    told = [f"It would now recommend {names}" + (" (items seen before are left out)." if hide else ".")]
    came, asked = choice.came_next(step), choice.target
    if came is not None:
        told.append(
            f"What came next, “{choice.title(came)}”{choice.why(step + 1)}, {_ranked(choice, step, came, hide)}"
        )
    if asked is not None:
        told.append(f"“{choice.title(asked)}”, asked about, {_ranked(choice, step, asked, hide)}")
    st.markdown(plain(" ".join(told)))
    pin = choices.pinned()
    if pin is not None:
        other, others = answers.trace(pin.run, pin.subject, pin.step, pin.catalog)
        if other.layers:
            shown = min(layer, len(other.layers) - 1)
            sentence = figures.horizon_sentence(other, shown, others.index(pin.step), others)
            st.markdown(plain(f"Pinned, {pin.subject.label} in {pin.run}: {sentence}"))


def _ranked(choice: Choice, step: int, item: str, hide: bool) -> str:
    place = answers.rank(choice.run.name, choice.subject, step, item, hide)
    return "it does not know." if place is None else f"it ranks {place:,.4g} of {choice.catalog.n_items:,}."


def matrix_view(choice: Choice, trace: Trace, layer: int, step: int, events: Events, subject: str) -> int | None:
    """The heat map with its controls; returns the chosen channel."""
    record = trace.layers[layer]
    order = channels.by_half_life(record)
    names = offered(record)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        titles = {QUANTITIES[one].title: one for one in names}
        name = titles[choices.one_of("Quantity", list(titles), key="show")]
        if QUANTITIES[name].pairs:
            heads = getattr(record, name).shape[1]
            chosen = choices.one_of("Head", ["mean", *(str(n + 1) for n in range(heads))], key="head")
            everything = True
        else:
            chosen = "mean"
            everything = choices.switch(f"All {len(order)} channels", key="all")
    channel = choices.channel_choice(len(order))
    rows = channels.spread(order, len(order) if everything else channels.FEW, keep=channel)
    if channel is None:
        channel = channels.fullest(record, rows)
    drawn = matrix(record, name, rows, head=None if chosen == "mean" else int(chosen) - 1)
    heading(
        heat_map.question(drawn), f"{heat_map.answer(drawn, events, len(order))} Drawn is {drawn.quantity.meaning}."
    )
    heatmap(
        drawn,
        arithmetic(record, rows),
        events,
        key="heatmap",
        subject=subject,
        step=step,
        channel=channel,
        alt=heat_map.question(drawn),
        on_move=partial(choices.moved, "heatmap"),
    )
    if not QUANTITIES[name].pairs:
        _caption(drawn.rows, order, channels.recurrence_error(record), record.decay is not None)
    call = f"heat(trace, {layer}, {name!r}, events, count={len(rows)}, channel={channel})"
    numbers(heat_map.table(drawn, events), key="heatmap", code=links.trace_code(choice, events, call))
    return channel


def _caption(rows: object, order: object, error: float | None, forgets: bool) -> None:
    kept = "Rows are channels with their half-life in events, longest memory first" if forgets else "Rows are channels"
    few = f"; {len(rows)} of {len(order)}, evenly spread." if len(rows) < len(order) else "."
    exact = (
        ""
        if error is None
        else f" The equation under the map is exact: over all cells it misses by {error:.0e} at most."
    )
    st.caption(f"{kept}{few}{exact}")


@st.fragment
def body(choice: Choice) -> None:
    """Everything that follows the step; moving it runs only this."""
    with guard():
        step = choices.step_choice(choice)
        trace, events = answers.trace(choice.run.name, choice.subject, step, choice.catalog)
        if not trace.layers:
            st.info("This baseline counts and keeps no memory of events, so there is nothing to trace. See Compare.")
            return
        at = events.index(step)
        layer = int(choices.one_of("Layer", [str(n + 1) for n in range(len(trace.layers))], key="layer")) - 1
        summary(choice, trace, layer, step, events)
        subject = f"{choice.run.name}/{choice.subject.key}/{events.first}-{events.last}"
        strip(events, key="strip", subject=subject, step=step, on_move=partial(choices.moved, "strip"))
        channel = matrix_view(choice, trace, layer, step, events, subject)
        parts = PARTS if not figures.has_tokens(trace.layers[layer]) else {**PARTS, "What tokens keep": tokens}
        name, tab = choices.open_tab(list(parts), key="view")
        with tab:
            parts[name](choice, trace, layer, at, events, channel)
        for note in trace.notes:
            st.caption(plain(note))


def matters(choice: Choice, trace: Trace, layer: int, at: int, events: Events, channel: int | None) -> None:
    code = links.trace_code(choice, events, f"memory(trace, {layer}, {at}, events)")
    view = figures.memory(trace, layer, at, events)
    show(view, key="memory", code=code, on_select=partial(choices.step_from_chart, "memory"))


def movement(choice: Choice, trace: Trace, layer: int, at: int, events: Events, channel: int | None) -> None:
    pin = choices.pinned()
    beside = None
    if pin is not None:
        beside = answers.trace(pin.run, pin.subject, pin.step, pin.catalog)[0], pin.subject.label
    code = links.trace_code(choice, events, f"norms(trace, {layer}, {at}, events)")
    view = figures.norms(trace, layer, at, events, pinned=beside)
    show(view, key="norms", code=code, on_select=partial(choices.step_from_chart, "norms"))
    code = links.trace_code(choice, events, f"trajectory(trace, {layer}, {at}, events)")
    show(answers.trajectory(trace, layer, at, events), key="trajectory", code=code)


def one_channel(choice: Choice, trace: Trace, layer: int, at: int, events: Events, channel: int | None) -> None:
    code = links.trace_code(choice, events, f"channel_parts(trace, {layer}, {channel or 0}, {at}, events)")
    view = figures.channel_parts(trace, layer, channel or 0, at, events)
    show(view, key="parts", code=code, on_select=partial(choices.step_from_chart, "parts"))


def all_channels(choice: Choice, trace: Trace, layer: int, at: int, events: Events, channel: int | None) -> None:
    code = links.trace_code(choice, events, f"lives(trace, {layer}, events, channel={channel})")
    order = channels.by_half_life(trace.layers[layer])
    pick = partial(choices.channel_from_chart, "lives", order.tolist())
    show(figures.lives(trace, layer, events, channel=channel), key="lives", code=code, on_select=pick)


def since_when(choice: Choice, trace: Trace, layer: int, at: int, events: Events, channel: int | None) -> None:
    """The rank of the item asked about after every event that the trace holds."""
    asked = _asked(choice, events.first + at, events.last)
    if asked is None:
        return
    catalog = sources.open_run(asked.run).run.catalog
    with _unless_refused():
        view = figures.since_when(answers.lens(asked), catalog.index[asked.target], events, catalog, step=at)
        code = trace_code.since_when_code(choice, asked, events, at)
        show(view, key="since_when", code=code, on_select=partial(choices.step_from_chart, "since_when"))
        st.caption("Ranks are among all items, those seen before too.")


def pauses(choice: Choice, trace: Trace, layer: int, at: int, events: Events, channel: int | None) -> None:
    """What a longer or shorter pause before the step would change, for runs that read the time."""
    asked = _asked(choice, events.first + at, events.first + at)
    if asked is None:
        return
    catalog = sources.open_run(asked.run).run.catalog
    with _unless_refused():
        view = figures.pauses(answers.gap_response(asked), catalog.index[asked.target], catalog, event=asked.step)
        show(view, key="pauses", code=trace_code.pauses_code(choice, asked))
        st.caption(
            "The pause is changed and the model run again: an effect, not a share. The event and all after it move "
            "along; their other pauses stay."
        )


def needed(choice: Choice, trace: Trace, layer: int, at: int, events: Events, channel: int | None) -> None:
    """How many recent events the run needs; over users of its log, so not of this one."""
    if choice.opened is None:
        st.info("The log of this run is not on this machine, so there are no users to measure this on.")
        return
    with _unless_refused():
        found, last, users = answers.needed(choice.run.name, choice.opened, MEASURED)
        view = figures.needed(found, last, users=users)
        show(view, key="needed", code=trace_code.needed_code(choice, MEASURED))
        st.caption(
            "Over users of the log, spread evenly, each asked for the last item of the history; not about this user "
            "alone, and the same at every step."
        )


def tokens(choice: Choice, trace: Trace, layer: int, at: int, events: Events, channel: int | None) -> None:
    """What stands for earlier events, where a run compresses them."""
    heads = trace.layers[layer].token_read.shape[1]
    names = ["mean", *(str(n + 1) for n in range(heads))]
    chosen = choices.one_of("Head", names, key="token_head") if heads > 1 else "mean"
    head = None if chosen == "mean" else int(chosen) - 1
    code = links.trace_code(choice, events, f"tokens(trace, {layer}, {at}, events, head={head})")
    show(figures.tokens(trace, layer, at, events, head=head), key="tokens", code=code)


def _asked(choice: Choice, step: int, read: int) -> Asked | None:
    """The item asked about, by default the first recommendation at `step`, asked after the first `read` events."""
    best = answers.recommend(choice.run.name, choice.subject, step, 1, choices.hides_seen(choice))
    item = choice.target or next((row.item for row in best), None)
    if item is None or item not in sources.open_run(choice.run.name).run.catalog.index:
        st.info("There is no item to ask about: choose one above that this run knows.")
        return None
    return Asked(run=choice.run.name, subject=choice.subject, step=read, target=item, contrast=None, hide=False)


@contextmanager
def _unless_refused() -> Iterator[None]:
    """What a run cannot be asked is no fault: it is said in the library's words."""
    try:
        yield
    except RecblrError as error:
        st.info(plain(str(error)))


PARTS = {
    "What still matters": matters,
    "How the state moves": movement,
    "What fills a channel": one_channel,
    "How long channels remember": all_channels,
    "Since when": since_when,
    "Another pause": pauses,
    "How much it needs": needed,
}


page_title(PAGES["trace"].question)
with guard():
    body(choices.header())
