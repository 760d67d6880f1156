"""The choices of the pages about explanations, bound to the URL like those of choices.py.

contrast external item id that the target is compared with; "nothing" for none; without it, the best other item
method   title of the explanation method
event    number of the event that is looked at
edits    edits of the history, as in edits.py
variant  number of the edited history that is looked at, by default the last

Why further has evidence, curve, measure, methods and all, and the options of method_options.py; What if has edit,
search, smallest, k, inside and in_layer; Trust has methods, events, explained, counted, behind and cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import choices
import edits
import streamlit as st
from cache import answers, sources
from cache.sources import Asked
from choice import Choice
from draw import selected
from edits import Edit

from recblr.data.log import Catalog
from recblr.errors import ExplainError, RecblrError
from recblr.explain import METHODS, Method, Variant, methods_of

NO_CONTRAST = "nothing"
FIRST_METHODS = ("held_gates", "counts")
"""Offered first where a backbone can have them."""
ALONE = "the history has one event, and without it the model says nothing; a longer history has removals"


def question(choice: Choice, step: int, *, contrasted: bool = True) -> Asked:
    """The target, by default the first recommendation, and the contrast, by default the best other item.

    Raises ExplainError where the target cannot be recommended.
    """
    boxes = st.columns([3, 2], gap="small", vertical_alignment="bottom") if contrasted else [st.container()]
    with boxes[-1]:
        hide = choices.hide_seen(choice)
    best = [row.item for row in answers.recommend(choice.run.name, choice.subject, step, 2, hide)]
    if not best:
        raise ExplainError("Every item of the catalogue was seen before, so none is left to recommend.")
    target, seen = choice.target or best[0], choice.subject.ids[:step]
    if hide and target in seen:
        raise ExplainError(
            f"{choices.quoted(choice.title(target))} is already in the history (event {seen.index(target) + 1}), and "
            "items seen before are left out: it cannot be recommended. Choose another item above, or switch that off."
        )
    contrast = None
    if contrasted:
        with boxes[0]:
            contrast = _contrast(choice, target, next((item for item in best if item != target), None))
    return Asked(run=choice.run.name, subject=choice.subject, step=step, target=target, contrast=contrast, hide=hide)


def _contrast(choice: Choice, target: str, best_other: str | None) -> str | None:
    """External id of the item that the target is compared with, None for its own score."""
    items = choice.catalog
    choices.refuse_unknown("contrast", items, "compared is with the best other item", also=(NO_CONTRAST,))
    chosen = choices.kept("contrast", lambda value: value == NO_CONTRAST or value in items.index)
    if chosen == target:
        st.warning(
            f"{choices.quoted(choice.title(target))} is compared with itself, and the difference is zero whatever the "
            "history; compared is with the best other item instead. Choose another item below, or nothing."
        )
        chosen = None
        choices.keep("contrast", None)
    options = [NO_CONTRAST, *(one for one in items.ids[1 : choices.LISTED_ITEMS + 1].tolist() if one != target)]
    if chosen is not None and chosen not in options:
        options.append(chosen)
    st.session_state["contrast_box"] = chosen
    st.selectbox(
        "Compared with",
        options,
        index=None,
        format_func=lambda one: "nothing: explain its own score" if one == NO_CONTRAST else choice.title(one),
        key="contrast_box",
        on_change=lambda: choices.keep("contrast", st.session_state["contrast_box"]),
        placeholder="the best other item" + ("" if best_other is None else f": {choice.title(best_other)}"),
        help="What speaks for both items alike cancels out: left is what decides between them.",
    )
    return best_other if chosen is None else None if chosen == NO_CONTRAST else chosen


def method_choice(run: str, events: int) -> Method:
    """How to explain `events` of a history. Said is why a method that the address asks for cannot."""
    model = sources.open_run(run).run.model
    offered = {one.title: one for one in methods_of(model) if events > 1 or one.name != "removal"}
    first = next((one for one in FIRST_METHODS if one in METHODS and METHODS[one].title in offered), "removal")
    titles = sorted(offered, key=lambda title: offered[title].name != first)
    asked = choices.in_url("method")
    known = next((one for one in METHODS.values() if asked in {one.title, one.name}), None)
    if known is not None and known.title not in offered:
        why = known.why_not(model) or ALONE
        st.warning(f"{known.title} cannot explain this: {why}. Shown is {titles[0]}.")
    elif known is not None and asked == known.name:
        st.session_state["method"] = known.title  # as the command line has it
    elif known is None:
        choices.refuse_unoffered("method", "Method", titles, titles[:1])
    return offered[choices.one_of("Method", titles, key="method")]


def one_of(label: str, options: Sequence[str], *, key: str, help: str | None = None, default: str | None = None) -> str:
    """A bound choice of one, which says so where the address asks for another."""
    choices.refuse_unoffered(key, label, options, [options[0] if default is None else default])
    return choices.one_of(label, options, key=key, help=help, default=default)


def several(label: str, options: Sequence[str], default: Sequence[str], *, key: str) -> list[str]:
    """A bound choice of any number, which says so where the address asks for others."""
    choices.refuse_unoffered(key, label, options, default)
    return choices.several(label, options, default, key=key)


def open_tab(names: Sequence[str], *, key: str) -> tuple[str, Any]:
    """The tab that the reader opened, which says so where the address asks for another."""
    choices.refuse_unoffered(key, "Tabs", names, names[:1])
    return choices.open_tab(names, key=key)


def usual_method(run: str) -> Method:
    """The method that is offered first for a run."""
    offered = {one.name: one for one in methods_of(sources.open_run(run).run.model)}
    return next(offered[name] for name in (*FIRST_METHODS, "removal") if name in offered)


def event_choice(first: int, last: int) -> int | None:
    """Number of the event that is looked at, or None."""
    text = choices.kept(
        "event",
        lambda value: choices.whole(value) and first <= int(value) <= last,
        says=lambda value: (
            f"There is no event {choices.quoted(value)} here: the model reads the events {first} to {last}."
        ),
    )
    return None if text is None else int(text)


def event_from_chart(chart: str) -> None:
    """Callback of a chart over events: its chosen point is the event that is looked at."""
    point: dict[str, Any] | None = selected(chart)
    if point is not None:
        choices.keep("event", str(round(point["x"])))


def event_from_bar(chart: str) -> None:
    """Callback of the waterfall, whose bars carry (what they are, the number of their event or 0)."""
    point: dict[str, Any] | None = selected(chart)
    event = 0 if point is None else int(point.get("customdata", ["", 0])[1])
    if event:
        choices.keep("event", str(event))


def event_moved(component: str) -> None:
    """Callback of the strip: the event under its cursor is the one that is looked at."""
    step = (st.session_state[component].get("move") or {}).get("step")
    if step is not None:
        choices.keep("event", str(int(step)))


def edits_choice(given: Variant, catalog: Catalog, about: str) -> list[Edit]:
    """The edits that the reader made of `given`; those of another history, which `about` tells apart, are dropped."""
    arrived = choices.in_url("edits") not in {None, st.session_state.get("_kept_edits")}
    if st.session_state.get("_edits_about", about) != about:
        choices.keep("edits", None)
        choices.keep("variant", None)
    elif arrived and choices.in_url("variant") is None:
        choices.keep("variant", None)  # a link means the last of its own edits
    st.session_state["_edits_about"] = about
    refused: list[str] = []

    def valid(text: str) -> bool:
        try:
            edits.variants(given, edits.read(text), catalog)
        except RecblrError as error:
            refused.append(str(error))
        return not refused

    text = choices.kept("edits", valid, "")
    if refused:
        st.warning(f"The edits in the address cannot be made here, so the history is as given. {refused[0]}")
    return edits.read(text or "")


def set_edits(made: Sequence[Edit], chosen: int) -> None:
    """Callback: these edits, and this variant of them."""
    choices.keep("edits", edits.write(made))
    choices.keep("variant", str(chosen))


def add_edit(given: Variant, catalog: Catalog, made: Sequence[Edit], edit: Edit) -> None:
    """Callback: one more edit, or what is wrong with it."""
    st.session_state.pop("_edit_refused", None)
    try:
        edits.variants(given, edits.read(edits.write([*made, edit])), catalog)
    except RecblrError as error:
        st.session_state["_edit_refused"] = str(error)
        return
    set_edits([*made, edit], len(made) + 1)


def variant_choice(count: int) -> int:
    """Number of the variant that is looked at, of `count`; by default the last."""
    found = choices.kept(
        "variant",
        lambda text: choices.whole(text) and int(text) < count,
        str(count - 1),
        says=lambda text: f"There is no variant {choices.quoted(text)}: the last is {count - 1}, which is shown.",
    )
    return int(found or 0)


def address(asked: Asked) -> dict[str, str]:
    """The question as parameters of another page."""
    subject = asked.subject
    who = {"history": ",".join(subject.ids)} if subject.user is None else {"user": subject.user}
    return {"run": asked.run, **who, "step": str(asked.step), "target": asked.target}
