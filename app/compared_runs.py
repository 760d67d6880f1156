"""The part of the Compare page that is about runs and not about one user: by cause, by cost, as recorded."""

from __future__ import annotations

from collections.abc import Mapping

import choices
import compare_code
import links
import streamlit as st
from cache import records, sources
from choice import Choice
from draw import plain, show
from guard import guard

from recblr import figures
from recblr.errors import RecblrError
from recblr.figures.by_cause import Row, rows_of
from recblr.figures.compression import metrics_of
from recblr.runs import RunInfo

FIRST_CAUSE = "habit"
"""The cause that is first set against the state: which item it leads to is the user's own, so that it must be kept."""


@st.fragment
def causes(choice: Choice, runs: Mapping[str, RunInfo]) -> None:
    """What the runs get right of each cause, where their log knows causes, and on request what they keep of a user."""
    with guard():
        same = [
            name for name, info in runs.items() if info.data.get("fingerprint") == choice.run.data.get("fingerprint")
        ]
        words = links.short_names(same, choice.run.name)
        found = {words[name]: rows_of(runs[name].metrics) for name in same}
        found = {word: rows for word, rows in found.items() if rows}
        if not found:
            return
        st.divider()
        st.caption(plain(f"On the test targets of {choice.run.data.get('name')}, from the metrics.json of each run."))
        models = {words[name]: name for name in same if words[name] in found}
        show(figures.by_cause(found), key="by_cause", code=compare_code.by_cause_code(models))
        if choices.switch(
            "Set it against what each model keeps of a user",
            key="state",
            help="Opens each of these models and lets it read a history: up to a second a model, once.",
        ):
            against_state(found, models)


def against_state(found: Mapping[str, list[Row]], models: Mapping[str, str]) -> None:
    names = list(dict.fromkeys(row["cause"] for rows in found.values() for row in rows if row["planted"]))
    if not names:
        return
    cause = choices.one_of("Cause", sorted(names, key=lambda one: one != FIRST_CAUSE), key="cause")
    kept, bar = {}, st.empty()
    for n, (word, name) in enumerate(models.items()):
        bar.progress(n / len(models), text=f"Opening {plain(word)}")
        try:
            kept[word] = sources.kept_of_user(name)
        except RecblrError as error:
            st.warning(f"{plain(word)} is left out: {plain(str(error))}")
    bar.empty()
    view = figures.against_state(found, kept, cause)
    show(view, key="against_state", code=compare_code.against_state_code(models, cause))
    st.caption(
        "What is kept is what a model carries from event to event to answer the next one: hidden states and the last "
        "inputs of convolutions, or keys and values of the events. Scores are of one training each."
    )


@st.fragment
def costs() -> None:
    """What all backbones of a table cost, from the recorded results: none of it is measured here."""
    with guard():
        tables = records.results()
        if not tables:
            return
        st.divider()
        name = choices.one_of("Recorded results of", list(tables), key="table")
        entries = tables[name]
        machines = " and ".join(dict.fromkeys(entry.trained_on for entry in entries if entry.trained_on))
        dates = sorted(entry.date[:10] for entry in entries)
        when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        st.caption(plain(f"Recorded, not measured here: {when}, on {machines}."))
        show(figures.golden_triangle(entries), key="golden_triangle", code=compare_code.results_code(name))


@st.fragment
def compression() -> None:
    """The recorded study of compressed histories, where there is one."""
    with guard():
        study = records.compression_record()
        if study is None:
            return
        st.divider()
        metric = choices.one_of("Measured by", metrics_of(study), key="compressed")
        st.caption(
            plain(
                f"Recorded, not measured here: {study['date'][:10]}, on {study['device']}, commit "
                f"{str(study['commit'] or 'unknown')[:7]}; {study['log']}, {study['part']}, protocol "
                f"{study['protocol']}."
            )
        )
        show(figures.compression(study, metric), key="compression", code=compare_code.compression_code(metric))
