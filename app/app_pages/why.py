"""Why: which events of a history made the model recommend this item and not another."""

from functools import partial
from typing import Any

import cache
import choices
import explain_choices
import links
import streamlit as st
from cache import Asked
from choices import Choice
from draw import heading, page_title, plain, show
from guard import guard
from pages import PAGES

from recblr import figures
from recblr.explain import Attribution, Method, methods_of
from recblr.figures import Events
from recblr.figures.deletion_curve import MEASURES
from recblr.figures.waterfall import MOST, label

# One colour a kind of statement; the kind is always written out too.
COLORS = {"exact": "green", "exact with gates held": "blue", "estimate": "orange", "intervention": "violet"}
COMPARED = ("held_gates", "removal", "gradient_input", "integrated_gradients", "counts")  # until the reader chooses
LISTED = 8  # events named in the list beside the picture


@st.fragment
def body(choice: Choice) -> None:
    with guard():
        step = choices.step_choice(choice)
        asked = explain_choices.question(choice, step)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            method = explain_choices.method_choice(choice.run.name, asked.step)
            everything = choices.switch("All events as bars", key="all")
        bar = st.empty()  # until a slow method has answered
        found = cache.explained(asked, method.name, partial(tell, bar, method.title))
        bar.empty()
        events = named(choice, asked, found)
        chosen = explain_choices.event_choice(events.first, events.last)
        st.markdown(
            f":{COLORS[found.exactness]}-badge[{found.exactness}] {plain(method.summary)} {plain(label(found))}"
        )
        left, right = st.columns([3, 2], gap="large")
        with left:
            reasons(choice, asked, method, found, events, everything)
        with right, guard():
            missed(choice, asked, events)
        st.caption(
            "A logit is the score of an item before it becomes a probability: one more makes it 2.7 times as likely "
            "beside any other item."
        )
        for note in (*found.notes, *truth(choice, asked, found, events)):
            st.markdown(plain(note))
        name, tab = explain_choices.open_tab(list(PARTS), key="evidence")
        with tab, guard():
            PARTS[name](choice, asked, method, found, events, chosen)


def tell(bar: Any, title: str, done: int, total: int) -> None:
    """How far a method is."""
    bar.progress(min(done / max(total, 1), 1.0), text=f"{title}: {done:,} of {total:,}")


def named(choice: Choice, asked: Asked, found: Attribution) -> Events:
    """The events that the model read, with their causes where the truth is known."""
    before = asked.step - len(found.items)
    return figures.explained_events(
        found,
        choice.catalog,
        first=before + 1,
        causes=asked.subject.causes[before : asked.step],
        cause_from=asked.subject.cause_from[before : asked.step],
    )


def reasons(choice: Choice, asked: Asked, method: Method, found: Attribution, events: Events, everything: bool) -> None:
    """The waterfall."""
    most = len(events) if everything else MOST
    view = figures.waterfall(found, events, choice.catalog, most=most)
    call = f"waterfall(attribution, events, model.run.catalog, most={most})"
    show(view, key="waterfall", code=links.explain_code(choice, asked, method.name, call, first=events.first))


def truth(choice: Choice, asked: Asked, found: Attribution, events: Events) -> list[str]:
    """What the simulator says, where the item asked about is what came next."""
    if choice.came_next(asked.step) != asked.target or not asked.subject.causes:
        return []
    source = asked.subject.cause_from[asked.step]
    said = f"The log is simulated, so the truth is known: this item came next{choice.why(asked.step + 1)}."
    if not events.first <= source <= events.last:
        return [said]
    place = found.order().tolist().index(source - events.first) + 1
    return [f"{said} Of {len(events)} events, the explanation puts event {source} at place {place}."]


def missed(choice: Choice, asked: Asked, events: Events) -> None:
    """The list of single removals: new rank and score."""
    question = "Which event would be missed most?"
    if len(events) == 1:
        heading(question, "The history has one event: without it the model says nothing, so it cannot be left out.")
        return
    single, now = effects(asked)
    said = f"Now it has rank {now.rank[0]:g} and a score of {now.score[0]:.3g}."
    heading(question, f"{said} Each event was left out alone and the model run again: real effects.")
    table = figures.removals(single, now, events, choice.title(asked.target)).table
    short = table[["event", "title", "rank without it", "score without it"]].head(LISTED)
    st.dataframe(short, hide_index=True, key="missed", alt="The events that would be missed most, one a row.")


def effects(asked: Asked) -> tuple:
    """(outcomes without each event, outcome of the history as it is)."""
    return cache.without_each(asked), cache.after(asked, cache.given(asked))


def over_time(
    choice: Choice, asked: Asked, method: Method, found: Attribution, events: Events, chosen: int | None
) -> None:
    """All values over time, and the event that was chosen there."""
    call = "profile(attribution, events, model.run.catalog)"
    view = figures.profile(found, events, choice.catalog, chosen=chosen)
    code = links.explain_code(choice, asked, method.name, call, first=events.first)
    show(view, key="profile", code=code, on_select=partial(explain_choices.event_from_chart, "profile"))
    about(asked, events, chosen, "" if chosen is None else f"{found.values[events.index(chosen)]:+.3g} logits")


def about(asked: Asked, events: Events, chosen: int | None, says: str) -> None:
    """The chosen event, and where more is to be seen of it."""
    if chosen is None:
        st.caption("Click a point or a bar to look at its event.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(plain(f"Event {chosen}, “{events.title(chosen)}”: {says}."))
        here = explain_choices.address(asked)
        links.link(PAGES["trace"].file, "See it in Trace", here | {"step": str(chosen)})
        gone = f"0:remove:{chosen - events.first + 1}"
        links.link(PAGES["what_if"].file, "Remove it in What if", here | {"edits": gone})


def without_each(
    choice: Choice, asked: Asked, method: Method, found: Attribution, events: Events, chosen: int | None
) -> None:
    """Each single removal, as a picture."""
    if len(events) == 1:
        st.info("The history has one event: without it the model says nothing, so there is nothing to leave out.")
        return
    single, now = effects(asked)
    title = choice.title(asked.target)
    call = f"removals(then, now, events, {title!r})"
    code = links.outcome_code(choice, asked, [], call, first=events.first)
    view = figures.removals(single, now, events, title, chosen=chosen)
    show(view, key="removals", code=code, on_select=partial(explain_choices.event_from_chart, "removals"))
    about(asked, events, chosen, "" if chosen is None else f"rank {single.rank[events.index(chosen)]:g} without it")


def deletion(
    choice: Choice, asked: Asked, method: Method, found: Attribution, events: Events, chosen: int | None
) -> None:
    """What happens as the events go in the order of the explanation, beside random orders."""
    if len(events) == 1:
        st.info("The history has one event: there is no order of events to test.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = explain_choices.one_of("Events are", ["left out", "kept"], key="curve")
        measure = explain_choices.one_of("Measured by", list(MEASURES), key="measure")
    kind = "deletion" if kind == "left out" else "insertion"
    drawn = cache.curve(asked, method.name, kind)
    view = figures.deletion_curve(drawn, measure, name=method.title)
    call = f"deletion_curve(drawn, {measure!r}, name={method.title!r})"
    show(view, key="deletion", code=links.curve_code(choice, asked, method.name, kind, call))
    st.caption(
        "The band is what 20 random orders do: without it a curve means nothing, for any removal changes things."
    )


def agreement(
    choice: Choice, asked: Asked, method: Method, found: Attribution, events: Events, chosen: int | None
) -> None:
    """Rank correlations of the methods for this question."""
    if len(events) == 1:
        st.info("The history has one event: there is no order to agree on.")
        return
    possible = {one.title: one.name for one in methods_of(cache.open_run(asked.run).run.model)}
    usual = [title for title, name in possible.items() if name in COMPARED or name == method.name]
    titles = explain_choices.several("Methods", list(possible), usual, key="methods")
    names = [possible[title] for title in titles]
    if len(names) < 2:
        st.info("Choose at least two methods above.")
        return
    view = figures.method_agreement(cache.agreement(asked, names), {name: title for title, name in possible.items()})
    show(view, key="agreement", code=links.agreement_code(choice, asked, names))
    st.caption(
        "Attributions say what an event added, removal says what would be missing: these may differ, and rightly."
    )


PARTS = {
    "Over time": over_time,
    "Without each event": without_each,
    "Deletion curve": deletion,
    "Do methods agree?": agreement,
}


page_title(PAGES["why"].question)
with guard():
    body(choices.header())
