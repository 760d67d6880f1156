"""Start: what is this, and what can be seen in a minute."""

import links
import streamlit as st
from cache import sources
from draw import page_title, plain
from guard import guard
from pages import PAGES

from recblr.runs import ENVIRONMENT, resolve_run

page_title("What does a recommender remember of you?")
st.markdown(
    "RecBLR Lens opens a trained sequential recommender and shows, event by event, **what it keeps of a user's "
    "history, for how long, and what it would recommend next**, beside other models on the same user. "
    "Linear-recurrent models such as RecBLR carry one state from event to event; it can be read, measured, taken apart."
)


def cards() -> None:
    runs = sources.runs()
    shown = [one for one in links.examples() if one.params.get("run") in runs]
    if not shown:
        return
    st.subheader("See it in one click")
    for row in range(0, len(shown), 3):
        for box, example in zip(st.columns(3), shown[row : row + 3], strict=False):
            with box, st.container(border=True, height="stretch"):
                st.markdown(f"**{plain(example.title)}**")
                st.markdown(plain(example.claim))
                page = PAGES[example.page]
                links.link(page.file, f"Open in {page.title}", example.params, icon=":material/arrow_forward:")
    trust = PAGES["trust"]
    st.markdown("The log is simulated, so it is known which event truly decided: see which explanations name it.")
    links.link(trust.file, f"Open in {trust.title}", {}, icon=":material/arrow_forward:")
    kernel = PAGES["kernel"]
    st.markdown("Under these models runs one operation, a scan over time. Measure it, checked, on this machine:")
    links.link(kernel.file, f"Open in {kernel.title}", {}, icon=":material/arrow_forward:")


def found_runs() -> None:
    runs = sources.runs()
    st.subheader("Runs on this machine")
    working = [info for info in runs.values() if info.error is None]
    st.markdown(
        f"{len(working)} can be opened" + (f", {len(runs) - len(working)} cannot." if len(working) < len(runs) else ".")
    )
    rows = [
        {
            "run": info.name,
            "backbone": info.backbone,
            "preset": info.preset,
            "log": str(info.data.get("name", "")),
            "items": info.n_items,
            "saved": info.date[:10],
        }
        for info in working
    ]
    if rows:
        st.dataframe(rows, hide_index=True, alt="The runs that can be opened, one a row.")
    for info in runs.values():
        if info.error is not None:
            st.warning(f"**{plain(info.name)}** cannot be opened: {plain(info.error)}")


def own_run() -> None:
    st.subheader("Open your own run")
    st.markdown(
        "Train one with `recblr train`. What lies in a folder `runs/` where the app was started is found by itself, "
        f"and so is every folder that the variable `{ENVIRONMENT}` names. Or type the name or path of a run folder "
        "in one of these places:"
    )
    typed = st.text_input("Run folder", key="folder", placeholder="mixed/recblr", label_visibility="collapsed")
    if typed.strip():
        name = sources.name_of(resolve_run(typed.strip()))
        st.success(f"Found: {name}")
        links.link(PAGES["trace"].file, "Open in Trace", {"run": name}, icon=":material/arrow_forward:")


for part in (cards, found_runs, own_run):
    with guard():
        part()
