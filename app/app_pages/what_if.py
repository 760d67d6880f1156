"""What if: how the recommendation changes when the history does."""

import re
from dataclasses import replace
from functools import partial

import choices
import edits
import explain_choices
import links
import streamlit as st
from cache import variants
from cache.sources import Asked
from choices import Choice
from components.strip import strip
from draw import heading, numbers, page_title, plain, show
from edits import Edit
from guard import guard
from pages import PAGES

from recblr import figures
from recblr.errors import ExplainError
from recblr.explain import Variant
from recblr.figures import Events, describe

KINDS = {
    "Remove": "remove",
    "Swap": "swap",
    "Move": "move",
    "Replace": "replace",
    "Insert": "insert",
    "Change a gap": "gap",
}
INSIDE = {
    "Forget all before it": ("decay", 0.0),
    "Forget nothing": ("decay", 1.0),
    "Write nothing": ("write", 0.0),
    "Read nothing": ("read", 0.0),
    "Paste the pinned state": None,
}
SECONDS = {"minutes": 60, "hours": 3600, "days": 86400}


@st.fragment
def body(choice: Choice) -> None:
    with guard():
        step = choices.step_choice(choice)
        asked = explain_choices.question(choice, step, contrasted=False)
        given = variants.given(asked)
        made = explain_choices.edits_choice(given, choice.catalog, f"{asked.run}/{asked.subject.key}/{step}")
        every = edits.variants(given, made, choice.catalog)
        chosen = explain_choices.variant_choice(len(every))
        variant = every[chosen]
        editor(choice, asked, given, variant, made, chosen)
        left, right = st.columns([2, 3], gap="large")
        with left:
            list_of(choice, asked, every, made, chosen)
        with right:
            moved(choice, asked, every, made, chosen)
        name, tab = explain_choices.open_tab(list(PARTS), key="search")
        with tab, guard():
            PARTS[name](choice, asked, variant, made, chosen)


def described(choice: Choice, asked: Asked, variant: Variant) -> Events:
    """The events of a variant, numbered from 1."""
    return describe(variant.items, variant.times, choice.catalog, has_times=asked.subject.times is not None)


def editor(choice: Choice, asked: Asked, given: Variant, variant: Variant, made: list[Edit], chosen: int) -> None:
    """The chosen variant as a strip, and the next edit of it."""
    events = described(choice, asked, variant)
    event = explain_choices.event_choice(1, len(events)) or len(events)
    name = "the history as given" if chosen == 0 else f"variant {chosen}"
    heading(f"Edit {name}", "Choose an event in the strip, then what happens to it. Each edit makes a new variant.")
    if asked.step > len(given):
        st.caption(
            f"The model reads the last {len(given):,} of {asked.step:,} events: these are numbered from 1 here, so its "
            f"event 1 is event {asked.step - len(given) + 1:,} on the other pages."
        )
    subject = f"{asked.run}/{asked.subject.key}/{asked.step}/{edits.python(made, chosen)}"
    move = partial(explain_choices.event_moved, "edit_strip")
    strip(events, key="edit_strip", subject=subject, step=event, on_move=move)
    timed = asked.subject.times is not None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = KINDS[explain_choices.one_of("Edit", [one for one in KINDS if timed or KINDS[one] != "gap"], key="edit")]
        edit = next_edit(choice, events, event, kind, chosen)
        st.button(
            "Apply",
            type="primary",
            icon=":material/check:",
            disabled=edit is None,
            on_click=explain_choices.add_edit,
            args=(given, choice.catalog, made, edit),
        )
    refused = st.session_state.pop("_edit_refused", None)
    if refused is not None:
        st.error(plain(refused))


def next_edit(choice: Choice, events: Events, event: int, kind: str, chosen: int) -> Edit | None:
    """The controls of one kind of edit; None where they are not yet complete."""
    st.markdown(plain(f"event {event}, “{events.title(event)}”"))
    if kind in {"swap", "move"}:
        label = "with event" if kind == "swap" else "to place"
        other = int(st.number_input(label, 1, len(events), max(event - 1, 1), key=f"edit_{kind}", width=140))
        return Edit(parent=chosen, kind=kind, numbers=(event, other))
    if kind in edits.WITH_ITEM:
        items = choice.catalog
        at_end = kind == "insert" and st.toggle("at the end", value=True, key="edit_at_end")
        item = st.selectbox(
            "by item" if kind == "replace" else "item",
            items.ids[1 : choices.LISTED_ITEMS + 1].tolist(),
            index=None,
            format_func=choice.title,
            key="edit_item",
            accept_new_options=True,
            placeholder="choose, or type an id",
            width=280,
        )
        number = len(events) + 1 if at_end else event
        return None if item is None else Edit(parent=chosen, kind=kind, numbers=(number,), item=str(item))
    if kind == "gap":
        amount = int(st.number_input("pass before it", 0, 100_000, 7, key="edit_amount", width=140))
        unit = st.selectbox("unit", list(SECONDS), index=2, key="edit_unit", width=130)
        return Edit(parent=chosen, kind="gap", numbers=(event, amount * SECONDS[unit]))
    return Edit(parent=chosen, kind=kind, numbers=(event,))


def list_of(choice: Choice, asked: Asked, every: list[Variant], made: list[Edit], chosen: int) -> None:
    """All variants with their parents, and where the item stands after each."""
    title = choice.title(asked.target)
    heading("Which variants are there?", f"None is ever changed: choosing an earlier one undoes. Ranks of “{title}”.")
    ranks = [variants.after(asked, one).rank[0] for one in every]

    def told(number: int) -> str:
        if number == 0:
            return plain(f"0 · as given · rank {ranks[0]:g}")
        edit = made[number - 1]
        said = edits.words(edit, every[edit.parent], choice.catalog)
        return plain(f"{number} · from {edit.parent}: {said} · rank {ranks[number]:g}")

    st.session_state["variant_list"] = chosen
    st.radio(
        "Variants",
        range(len(every)),
        format_func=told,
        key="variant_list",
        on_change=lambda: choices.keep("variant", str(st.session_state["variant_list"])),
        label_visibility="collapsed",
    )
    with st.container(horizontal=True):
        if chosen:
            parent = made[chosen - 1].parent
            st.button(
                "Back to its parent", icon=":material/undo:", on_click=choices.keep, args=("variant", str(parent))
            )
        if made:
            st.button("Forget all edits", on_click=explain_choices.set_edits, args=([], 0))


def moved(choice: Choice, asked: Asked, every: list[Variant], made: list[Edit], chosen: int) -> None:
    """The top list before and after."""
    catalog = choice.catalog
    before, after = variants.after(asked, every[0]), variants.after(asked, every[chosen])
    name = "as given" if chosen == 0 else f"variant {chosen}"
    view = figures.movement(before, after, catalog.index[asked.target], catalog, name=name)
    call = f"movement(now, then, question.target, catalog, name={name!r})"
    if chosen == 0:
        st.caption("Nothing is edited yet, so both sides are the same: apply an edit, and this shows what it changes.")
    show(view, key="movement", code=links.outcome_code(choice, asked, [edits.python(made, chosen)], call))


def smallest(choice: Choice, asked: Asked, variant: Variant, made: list[Edit], chosen: int) -> None:
    """The fewest events whose removal pushes the item out of the list."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        k = int(explain_choices.one_of("Out of the top", ["1", "5", "10", "20"], key="k", default="10"))
        wanted = choices.switch("Search", key="smallest", help="Runs the model on hundreds of shorter histories.")
    title = choice.title(asked.target)
    question = f"What is the least that pushes “{title}” out of the top {k}?"
    if not wanted:
        heading(question, "Switch the search on: it removes each event, then pairs, then one more at a time.")
        return
    rank = variants.after(asked, variant).rank[0]
    if rank > k:
        heading(question, f"It has rank {rank:g} here, outside of the top {k}: there is nothing to push it out of.")
        return
    if len(variant) == 1:
        heading(question, "The history has one event: without it a model says nothing, so it cannot be left out.")
        return
    found = variants.smallest_removal(asked, variant, k)
    events = described(choice, asked, variant)
    if not found.found:
        heading(question, f"No set of events was found; the model was run on {found.tried:,} histories.")
        return
    gone = [place + 1 for place in found.positions]
    named = ", ".join(f"{number} (“{events.title(number)}”)" for number in gone)
    least = "No smaller set does it." if found.smallest else "A smaller set may exist: not all were tried."
    heading(
        question,
        f"Without event{'s' * (len(gone) > 1)} {named} it falls from rank {found.rank_before:g} to "
        f"{found.rank_after:g}. {least} The model was run on {found.tried:,} histories, and on this one to verify it.",
    )
    st.button("Make it a variant", on_click=explain_choices.set_edits, args=removed(made, chosen, gone))
    table = events.frame().iloc[list(found.positions)]
    history = edits.python(made, chosen)
    numbers(table, key="smallest_removal", code=links.smallest_code(choice, asked, history, k))


def removed(made: list[Edit], chosen: int, gone: list[int]) -> tuple[list[Edit], int]:
    """The edits with one more for each event of `gone`, the last first, so that numbers stay; and the last variant."""
    longer = list(made)
    for number in sorted(gone, reverse=True):
        longer.append(Edit(parent=chosen, kind="remove", numbers=(number,)))
        chosen = len(longer)
    return longer, chosen


def inside(choice: Choice, asked: Asked, variant: Variant, made: list[Edit], chosen: int) -> None:
    """Edits of the state inside the model, at the event that is chosen in the strip."""
    count = variants.state_layers(asked.run)
    if count == 0:
        st.info("This model carries no state of fixed size from event to event: there is nothing inside to edit.")
        return
    number = explain_choices.event_choice(1, len(variant)) or len(variant)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        what = explain_choices.one_of(f"At event {number}", list(INSIDE), key="inside")
        layer = explain_choices.one_of("In layer", ["all", *(str(n + 1) for n in range(count))], key="in_layer")
    layers = tuple(range(count)) if layer == "all" else (int(layer) - 1,)
    pin = None
    if INSIDE[what] is None:
        pin = pinned_question(asked)
        if pin is None:
            return
    kind, value = INSIDE[what] or ("state", 0.0)
    if kind == "decay" and number == 1:
        st.info("Event 1 is the first: there is nothing before it to forget. Choose a later one in the strip above.")
        return
    try:
        found, before, after = variants.intervened(asked, variant, kind, value, layers, number - 1, pin)
    except ExplainError as error:  # which counts events from 0
        st.info(plain(re.sub(rf"\bat event {number - 1}\b", f"at event {number}", str(error))))
        return
    change = ", ".join(f"{100 * one:.3g} %" for one in found.change)
    st.markdown(
        plain(
            f"The state after event {number} is changed by {change} of its size, layer by layer. The score of "
            f"“{choice.title(asked.target)}” moves by {found.effect:+.3g} logits, from rank {found.before.rank:g} to "
            f"{found.after.rank:g}. Event by event and at once the model agrees to {found.error:.1e} logits."
        )
    )
    target = choice.catalog.index[asked.target]
    view = figures.movement(before, after, target, choice.catalog, name="edited inside")
    code = links.inside_code(choice, asked, edits.python(made, chosen), (kind, value), layers, number - 1, pin)
    show(view, key="inside_movement", code=code)


def pinned_question(asked: Asked) -> Asked | None:
    """The pinned history, as one whose state can be put here; None, with the reason, where it cannot."""
    pin = choices.pinned()
    if pin is None:
        st.info("Nothing is pinned: choose another user, press Pin above, and come back to this one.")
        return None
    if pin.run != asked.run:
        st.info(f"The pinned history is of {pin.run}: states of another model do not fit. Pin one of {asked.run}.")
        return None
    return replace(asked, subject=pin.subject, step=pin.step)


PARTS = {"Smallest removal": smallest, "Inside the model": inside}


page_title(PAGES["what_if"].question)
with guard():
    body(choices.header())
