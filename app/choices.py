"""The choices all pages share, bound to the URL: the only place (with links.py) that names URL parameters.

    run      name of a run folder, such as mixed/recblr
    user     external user id; history  item ids between commas, instead of a user
    step     number of the event that was last read, from 1
    target   external item id that is asked about; without it, the run's own first recommendation
    pin      run, user and step of a second history to compare with

Trace has layer, show, head, all, channel, view and token_head; Compare has models, k, unseen, faithful, state, cause,
table and compressed. The pages about explanations have further ones: see explain_choices.py.
The Kernel live page has its own: operator, direction, type, device, backends, B, T, D, part, along, arch, code.

What a URL asks for and cannot have is replaced by the default, and the reader is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import links
import numpy as np
import streamlit as st
from cache import sources
from cache.sources import OpenLog, Subject
from choice import Choice, Pin
from components.copy_link import copy_link
from draw import plain, selected

from recblr.data.log import Catalog
from recblr.errors import HistoryError, RecblrError
from recblr.figures.view import plural
from recblr.runs import RunInfo

URL = "query-params"
LISTED_USERS = 300
"""Users offered by name; any other is reached by typing the id."""
LISTED_ITEMS = 5000
PREFERRED = "mixed/recblr"
MISNAMED = {"item": "target", "model": "run"}
"""Parameters that a reader may write, as the command line has them, and what they are called here."""
_PIN_MARK = "~"
_LETTERS = 60
"""Of what an address says, repeated to the reader."""


def header() -> Choice:
    """Draw the choices and return them; raises RecblrError with the way out where they lead nowhere."""
    _tell_misnamed()
    boxes = st.columns([3, 3, 3], gap="small")
    with boxes[0]:
        info = _run()
    if info.error is not None:
        raise RecblrError(f"The run {info.name} cannot be opened. {info.error}. The other runs still work.")
    opened = sources.run_log(info)
    with boxes[1]:
        name = _user(opened) if opened is not None else None
        if name is None:
            st.caption(f"The log “{info.data.get('name', '?')}” of this run is not on this machine.")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if opened is not None:
            _example_users(opened)
            st.button("Random user", on_click=_random_user, args=(opened,), icon=":material/casino:")
        subject = _history(info, opened, name)
        if subject is not None:
            _pin_button(info, subject)
        copy_link({"run": info.name, "user": None if subject is None else subject.user}, key="copy_link")
    if subject is None:
        raise HistoryError(_how_to_get_a_log(info))
    if opened is not None and subject.user is None:
        long = plural(len(subject), "event")
        st.caption(f"Shown is the typed history, {long} long, and not that of user {plain(str(name))}.")
    if opened is not None and opened.note:
        st.caption(opened.note)
    ahead = sources.not_causal(info.name)
    if ahead is not None:
        st.warning(plain(f"{ahead}."), icon=":material/visibility:")
    with boxes[2]:
        target = _target(sources.catalog(info, opened))
    return Choice(run=info, opened=opened, subject=subject, target=target)


def run_choice() -> tuple[RunInfo, OpenLog | None]:
    """The run alone, with its log where that is on this machine; for pages about no single user."""
    info = _run()
    if info.error is not None:
        raise RecblrError(f"The run {info.name} cannot be opened. {info.error}. The other runs still work.")
    return info, sources.run_log(info)


def usual_step(subject: Subject) -> int:
    """The last but one event of a user, so that one is left to come next; the last of a typed history."""
    return len(subject) if subject.user is None else max(len(subject) - 1, 1)


def step_choice(choice: Choice) -> int:
    """The step slider; by default the last but one event of a user."""
    total = len(choice.subject)
    usual = usual_step(choice.subject)
    step = kept(
        "step",
        lambda text: whole(text) and 1 <= int(text) <= total,
        str(usual),
        says=lambda text: (
            f"There is no event {quoted(text)}: the history has the events 1 to {total}. "
            f"Shown is the model after event {usual}."
        ),
    )
    if total == 1:
        return 1
    st.session_state["step_slider"] = int(step or 1)
    return int(
        st.slider(
            "Event last read",
            1,
            total,
            key="step_slider",
            on_change=lambda: keep("step", str(st.session_state["step_slider"])),
            help="Everything below is as the model stood after this event. Arrow keys move it too.",
        )
    )


def one_of(label: str, options: Sequence[str], *, key: str, help: str | None = None, default: str | None = None) -> str:
    """A bound choice of one; without `default` the first. Options are what the URL shows, so they are words."""
    usual = options[0] if default is None else default
    _forget_if(key, lambda value: value not in options)
    chosen = st.segmented_control(label, list(options), default=usual, required=True, key=key, bind=URL, help=help)
    return chosen if chosen in options else usual


def open_tab(names: Sequence[str], *, key: str) -> tuple[str, Any]:
    """(name, container) of the tab that the reader opened, at first the first; the others are not built."""
    _forget_if(key, lambda value: value not in names)
    tabs = st.tabs(list(names), key=key, bind=URL)
    return next(((name, tab) for name, tab in zip(names, tabs, strict=True) if tab.open), (names[0], tabs[0]))


def several(label: str, options: Sequence[str], default: Sequence[str], *, key: str) -> list[str]:
    """A bound choice of any number. A default that has become another one is taken where it had been left as it was."""
    before, st.session_state[f"_default_{key}"] = st.session_state.get(f"_default_{key}"), list(default)
    _forget_if(key, lambda value: not set(value) <= set(options) or (value == before and value != list(default)))
    return list(st.pills(label, list(options), selection_mode="multi", default=list(default), key=key, bind=URL))


def switch(label: str, *, key: str, value: bool = False, help: str = "") -> bool:
    """A bound toggle."""
    return bool(st.toggle(label, value=value, key=key, bind=URL, help=help or None))


def number(
    label: str, low: int, high: int, default: int, *, key: str, help: str | None = None, width: Any = "stretch"
) -> int:
    """A bound whole number; the key is the name in the URL."""
    return int(st.number_input(label, low, high, default, key=key, bind=URL, help=help, width=width))


def kept(
    key: str,
    valid: Callable[[str], bool],
    default: str | None = None,
    says: Callable[[str], str] | None = None,
) -> str | None:
    """A choice kept in the URL without a bound widget: its options depend on other choices, or the URL names it by id.

    The URL wins where it says something else than what was last written there (a link, or the browser's back button),
    else the session does, which follows from page to page. What is not valid, or the default, leaves the URL; `says` is
    what the reader is then told of it.
    """
    in_url, in_session = st.query_params.get(key), st.session_state.get(f"_kept_{key}")
    value = in_session if in_url is None or in_url == st.session_state.get(f"_wrote_{key}") else in_url
    if says is not None and value is not None and value == in_url and not valid(value):
        st.warning(says(value))
    value = value if value is not None and valid(value) else default
    wanted = None if value == default else value
    if in_url != wanted:
        if wanted is None:
            del st.query_params[key]
        else:
            st.query_params[key] = wanted
    st.session_state[f"_wrote_{key}"] = wanted
    keep(key, value)
    return value


def in_url(key: str) -> str | None:
    """What the address says, valid or not."""
    return st.query_params.get(key)


def keep(key: str, value: str | None) -> None:
    """Sets such a choice, None for its default; the URL follows when the page is drawn."""
    st.session_state[f"_kept_{key}"] = value


def channel_choice(n_channels: int) -> int | None:
    """Number of the chosen channel, or None."""
    text = kept("channel", lambda value: whole(value) and int(value) < n_channels)
    return None if text is None else int(text)


def moved(component: str) -> None:
    """Callback of a component that the reader moved: puts its step and channel where the page reads them."""
    move = st.session_state[component].get("move") or {}
    if whole(move.get("step")):
        keep("step", str(int(move["step"])))
    if whole(move.get("channel")):
        keep("channel", str(int(move["channel"])))


def refuse_unknown(key: str, items: Catalog, instead: str, also: Sequence[str] = ()) -> None:
    """Says that the address asks for an item that there is not, and what is taken `instead`."""
    asked = in_url(key)
    if asked is not None and asked not in items.index and asked not in also:
        example = items.ids[1] if len(items.ids) > 1 else ""
        st.warning(
            f"The {key} {quoted(asked)} is not in the catalogue of this run, whose ids look like {quoted(str(example))}"
            f"; {instead}."
        )


def refuse_unoffered(key: str, label: str, options: Sequence[str], default: Sequence[str]) -> None:
    """Says that the address asks for what a choice does not offer. Call it before the choice is drawn."""
    wrong = [one for one in st.query_params.get_all(key) if one not in options]
    if wrong:
        named = ", ".join(quoted(one) for one in wrong[:5])
        shown = ", ".join(quoted(one) for one in default) or "nothing"
        st.warning(f"{named} is no choice of “{label}” here: there is {', '.join(options)}. Taken is {shown}.")


def quoted(text: str) -> str:
    """What an address says, as a message may repeat it: not too long, and no Markdown."""
    return f"“{plain(text if len(text) <= _LETTERS else text[:_LETTERS] + '…')}”"


def _tell_misnamed() -> None:
    """Says that the address has a parameter under another name than it has here."""
    for wrong, right in MISNAMED.items():
        asked = in_url(wrong)
        if asked is not None:
            st.warning(f"No page reads “{wrong}” from the address: write {right}={quoted(asked)[1:-1]}.")
            del st.query_params[wrong]


def step_from_chart(chart: str) -> None:
    """Callback of a chart over events: its chosen point moves the step."""
    point = selected(chart)
    if point is not None:
        keep("step", str(round(point["x"])))


def channel_from_chart(chart: str, order: Sequence[int]) -> None:
    """Callback of a chart over channels in `order`: its chosen point is the channel."""
    point = selected(chart)
    if point is not None and 1 <= round(point["x"]) <= len(order):
        keep("channel", str(order[round(point["x"]) - 1]))


def hides_seen(choice: Choice) -> bool:
    """Whether rankings leave out seen items by default: where users come back to items, those are right answers."""
    return choice.opened is None or not choice.opened.repeats


def hide_seen(choice: Choice) -> bool:
    """The switch for it."""
    usual = hides_seen(choice)
    return switch("Leave out items seen before", key="unseen", value=usual)


def pinned() -> Pin | None:
    """What the reader pinned."""
    text = kept(
        "pin",
        lambda value: _pinned(value) is not None,
        says=lambda value: f"What the address pins, {quoted(value)}, is no user of a run here: nothing is pinned.",
    )
    return None if text is None else _pinned(text)


def _pinned(text: str) -> Pin | None:
    run, name, step = (*text.split(_PIN_MARK), "", "")[:3]
    info = sources.runs().get(run)
    opened = None if info is None or info.error else sources.run_log(info)
    if opened is None or name not in opened.log.user_index:
        return None
    subject = sources.user(opened, name)
    if not whole(step) or not 1 <= int(step) <= len(subject):
        return None
    return Pin(run=run, subject=subject, step=int(step), catalog=opened.log.catalog)


def _run() -> RunInfo:
    runs = sources.runs()
    if not runs:
        raise RecblrError(
            "There is no run to open: train one with `recblr train`, or name a folder of runs in RECBLR_RUNS "
            "and start the app again."
        )
    names = sorted(runs, key=lambda name: (name != PREFERRED, runs[name].error is not None))
    asked = st.session_state.get("run", st.query_params.get("run"))
    if asked is not None and asked not in runs:
        st.warning(f"There is no run {quoted(asked)} in the allowed folders; this is {names[0]}.")
    _forget_if("run", lambda value: value not in runs)

    chosen = st.selectbox("Model (run)", names, key="run", bind=URL)
    return runs[chosen if chosen in runs else names[0]]


def _user(opened: OpenLog) -> str:
    known = opened.log.user_index
    named = [name for name in links.named_users(opened.log.name) if name in known]
    options = list(dict.fromkeys([*named, *opened.log.users[:LISTED_USERS].tolist()]))
    asked = st.session_state.pop("_unknown_user", None) or st.query_params.get("user") or options[0]
    name = str(kept("user", lambda text: text in known, options[0]))
    if asked not in known:
        st.warning(f"There is no user {quoted(asked)} in the log “{opened.log.name}”; this is user {plain(name)}.")
    st.session_state["user_box"] = name
    st.selectbox(
        f"User (one of {opened.log.n_users:,})",
        options if name in options else [name, *options],
        key="user_box",
        accept_new_options=True,
        on_change=_take_user,
        args=(opened,),
        help="Choose one, or type any user id of the log.",
    )
    return name


def _take_user(opened: OpenLog) -> None:
    """Callback of the box: any id of the log can be typed there, and anything else too."""
    typed = str(st.session_state["user_box"] or "").strip()
    if typed in opened.log.user_index:
        _choose_user(typed)
    elif typed:
        st.session_state["_unknown_user"] = typed


def _example_users(opened: OpenLog) -> None:
    named = {name: one for name, one in links.named_users(opened.log.name).items() if name in opened.log.user_index}
    if not named:
        return
    with st.popover("Example users", icon=":material/person_search:"):
        for name, label in named.items():
            st.button(f"{name}: {label}", key=f"_example_{name}", on_click=_choose_user, args=(name,), type="tertiary")


def _choose_user(name: str) -> None:
    """Callback: another history has other steps, so the cursor goes back to its default."""
    keep("user", name)
    keep("step", None)
    st.session_state["history"] = ""


def _history(info: RunInfo, opened: OpenLog | None, name: str | None) -> Subject | None:
    """The typed history where there is one, else the chosen user."""
    with st.popover("Type a history", icon=":material/edit:"):
        text = st.text_area(
            "Item ids, oldest first, between commas",
            key="history",
            bind=URL,
            on_change=lambda: keep("step", None),
            height=90,
        )
        items = sources.catalog(info, opened)
        st.caption("Such as " + ", ".join(f"`{one}`" for one in items.ids[1:4].tolist()) + ". Empty: back to the user.")
    if text and text.strip():
        subject, unknown = sources.typed(text, info.name)
        if unknown:
            shown = ", ".join(quoted(one) for one in unknown[:5]) + (" …" if len(unknown) > 5 else "")
            st.warning(
                f"{len(unknown)} of the typed ids are not in the catalogue of {info.name}: {shown}. "
                + ("The others are read." if subject is not None else "None is left to read.")
            )
        if subject is not None:
            return subject
    return None if opened is None or name is None else sources.user(opened, name)


def _target(items: Catalog) -> str | None:
    """Kept in the URL by its id and chosen by its title, which a bound widget would write into the URL."""
    refuse_unknown("target", items, "asked about is the model’s own first choice")
    asked = kept("target", lambda value: value in items.index)
    options = items.ids[1 : LISTED_ITEMS + 1].tolist()
    if asked is not None and asked not in options:
        options.insert(0, asked)
    st.session_state["target_box"] = asked
    return st.selectbox(
        "Item asked about",
        options,
        index=None,
        format_func=lambda item: items.title(items.index[item]) if item in items.index else str(item),
        key="target_box",
        on_change=lambda: keep("target", st.session_state["target_box"]),
        placeholder="the model's own first choice",
    )


def _pin_button(info: RunInfo, subject: Subject) -> None:
    if pinned() is not None:
        st.button("Unpin", icon=":material/keep_off:", on_click=keep, args=("pin", None))
    elif subject.user is not None:
        why = "Keep this history beside the next one."
        st.button("Pin", icon=":material/keep:", on_click=_pin, args=(info.name, subject), help=why)


def _pin(run: str, subject: Subject) -> None:
    step = st.session_state.get("_kept_step") or usual_step(subject)
    keep("pin", _PIN_MARK.join([run, str(subject.user), str(step)]))


def _random_user(opened: OpenLog) -> None:
    row = int(np.random.default_rng().integers(opened.log.n_users))
    _choose_user(str(opened.log.users[row]))


def _forget_if(key: str, wrong: Callable[[Any], bool]) -> None:
    """Drop a value that the widget of this key could not take, before the widget is drawn."""
    if key in st.session_state and st.session_state[key] is not None and wrong(st.session_state[key]):
        del st.session_state[key]


def whole(value: object) -> bool:
    """Whether int() takes it: some texts are digits and no numbers, and very long ones are refused."""
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) < 12
    return isinstance(value, int)


def _how_to_get_a_log(info: RunInfo) -> str:
    name = str(info.data.get("name", ""))
    return (
        f"The log “{name}” of {info.name} is not on this machine. Get it with `recblr download {name}` "
        "if it is a MovieLens set, or put its folder where RECBLR_DATA points; or type a history of item ids above."
    )
