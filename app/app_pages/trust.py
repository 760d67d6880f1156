"""Trust: do the explanations of a model point at what truly decided, and do they know what the model does?"""

import uuid
from functools import partial

import choices
import explain_choices
import links
import pandas as pd
import streamlit as st
from cache import records, sources
from cache.sources import OpenLog
from components.copy_link import copy_link
from draw import heading, numbers, page_title, plain, selected, show
from guard import guard
from pages import PAGES
from trust_code import faithfulness_code, faithfulness_record_code, trust_code, trust_record_code
from trust_runs import Measured, Request

from recblr import figures
from recblr.explain import METHODS, methods_of
from recblr.figures.causes import CAUSES
from recblr.figures.scoreboard import MEASURES, order_of
from recblr.figures.view import number, percent, plural
from recblr.runs import RunInfo

FIRST = ("held_gates", "removal", "gradient_input", "integrated_gradients", "counts")  # until the reader chooses
MEANT = " ".join(f"**{name}**: {meaning}." for name, meaning in MEASURES.items())
TITLES = {name: one.title for name, one in METHODS.items()}
KNOWN = (
    "An explanation that reads well may still be wrong. The log of this run is simulated, so each event knows which "
    "earlier event truly decided it: **a method earns trust by naming that event**, for events that the model "
    "was not trained on."
)
UNKNOWN = (
    "An explanation that reads well may still be wrong. Nobody knows what truly decided the events of this log, so its "
    "explanations are tested against the model: **a method earns trust where leaving out what it names changes the "
    "answer more** than leaving out events at random."
)
CONTRASTS = {"its own score": "none", "its lead over the best other item": "runner-up"}
BEATS = "deletion beats the mean of random up to half"  # a measure of faithfulness, part of the users
POLL_SECONDS = 1.0
LINKED = 8  # users behind a cell that are linked


def owner() -> str:
    return str(st.session_state.setdefault("_trust_owner", uuid.uuid4().hex))


def body() -> None:
    boxes = st.columns([2, 3], gap="small", vertical_alignment="bottom")
    with boxes[0]:
        info, opened = choices.run_choice()
    with boxes[1]:
        copy_link({"run": info.name}, key="copy_link")
    st.markdown(KNOWN if opened is not None and opened.truth is not None else UNKNOWN)
    record = records.trust_records().get(info.name)
    if opened is None:
        st.info("The log of this run is not on this machine, so nothing can be measured here.")
    else:
        with guard():
            measure_here(info, opened)
    with guard():
        recorded(info, record)


def measure_here(info: RunInfo, opened: OpenLog) -> None:
    """The controls, the run under way, and what it found."""
    truth = opened.truth is not None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        possible = {one.title: one.name for one in methods_of(sources.open_run(info.name).run.model)}
        usual = [title for title, name in possible.items() if name in FIRST]
        titles = explain_choices.several("Methods", list(possible), usual, key="methods")
        label, counts, usual = "Users", ["5", "10", "20"], "5"
        if truth:
            label, counts, usual = "Events of each cause", ["5", "10", "25", "50"], "10"
        count = int(explain_choices.one_of(label, counts, key="events", default=usual))
        contrast = "none"
        if truth:
            contrast = CONTRASTS[explain_choices.one_of("Explained is", list(CONTRASTS), key="explained")]
    request = Request(
        run=info.name, state=sources.run_state(info.name), methods=tuple(possible[title] for title in titles),
        events=count, contrast=contrast,
    )  # fmt: skip
    runs = records.trust_runs()
    own = runs.of(owner())
    busy = own is not None and own.under_way
    st.button(
        "Measure", key="measure_trust", type="primary", icon=":material/play_arrow:",
        disabled=busy or not request.methods, on_click=start, args=(request, opened),
    )  # fmt: skip
    with st.container(key="watch"):
        watch()
    found = runs.found(request)
    if found is None and not busy:
        st.info(
            "Nothing was measured yet for these choices. **Measure** takes events that the model was not trained on, "
            "explains each with every method, and looks whether the explanation names the event that truly decided."
            if truth
            else "Nothing was measured yet for these choices. **Measure** asks, for some users of the test part, why "
            "the model recommends its first item, and tests each answer by running the model without what it names."
        )
    elif found is not None and found.rows:
        live(info, opened, found)
    elif found is not None:
        said = f"**Measured here** in {found.seconds:.0f} s: means over {count} users of the test part."
        faithfulness(found.faithfulness, said, key="live_faithfulness", code=faithfulness_code(opened, request))


def start(request: Request, opened: OpenLog) -> None:
    """Callback of the button."""
    with guard():
        records.measure_trust(request, owner(), opened)


def progress() -> None:
    """How far the reader's measurement is; drawn again until it ends, then the page is."""
    runs = records.trust_runs()
    run = runs.of(owner())
    if run is None or not run.under_way:
        st.rerun()
    ahead = runs.ahead(run)
    if ahead:
        text = f"In line: {plural(ahead, 'measurement')} of other readers before it"
    else:
        text = f"Measuring: {run.said}" + (f", {run.done:,} of {run.total:,}" if run.total > 1 else "")
    st.progress(0.0 if ahead else min(run.done / run.total, 1.0), text=text)
    st.button("Cancel", key="cancel", on_click=runs.cancel, args=(owner(),))


def watch() -> None:
    """The progress of the reader's measurement, or how the last one ended badly."""
    run = records.trust_runs().of(owner())
    if run is None:
        return
    if run.under_way:
        st.fragment(progress, run_every=POLL_SECONDS)()
    elif run.cancelled:
        st.info(f"Cancelled after {run.seconds:.0f} s.")
    elif run.failed:
        st.error(plain(f"The measurement failed: {run.failed}"))


def live(info: RunInfo, opened: OpenLog, found: Measured) -> None:
    """The scoreboard as measured here, and who is behind a cell."""
    counted = explain_choices.one_of("A cell shows", list(MEASURES), key="counted", help=MEANT)
    view = figures.scoreboard(found.rows, TITLES, counted)
    st.caption(
        f"**Measured here** in {found.seconds:.0f} s: {len(found.cases)} held-out events, each explained by every "
        f"method; explained is {explained_words(found.request.contrast)}."
    )
    code = trust_code(opened, found.request, counted)
    show(view, key="live_board", code=code, on_select=partial(take_cell, found))
    what_happens(found.rows)
    behind(info, opened, found)


def explained_words(contrast: str) -> str:
    return next((words for words, one in CONTRASTS.items() if one == contrast), contrast)


def what_happens(rows: list[dict]) -> None:
    """What the columns and the two rows of reference mean."""
    causes = [one for one in order_of(rows)[1] if one in CAUSES]
    with st.popover("What do the rows and columns mean?", icon=":material/help:"):
        st.markdown("\n".join(f"- **{one}**: {plain(CAUSES[one])}" for one in causes))
        st.markdown(
            "Two rows need no explanation at all: **last event** always names the last one, **chance** any one. "
            "A method is worth something where it beats both. Where a rule needs a cue, both events decide: an "
            "explanation that names the cue first is no mistake, and “cue aside” does not count it as one."
        )


def take_cell(found: Measured) -> None:
    """Callback: the cell that was clicked is looked behind."""
    point = selected("live_board")
    methods, causes = order_of(found.rows)
    if point is not None and methods[round(point["y"])] in TITLES:
        st.session_state["behind"] = TITLES[methods[round(point["y"])]]
        st.session_state["cause"] = causes[round(point["x"])]


def behind(info: RunInfo, opened: OpenLog, found: Measured) -> None:
    """The users of one cell, those whom the method missed first, each linked to their explanation."""
    methods, causes = order_of(found.rows)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        titles = {TITLES[one]: one for one in methods if one in TITLES}
        method = explain_choices.one_of("Behind the cell of", list(titles), key="behind")
        cause = explain_choices.one_of("and", causes, key="cause")
    cases = [one for one in found.cases if one.cause == cause]
    hits = sum(one.hits[titles[method]] for one in cases)
    heading(
        f"Who is behind {method}, {cause}?",
        f"It names the deciding event first for {hits} of {len(cases)} users. Open one to see the explanation; the "
        "misses come first.",
    )
    catalog = opened.log.catalog
    for case in sorted(cases, key=lambda one: one.hits[titles[method]])[:LINKED]:
        said = "hit" if case.hits[titles[method]] else "missed"
        known = "" if case.known else "; the model does not rank the item first"
        title = catalog.title(catalog.index[case.target])
        label = f"{said}: user {case.user}, event {case.position + 1}, “{title}”, decided by event {case.decided_by}"
        params = {
            "run": info.name, "user": case.user, "step": str(case.position), "target": case.target, "method": method,
            "event": str(case.decided_by),
        }  # fmt: skip
        if found.request.contrast == "none":
            params["contrast"] = explain_choices.NO_CONTRAST
        links.link(PAGES["why"].file, plain(label + known), params, icon=":material/arrow_forward:")


def faithfulness(rows: list[dict], source: str, *, key: str, code: str) -> None:
    """Measures that need no truth, one column a method."""
    if not rows:
        return
    heading("Does each method know what the model does?", best_of(rows))
    st.caption(source)
    frame = pd.DataFrame(rows)
    frame["method"] = [TITLES.get(one, one) for one in frame["method"]]
    turned = frame.set_index("method").drop(columns=["exactness", "users"], errors="ignore").T.rename_axis("measure")
    words = turned.map(lambda value: "–" if pd.isna(value) else number(float(value)))
    st.dataframe(
        words.reset_index(), hide_index=True, key=f"{key}_shown", alt="One measure a row, one method a column."
    )
    numbers(turned.reset_index(), key=key, code=code)


def best_of(rows: list[dict]) -> str:
    """Which method's order beats random orders for most users."""
    known = {row["method"]: row[BEATS] for row in rows if row.get(BEATS) is not None}
    if not known:
        return "Nothing was found that tells the methods apart."
    best, worst = max(known, key=lambda one: known[one]), min(known, key=lambda one: known[one])
    said = (
        f"Leaving out first what {TITLES.get(best, best)} puts first hurts the item more than random orders do in the "
        f"mean, at every count up to half of the history, for {percent(known[best])} of the users"
    )
    return said + (f"; {TITLES.get(worst, worst)}: {percent(known[worst])}." if worst != best else ".")


def recorded(info: RunInfo, record: dict | None) -> None:
    """The scoreboard as recorded, marked as such."""
    if record is None:
        heading("What was recorded?", "Nothing for this run.")
        st.info(f"`recblr trust {info.name} --out recblr/results/trust.json` writes the record that is shown here.")
        return
    marked = f"Recorded on {record.get('device', '?')}, {str(record.get('date', '?'))[:10]}, commit "
    heading("What was recorded?", f"{marked}{str(record.get('commit', '?'))[:10]}. Not measured now.")
    rows = record.get("pointing", [])
    if rows:
        counted = st.session_state.get("counted", next(iter(MEASURES)))
        view = figures.scoreboard(rows, TITLES, counted if counted in MEASURES else next(iter(MEASURES)))
        st.caption(
            f"**Recorded**: {rows[0].get('events', '?')} events of each cause; explained is "
            f"{explained_words(str(record.get('contrast', 'none')))}."
        )
        show(view, key="recorded_board", code=trust_record_code(info.name, counted))
    said = f"**Recorded**: means over {record.get('users', '?')} users of the test part."
    code = faithfulness_record_code(info.name)
    faithfulness(record.get("faithfulness", []), said, key="recorded_faithfulness", code=code)


page_title(PAGES["trust"].question)
with guard():
    body()
