"""Why: which events of a history made the model recommend this item and not another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import choices
import explain_choices
import links
import streamlit as st
from cache import answers, sources, variants
from cache.answers import Options
from cache.sources import Asked
from choices import Choice
from draw import heading, page_title, plain, show
from event_panel import event_panel
from guard import guard
from method_options import NUMBERS, options_choice
from pages import PAGES
from truth_panel import truth_panel

from recblr import figures
from recblr.explain import Attribution, Method, methods_of
from recblr.figures import Events
from recblr.figures.deletion_curve import MEASURES
from recblr.figures.reason import reason
from recblr.figures.waterfall import MOST, label

# One colour a kind of statement; the kind is always written out too.
COLORS = {"exact": "green", "exact with gates held": "blue", "estimate": "orange", "intervention": "violet"}
KINDS = (
    "**exact**: an identity, whose error is printed. **exact with gates held**: an identity of the model whose gates, "
    "norm scales and slopes are held as they are, though the events cause these too. **estimate**: with an error of "
    "its own. **intervention**: the input was changed and the model run again: an effect, no share."
)
COMPARED = ("held_gates", "removal", "gradient_input", "integrated_gradients", "counts")  # until the reader chooses
LISTED = 8  # events named in the list beside the picture


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What the parts of the page are about."""

    choice: Choice
    asked: Asked
    method: Method
    options: Options
    found: Attribution
    events: Events
    chosen: int | None  # number of the event that is looked at

    def code(self, call: str) -> str:
        """Python that makes a figure of the explanation again."""
        first = self.events.first
        return links.explain_code(self.choice, self.asked, self.method.name, call, first=first, options=self.options)


@st.fragment
def body(choice: Choice) -> None:
    with guard():
        step = choices.step_choice(choice)
        asked = explain_choices.question(choice, step)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            method = explain_choices.method_choice(choice.run.name, step)
            everything = choices.switch("All events as bars", key="all")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            options = options_choice(method, counted=choice.opened is not None)
        answer(choice, asked, method, options, everything)


def answer(choice: Choice, asked: Asked, method: Method, options: Options, everything: bool) -> None:
    """The sentence, the picture, the event that is looked at, and what speaks for believing it."""
    bar = st.empty()  # until a slow method has answered
    found = answers.explained(asked, method.name, partial(tell, bar, method.title), options)
    bar.empty()
    events = named(choice, asked, found)
    chosen = explain_choices.event_choice(events.first, events.last)
    view = Looked(choice=choice, asked=asked, method=method, options=options, found=found, events=events, chosen=chosen)
    in_short(view)
    left, right = st.columns([3, 2], gap="large")
    with left:
        reasons(view, everything)
    with right, guard():
        missed(view)
    with guard():
        event_panel(choice, asked, method, found, events, chosen, effects(view))
    for note in (one for one in found.notes if not one.startswith("The error is")):  # said beside the badge
        st.markdown(plain(note))
    name, tab = explain_choices.open_tab(list(PARTS), key="evidence")
    with tab, guard():
        PARTS[name](view)


def in_short(view: Looked) -> None:
    """The answer in a sentence, what kind of statement it is, and what is known of its truth."""
    found, method = view.found, view.method
    without, now = effects(view)
    st.markdown(f"#### {plain(reason(found, view.events, view.choice.catalog, without, now))}")
    kind = f":{COLORS[found.exactness]}-badge[{found.exactness}]"
    st.markdown(f"{kind} {plain(method.summary)} {plain(label(found))}", help=KINDS)
    if not found.reliable:
        own = " more steps or draws, another baseline, or" if method.name in NUMBERS else ""
        st.warning(f"Its error is too large to read shares from, so none are shown: take{own} another method above.")
    truth_panel(view.choice, view.asked, method, found, view.events)


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


def reasons(view: Looked, everything: bool) -> None:
    """The waterfall, whose bars can be chosen."""
    most = len(view.events) if everything else MOST
    drawn = figures.waterfall(view.found, view.events, view.choice.catalog, most=most, chosen=view.chosen)
    call = f"waterfall(attribution, events, model.run.catalog, most={most}, chosen={view.chosen})"
    show(drawn, key="waterfall", code=view.code(call), on_select=partial(explain_choices.event_from_bar, "waterfall"))
    st.caption(
        "A logit is the score of an item before it becomes a probability: one more makes it 2.7 times as likely "
        "beside any other item. Click a bar to look at its event."
    )


def missed(view: Looked) -> None:
    """The list of single removals: new rank and score."""
    question = "Which event would be missed most?"
    single, now = effects(view)
    if single is None:
        heading(question, "The history has one event: without it the model says nothing, so it cannot be left out.")
        return
    said = f"Now it has rank {now.rank[0]:g} and a score of {now.score[0]:.3g}."
    heading(question, f"{said} Each event was left out alone and the model run again: real effects.")
    table = figures.removals(single, now, view.events, view.choice.title(view.asked.target)).table
    short = table[["event", "title", "rank without it", "score without it"]].head(LISTED)
    st.dataframe(short, hide_index=True, key="missed", alt="The events that would be missed most, one a row.")


def effects(view: Looked) -> tuple:
    """(outcomes without each event, or None where there is but one; outcome of the history as it is)."""
    now = variants.after(view.asked, variants.given(view.asked))
    return (None if len(view.events) == 1 else variants.without_each(view.asked)), now


def over_time(view: Looked) -> None:
    """All values over time."""
    drawn = figures.profile(view.found, view.events, view.choice.catalog, chosen=view.chosen)
    call = f"profile(attribution, events, model.run.catalog, chosen={view.chosen})"
    show(drawn, key="profile", code=view.code(call), on_select=partial(explain_choices.event_from_chart, "profile"))


def without_each(view: Looked) -> None:
    """Each single removal, as a picture."""
    single, now = effects(view)
    if single is None:
        st.info("The history has one event: without it the model says nothing, so there is nothing to leave out.")
        return
    title = view.choice.title(view.asked.target)
    call = f"removals(then, now, events, {title!r}, chosen={view.chosen})"
    code = links.outcome_code(view.choice, view.asked, [], call, first=view.events.first)
    drawn = figures.removals(single, now, view.events, title, chosen=view.chosen)
    show(drawn, key="removals", code=code, on_select=partial(explain_choices.event_from_chart, "removals"))


def deletion(view: Looked) -> None:
    """What happens as the events go in the order of the explanation, beside random orders."""
    if len(view.events) == 1:
        st.info("The history has one event: there is no order of events to test.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = explain_choices.one_of("Events are", ["left out", "kept"], key="curve")
        measure = explain_choices.one_of("Measured by", list(MEASURES), key="measure")
    kind, name = "deletion" if kind == "left out" else "insertion", view.method.title
    drawn = answers.curve(view.asked, view.method.name, kind, view.options)
    call = f"deletion_curve(drawn, {measure!r}, name={name!r})"
    code = links.curve_code(view.choice, view.asked, view.method.name, kind, call, view.options)
    show(figures.deletion_curve(drawn, measure, name=name), key="deletion", code=code)
    st.caption(
        "The band is what 20 random orders do: without it a curve means nothing, for any removal changes things."
    )


def agreement(view: Looked) -> None:
    """Rank correlations of the methods for this question."""
    if len(view.events) == 1:
        st.info("The history has one event: there is no order to agree on.")
        return
    asked, method = view.asked, view.method
    possible = {one.title: one.name for one in methods_of(sources.open_run(asked.run).run.model)}
    usual = [title for title, name in possible.items() if name in COMPARED or name == method.name]
    titles = explain_choices.several("Methods", list(possible), usual, key="methods")
    names = [possible[title] for title in titles]
    if len(names) < 2:
        st.info("Choose at least two methods above.")
        return
    own = {method.name: view.options}
    drawn = figures.method_agreement(
        answers.agreement(asked, names, own), {name: title for title, name in possible.items()}
    )
    show(drawn, key="agreement", code=links.agreement_code(view.choice, asked, names, own))
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
