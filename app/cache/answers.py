"""What a run answers: its traces, its recommendations, and why they are as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from cache.sources import Asked, OpenLog, Subject, item_counts, open_run, question_of, run_state, state_of
from recblr.data.log import Catalog
from recblr.explain import METHODS
from recblr.figures import Events, View, describe
from recblr.trace import Trace

if TYPE_CHECKING:
    from recblr.explain import Attribution, Question
    from recblr.explain.faithfulness.agreement import Agreement
    from recblr.explain.faithfulness.curves import Curve
    from recblr.explain.faithfulness.erasure import NormalisedAOPC
    from recblr.explain.memory import GapResponse, LastItem, Lens, RecentItems
    from recblr.recommender import Recommendations


SLOW_KEPT = 256
"""Answers of slow explanation methods."""


Options = tuple[tuple[str, Any], ...]
"""Options of a method by name."""


POPULAR = ("baseline", "popularity")
"""The option that takes the popularity of items, which a log knows."""


def trace(run: str, subject: Subject, step: int, items: Catalog) -> tuple[Trace, Events]:
    """What the run did with the part of the history that holds `step`, and its events with titles from `items`.

    A causal model's trace ends with the history, so one serves every step; of a history longer than the model reads,
    the window of that length which holds the step. Where a step reads the next event's time, or is not causal, each
    step has a trace of its own, which knows what a recommendation at that step knows.
    """
    model = open_run(run)
    window = model.run.model.config.max_len
    total = len(subject)
    backbone = model.run.model
    strict = backbone.causal and not backbone.reads_next_time
    end = total - window * ((total - step) // window) if strict else step
    found = _trace(run, state_of(model.run.folder), subject.key, end, _subject=subject)
    first = end - found.items.shape[1]  # events before the window
    events = describe(
        found.items[0],
        found.times[0],
        items,
        has_times=found.has_times,
        first=first + 1,
        causes=subject.causes[first:end],
        cause_from=subject.cause_from[first:end],
    )
    return found, events


@st.cache_data(max_entries=64, show_spinner="Reading the model's memory …")
def _trace(run: str, state: tuple[str, int, int], key: str, end: int, *, _subject: Subject) -> Trace:
    return open_run(run).trace(_subject.ids[:end], None if _subject.times is None else _subject.times[:end])


@st.cache_data(max_entries=1024, show_spinner=False)
def _recommend(
    run: str, state: tuple[str, int, int], key: str, step: int, k: int, hide: bool, *, _subject: Subject
) -> Any:
    times = None if _subject.times is None else _subject.times[:step]
    return open_run(run).recommend(_subject.ids[:step], k=k, times=times, mask_seen=hide)


def recommend(run: str, subject: Subject, step: int, k: int, hide_seen: bool) -> Recommendations:
    """The run's k best items after the first `step` events."""
    state = run_state(run)
    return _recommend(run, state, subject.key, step, k, hide_seen, _subject=subject)


@st.cache_data(max_entries=4096, show_spinner=False)
def _rank(
    run: str, state: tuple[str, int, int], key: str, step: int, item: str, hide: bool, *, _subject: Subject
) -> float | None:
    model = open_run(run)
    target = model.run.catalog.index.get(item)
    if target is None:
        return None
    torch, ranking = import_module("torch"), import_module("recblr.evaluation.ranking")
    times = None if _subject.times is None else _subject.times[:step]
    scores = torch.from_numpy(np.array(model.scores(_subject.ids[:step], times)))[None]
    seen = model.run.catalog.encode(_subject.ids[:step])[0] if hide else np.zeros(0, dtype=np.int32)
    banned = torch.from_numpy(seen.astype(np.int64))[None]
    return float(ranking.rank_of_target(scores, torch.tensor([target]), banned)[0])


def rank(run: str, subject: Subject, step: int, item: str, hide_seen: bool) -> float | None:
    """Rank of an item after the first `step` events, ties half, 1 = best; None where the run does not know the item."""
    state = run_state(run)
    return _rank(run, state, subject.key, step, item, hide_seen, _subject=subject)


@st.cache_data(max_entries=1024, show_spinner="Asking the model …")
def _answered(key: tuple[Any, ...], *, _subject: Subject, _ask: Callable[[Question], Any]) -> Any:
    """`key` is the run, its state, the subject's key, the step, the target, the contrast, and what `_ask` asks."""
    run, _, _, step, target, contrast, *_ = key
    asked = Asked(run=run, subject=_subject, step=step, target=target, contrast=contrast, hide=False)
    return _ask(question_of(asked))


def answered(asked: Asked, what: tuple[Any, ...], ask: Callable[[Question], Any]) -> Any:
    """What `ask` finds for a question, kept by the question and by `what` is asked of it."""
    state = run_state(asked.run)
    key = (asked.run, state, asked.subject.key, asked.step, asked.target, asked.contrast, *what)
    return _answered(key, _subject=asked.subject, _ask=ask)


def explained(
    asked: Asked, method: str, tell: Callable[[int, int], None] | None = None, options: Options = ()
) -> Attribution:
    """What each event adds to the target's logit, or to its lead over the contrast.

    `options` are those of the method that differ from its own. `tell` hears (done, total) of a method that takes its
    time. Such answers are kept apart: what a function decorated for caching draws must not be drawn outside of it.
    """
    attribute = import_module(METHODS[method].module).attribute if method in METHODS else None
    if attribute is None or "progress" not in signature(attribute).parameters:
        quick: Attribution = answered(asked, ("explained", method), partial(_explain, method))
        return quick
    state = run_state(asked.run)
    key = (asked.run, state, asked.subject.key, asked.step, asked.target, asked.contrast, method, options)
    kept = _slow_answers()
    if key not in kept:
        given = dict(options) | ({"counts": item_counts(asked.run)} if POPULAR in options else {})
        kept[key] = _explain(method, question_of(asked), progress=tell, **given)
        while len(kept) > SLOW_KEPT:
            kept.pop(next(iter(kept)), None)
    return kept[key]


def _explain(method: str, question: Question, **options: Any) -> Attribution:
    found = import_module("recblr.explain").method_for(method, question.model)
    answer: Attribution = import_module(found.module).attribute(question, **options)
    return answer


def method_defaults(method: str) -> dict[str, Any]:
    """The options of a method with what they are if nothing else is said."""
    taken = signature(import_module(METHODS[method].module).attribute).parameters
    return {name: one.default for name, one in taken.items() if one.kind is one.KEYWORD_ONLY}


@st.cache_resource(show_spinner=False)
def _slow_answers() -> dict[tuple[Any, ...], Attribution]:
    return {}


def curve(asked: Asked, method: str, kind: str, options: Options = ()) -> Curve:
    """The deletion or insertion curve of an explanation, beside random orders; for two events or more."""
    found = explained(asked, method, options=options)

    def ask(question: Question) -> Any:
        return import_module("recblr.explain.faithfulness.curves").curve(question, found, kind)

    drawn: Curve = answered(asked, ("curve", method, kind, options), ask)
    return drawn


def aopc(asked: Asked, method: str) -> tuple[NormalisedAOPC, Any]:
    """(how far the order of an explanation gets between the worst and the best that a search finds, [D] what random
    orders get); for two events or more."""
    found = explained(asked, method)

    def ask(question: Question) -> Any:
        erasure = import_module("recblr.explain.faithfulness.erasure")
        return erasure.normalised_aopc(question, found), erasure.random_aopc(question)

    answer: tuple[NormalisedAOPC, Any] = answered(asked, ("aopc", method), ask)
    return answer


def lens(asked: Asked) -> Lens:
    """What the run would say of the target after every event, read off each layer; for causal runs."""

    def ask(question: Question) -> Any:
        return import_module("recblr.explain.memory").lens(question)

    found: Lens = answered(asked, ("lens",), ask)
    return found


def gap_response(asked: Asked) -> GapResponse:
    """What other pauses before the last event would change, that which there was among them; for time-aware runs."""

    def ask(question: Question) -> Any:
        memory = import_module("recblr.explain.memory")
        given = {int(one) for one in np.diff(question.times[-2:])} if question.has_times else set()
        return memory.gap_response(question, gaps=sorted({*memory.GAPS, *given}))

    found: GapResponse = answered(asked, ("gap response",), ask)
    return found


def needed(run: str, opened: OpenLog, users: int) -> tuple[RecentItems, LastItem | None, int]:
    """(how many recent events the run needs, how much of its answers is the last item, how many users this is of)."""
    found: tuple[RecentItems, LastItem | None, int] = _needed(
        run, run_state(run), opened.log.fingerprint, users, _opened=opened
    )
    return found


@st.cache_data(max_entries=64, show_spinner="Showing the run fewer and fewer events …")
def _needed(run: str, state: tuple[str, int, int], fingerprint: str, users: int, *, _opened: OpenLog) -> Any:
    return import_module("recblr.explain.memory").needed_by_run(open_run(run).run, _opened.log, users)


def agreement(asked: Asked, methods: Sequence[str], options: Mapping[str, Options]) -> Agreement:
    """How far methods, each with its options, agree on the question; for two events and two methods or more."""
    compared = import_module("recblr.explain.faithfulness.agreement").agreement
    found: Agreement = compared([explained(asked, one, options=options.get(one, ())) for one in methods])
    return found


def trajectory(found: Trace, layer: int, step: int, events: Events) -> View:
    """The state's path; scikit-learn is imported by the first call."""
    view: View = import_module("recblr.figures.trajectory").trajectory(found, layer, step, events)
    return view
