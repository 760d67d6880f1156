"""Everything the app keeps between reruns, and the only place with Streamlit's cache decorators.

Keys are names and fingerprints, never arrays. What is cached is shared by all sessions, so nobody may change it.
torch and scikit-learn are imported here when they are first needed: the first paint does not wait for them.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from live import RECORD_FIELDS, RESULTS, Facts, Runner
from trust_runs import Place, Request, TrustRunner

import recblr
from recblr.data import find_log, fit_to_catalog, open_log
from recblr.data.locate import is_plain_name
from recblr.data.log import Catalog, InteractionLog
from recblr.data.simulator import Truth, has_truth, load_truth
from recblr.errors import RecblrError
from recblr.explain import METHODS
from recblr.figures import Events, View, describe
from recblr.figures.compression import readable
from recblr.leaderboard.entries import Entry, recorded
from recblr.runs import SAMPLE_ROOT, RunInfo, list_runs, resolve_run
from recblr.trace import Trace

if TYPE_CHECKING:
    from recblr.explain import Attribution, MinimalRemoval, Question, Variant
    from recblr.explain.faithfulness.agreement import Agreement
    from recblr.explain.faithfulness.curves import Curve
    from recblr.explain.faithfulness.erasure import NormalisedAOPC
    from recblr.explain.interventions import Intervened, Said
    from recblr.explain.memory import GapResponse, LastItem, Lens, RecentItems
    from recblr.explain.outcomes import Outcomes
    from recblr.recommender import Recommendations, Recommender


SLOW_KEPT = 256
"""Answers of slow explanation methods."""
Options = tuple[tuple[str, Any], ...]
"""Options of a method by name."""
POPULAR = ("baseline", "popularity")
"""The option that takes the popularity of items, which a log knows."""
TRUST = Path(recblr.__file__).with_name("results") / "trust.json"
"""Recorded scoreboards, as `recblr trust --out` writes them."""
COMPRESSION = TRUST.with_name("compression.json")
"""A recorded study, as `recblr compression-study --out` writes it."""


@dataclass(frozen=True, kw_only=True)
class OpenLog:
    """A log that users can be chosen from."""

    log: InteractionLog
    truth: Truth | None
    """Why each event happened, where the log is simulated."""
    name: str
    """Name it is found by."""
    sample: bool
    """Whether it came with the project."""
    note: str = ""
    """What a reader must know of how it was fitted to the run."""

    @property
    def repeats(self) -> bool:
        """Whether users come back to items, so that leaving out seen items would leave out right answers."""
        return _repeats(self.log.fingerprint, self.log)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whose history is looked at: a user of a log, or a history typed by hand."""

    key: str
    """Different for different histories."""
    label: str
    ids: tuple[str, ...]
    """[T] external item ids, oldest first, all of them in the run's catalogue."""
    times: tuple[int, ...] | None
    """[T] unix seconds."""
    causes: tuple[str, ...] = ()
    """[T] or empty."""
    cause_from: tuple[int, ...] = ()
    """[T] number of the causing event counted from 1, 0 for none; or empty."""
    user: str | None = None
    """External id; None for a typed history."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question about a recommendation: why this item, and not that one, after these events?"""

    run: str
    subject: Subject
    step: int
    """Events of the history that count, the first so many."""
    target: str
    """External id."""
    contrast: str | None
    """External id of the item it is compared with."""
    hide: bool
    """Whether items of the history are left out of rankings."""


@st.cache_resource(show_spinner=False)
def warm_up() -> threading.Thread:
    """Imports what the pages will need, in the background, once a server.

    One history is too little work to share between threads: waiting for one another takes longer than the sums. Each
    library reads the variable when it is loaded.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    def heavy() -> None:
        for module in ("recblr.recommender", "recblr.evaluation.ranking", "recblr.figures.trajectory"):
            import_module(module)

    thread = threading.Thread(target=heavy, name="warm-up", daemon=True)
    thread.start()
    return thread


@st.cache_data(ttl=10, max_entries=1, show_spinner=False)
def runs() -> dict[str, RunInfo]:
    """Every run in the allowed folders by name, read again after ten seconds so that a new one appears."""
    return {info.name: info for info in list_runs()}


@st.cache_resource(show_spinner=False)
def kinds() -> dict[str, str]:
    """Backbone -> how it carries the past along, in the order of the registry."""
    registry = import_module("recblr.backbones").REGISTRY
    return {name: backbone.kind() for name, backbone in registry.items()}


def open_run(name: str) -> Recommender:
    """A run by name; raises CheckpointError with the way out where it cannot be opened."""
    folder = resolve_run(name)
    return _open_run(name, *_state_of(folder), _folder=folder)


def _state_of(folder: Path) -> tuple[str, int, int]:
    """What changes when a run folder is written anew."""
    weights, config = folder / "model.safetensors", folder / "config.yaml"
    return (
        str(folder),
        weights.stat().st_mtime_ns if weights.exists() else 0,
        config.stat().st_mtime_ns if config.exists() else 0,
    )


@st.cache_resource(max_entries=16, show_spinner="Opening the run …")
def _open_run(name: str, place: str, weights: int, config: int, *, _folder: Path) -> Recommender:
    return recblr.load(_folder)


def kept_of_user(name: str) -> tuple[int, str]:
    """(bytes that a run carries from event to event, what they are)."""
    folder = resolve_run(name)
    found: tuple[int, str] = _kept_of_user(name, _state_of(folder), _folder=folder)
    return found


@st.cache_data(max_entries=256, show_spinner=False)
def _kept_of_user(name: str, state: tuple[str, int, int], *, _folder: Path) -> Any:
    # Opened for this alone: so many runs would push those in use out of the cache of open ones.
    return import_module("recblr.leaderboard.cost").kept_of_user(recblr.load(_folder).run.model)


def run_log(info: RunInfo) -> OpenLog | None:
    """The log a run was trained on, found by its name and fitted to the run's catalogue; None where it is not here."""
    name = str(info.data.get("name", ""))
    place = _log_place(name)
    if place is None:
        return None
    opened = _open_log(name, str(place))
    if opened.log.fingerprint == info.data.get("fingerprint"):
        return opened
    return _fitted(opened.log.fingerprint, info.name, _opened=opened)


def _log_place(name: str) -> Path | None:
    return _sample(name) if is_plain_name(name) and _sample(name).is_dir() else find_log(name)


def _sample(name: str) -> Path:
    return SAMPLE_ROOT.parent / name


@st.cache_resource(max_entries=4, show_spinner="Reading the log …")
def _open_log(name: str, place: str) -> OpenLog:
    log, _ = open_log(place)
    truth = load_truth(place, log) if has_truth(place) else None
    return OpenLog(log=log, truth=truth, name=name, sample=Path(place) == _sample(name))


@st.cache_resource(max_entries=8, show_spinner="Fitting the log to the run …")
def _fitted(fingerprint: str, run: str, *, _opened: OpenLog) -> OpenLog:
    log = fit_to_catalog(_opened.log, open_run(run).run.catalog)
    lost = _opened.log.n_events - log.n_events
    if lost == 0 and log.catalog.fingerprint == _opened.log.catalog.fingerprint:
        return _opened
    note = f"{lost:,} of {_opened.log.n_events:,} events of the log are of items that this run does not know; left out."
    return replace(_opened, log=log, truth=None, note=note if lost else "")


@st.cache_data(max_entries=16, show_spinner=False)
def _repeats(fingerprint: str, _log: InteractionLog) -> bool:
    user_of = np.repeat(np.arange(_log.n_users), _log.lengths())
    pairs = np.unique(user_of * len(_log.catalog) + _log.items)
    return len(pairs) < 0.99 * _log.n_events


@st.cache_data(max_entries=256, show_spinner=False)
def _user(fingerprint: str, user: str, *, _opened: OpenLog) -> Subject:
    log, row = _opened.log, _opened.log.user_index[user]
    items, times = log.sequence(row)
    causes: tuple[str, ...] = ()
    cause_from: tuple[int, ...] = ()
    if _opened.truth is not None:
        own = slice(int(log.offsets[row]), int(log.offsets[row + 1]))
        causes = tuple(cause_names(_opened)[own].tolist())
        cause_from = tuple((_opened.truth.cause_pos[own] + 1).tolist())
    return Subject(
        key=f"{fingerprint}/{user}",
        label=f"user {user}",
        user=user,
        ids=tuple(log.catalog.ids[items].tolist()),
        times=tuple(times.tolist()) if log.has_times else None,
        causes=causes,
        cause_from=cause_from,
    )


def user(opened: OpenLog, name: str) -> Subject:
    """A user of a log by external id; KeyError where the log has none such."""
    return _user(opened.log.fingerprint, name, _opened=opened)


def cause_names(opened: OpenLog) -> Any:
    """[N] cause of each event of a simulated log, by name."""
    return _cause_names(opened.log.fingerprint, _opened=opened)


@st.cache_resource(max_entries=4, show_spinner=False)
def _cause_names(fingerprint: str, *, _opened: OpenLog) -> Any:
    return None if _opened.truth is None else _opened.truth.names()


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
    found = _trace(run, _state_of(model.run.folder), subject.key, end, _subject=subject)
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
    state = _state_of(resolve_run(run))
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
    state = _state_of(resolve_run(run))
    return _rank(run, state, subject.key, step, item, hide_seen, _subject=subject)


@st.cache_data(max_entries=1024, show_spinner="Asking the model …")
def _answered(key: tuple[Any, ...], *, _subject: Subject, _ask: Callable[[Question], Any]) -> Any:
    """`key` is the run, its state, the subject's key, the step, the target, the contrast, and what `_ask` asks."""
    run, _, _, step, target, contrast, *_ = key
    asked = Asked(run=run, subject=_subject, step=step, target=target, contrast=contrast, hide=False)
    return _ask(_question(asked))


def _question(asked: Asked) -> Question:
    times = None if asked.subject.times is None else asked.subject.times[: asked.step]
    made: Question = import_module("recblr.explain.question").ask(
        open_run(asked.run),
        asked.subject.ids[: asked.step],
        times,
        target=asked.target,
        contrast=asked.contrast,
        mask_seen=False,
    )
    return made


def _answer(asked: Asked, what: tuple[Any, ...], ask: Callable[[Question], Any]) -> Any:
    state = _state_of(resolve_run(asked.run))
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
        quick: Attribution = _answer(asked, ("explained", method), partial(_explain, method))
        return quick
    state = _state_of(resolve_run(asked.run))
    key = (asked.run, state, asked.subject.key, asked.step, asked.target, asked.contrast, method, options)
    kept = _slow_answers()
    if key not in kept:
        given = dict(options) | ({"counts": item_counts(asked.run)} if POPULAR in options else {})
        kept[key] = _explain(method, _question(asked), progress=tell, **given)
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


def item_counts(run: str) -> Any:
    """[V] how often each item occurs in the log of a run, which is here."""
    opened = run_log(runs()[run])
    if opened is None:
        raise RecblrError(f"The log of {run} is not on this machine, so nothing is known of how popular items are.")
    return np.bincount(opened.log.items, minlength=len(opened.log.catalog))


@st.cache_resource(show_spinner=False)
def _slow_answers() -> dict[tuple[Any, ...], Attribution]:
    return {}


def curve(asked: Asked, method: str, kind: str, options: Options = ()) -> Curve:
    """The deletion or insertion curve of an explanation, beside random orders; for two events or more."""
    found = explained(asked, method, options=options)

    def ask(question: Question) -> Any:
        return import_module("recblr.explain.faithfulness.curves").curve(question, found, kind)

    drawn: Curve = _answer(asked, ("curve", method, kind, options), ask)
    return drawn


def aopc(asked: Asked, method: str) -> tuple[NormalisedAOPC, Any]:
    """(how far the order of an explanation gets between the worst and the best that a search finds, [D] what random
    orders get); for two events or more."""
    found = explained(asked, method)

    def ask(question: Question) -> Any:
        erasure = import_module("recblr.explain.faithfulness.erasure")
        return erasure.normalised_aopc(question, found), erasure.random_aopc(question)

    answer: tuple[NormalisedAOPC, Any] = _answer(asked, ("aopc", method), ask)
    return answer


def lens(asked: Asked) -> Lens:
    """What the run would say of the target after every event, read off each layer; for causal runs."""

    def ask(question: Question) -> Any:
        return import_module("recblr.explain.memory").lens(question)

    found: Lens = _answer(asked, ("lens",), ask)
    return found


def gap_response(asked: Asked) -> GapResponse:
    """What other pauses before the last event would change, that which there was among them; for time-aware runs."""

    def ask(question: Question) -> Any:
        memory = import_module("recblr.explain.memory")
        given = {int(one) for one in np.diff(question.times[-2:])} if question.has_times else set()
        return memory.gap_response(question, gaps=sorted({*memory.GAPS, *given}))

    found: GapResponse = _answer(asked, ("gap response",), ask)
    return found


def needed(run: str, opened: OpenLog, users: int) -> tuple[RecentItems, LastItem | None, int]:
    """(how many recent events the run needs, how much of its answers is the last item, how many users this is of)."""
    found: tuple[RecentItems, LastItem | None, int] = _needed(
        run, _state_of(resolve_run(run)), opened.log.fingerprint, users, _opened=opened
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


def without_each(asked: Asked) -> Outcomes:
    """What the run would say without each of the events that it reads, one row an event; for two events or more."""

    def ask(question: Question) -> Any:
        single = import_module("recblr.explain.removal").without(question, [(one,) for one in range(len(question))])
        return import_module("recblr.explain.outcomes").outcomes(question, single, mask_seen=asked.hide)

    found: Outcomes = _answer(asked, ("without each", asked.hide), ask)
    return found


def given(asked: Asked) -> Variant:
    """The history as the run reads it, from which edits start."""
    subject, step = asked.subject, asked.step
    read = open_run(asked.run).read(subject.ids[:step], None if subject.times is None else subject.times[:step])
    variant: Variant = import_module("recblr.explain").Variant(items=read.items, times=read.times)
    return variant


def after(asked: Asked, variant: Variant, k: int = 10) -> Outcomes:
    """What the run says after a variant of the history, one row."""

    def ask(question: Question) -> Any:
        return import_module("recblr.explain.outcomes").outcomes(question, [variant], k=k, mask_seen=asked.hide)

    events = (tuple(variant.items.tolist()), tuple(variant.times.tolist()))
    found: Outcomes = _answer(asked, ("after", asked.hide, k, events), ask)
    return found


def smallest_removal(asked: Asked, variant: Variant, k: int) -> MinimalRemoval:
    """The fewest events of a variant whose removal pushes the target out of the top k."""

    def ask(question: Question) -> Any:
        search = import_module("recblr.explain.removal").minimal_removal
        return search(question.about(variant.items, variant.times), k, mask_seen=asked.hide)

    events = (tuple(variant.items.tolist()), tuple(variant.times.tolist()))
    found: MinimalRemoval = _answer(asked, ("smallest removal", asked.hide, k, events), ask)
    return found


def state_layers(run: str) -> int:
    """Layers of a run that carry a state of fixed size from event to event; 0 where none does."""
    model = open_run(run).run.model
    keys = model.initial_state(1) if model.learns and model.causal and model.recurrent else {}
    return sum(f"{layer}.h" in keys for layer in range(len(keys)))


def intervened(
    asked: Asked, variant: Variant, kind: str, value: float, layers: tuple[int, ...], place: int, pin: Asked | None
) -> tuple[Intervened, Outcomes, Outcomes]:
    """(the effect, the outcome as it is, the outcome with the edit) of an edit inside the run at position `place` of a
    variant, in every layer of `layers`; with `pin`, the state after its history is put there."""

    def ask(question: Question) -> Any:
        inside = import_module("recblr.explain.interventions")
        if pin is not None:
            edits = inside.paste(_question(pin), at=place, layers=layers)
        else:
            edits = [inside.Edit(kind=kind, layer=layer, step=place, value=value) for layer in layers]
        return inside.intervene(question.about(variant.items, variant.times), edits)

    events = (tuple(variant.items.tolist()), tuple(variant.times.tolist()))
    source = None if pin is None else (pin.subject.key, pin.step)
    found: Intervened = _answer(asked, ("inside", kind, value, layers, place, source, events), ask)
    return found, _outcome(found.before), _outcome(found.after)


def _outcome(said: Said) -> Outcomes:
    """One answer, as one row; the scores of its list are not known."""
    top, score = np.array([said.top]), np.array([said.logit])
    made: Outcomes = import_module("recblr.explain.outcomes").Outcomes(
        rank=np.array([said.rank]), score=score, lead=score, top=top, top_scores=np.full(top.shape, np.nan)
    )
    return made


@st.cache_resource(show_spinner=False)
def trust_runs() -> TrustRunner:
    """The one place where explanations are measured, for all sessions of this server."""
    return TrustRunner()


def measure_trust(request: Request, owner: str, opened: OpenLog) -> None:
    """Begin a measurement; raises RecblrError where that may not be."""
    log = _log_place(opened.name)
    place = Place(run=str(resolve_run(request.run)), log=str(log), truth=opened.truth is not None)
    trust_runs().start(request, owner, place)


def run_state(name: str) -> tuple[str, int, int]:
    """What changes when a run is written anew."""
    return _state_of(resolve_run(name))


@st.cache_data(ttl=10, max_entries=1, show_spinner=False)
def trust_records() -> dict[str, dict[str, Any]]:
    """Run -> its recorded scoreboard; none where there is no readable record."""
    try:
        record = json.loads(TRUST.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found = record.get("runs") if isinstance(record, dict) else None
    return {name: one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}


@st.cache_data(ttl=10, max_entries=1, show_spinner=False)
def compression_record() -> dict[str, Any] | None:
    """The recorded study of compressed histories; None where there is no readable one."""
    try:
        study = json.loads(COMPRESSION.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return study if readable(study) else None


def trajectory(found: Trace, layer: int, step: int, events: Events) -> View:
    """The state's path; scikit-learn is imported by the first call."""
    view: View = import_module("recblr.figures.trajectory").trajectory(found, layer, step, events)
    return view


def catalog(info: RunInfo, opened: OpenLog | None) -> Catalog:
    """Items by id and title: the log's where it is here, which needs no model, else the run's."""
    return opened.log.catalog if opened is not None else open_run(info.name).run.catalog


def typed(text: str, run: str) -> tuple[Subject | None, list[str]]:
    """(the history typed as ids between commas, the ids that the run does not know)."""
    given = [part.strip() for part in text.replace("\n", ",").replace(";", ",").split(",") if part.strip()]
    index: Mapping[str, int] = open_run(run).run.catalog.index
    known = tuple(one for one in given if one in index)
    unknown = [one for one in given if one not in index]
    if not known:
        return None, unknown
    return Subject(key=f"typed:{','.join(known)}", label="the typed history", ids=known, times=None), unknown


def name_of(folder: Path) -> str:
    """Name in the list of runs of a folder that is one."""
    return next((name for name, info in runs().items() if info.folder == folder), folder.name)


@st.cache_resource(show_spinner=False)
def kernel_runs() -> Runner:
    """The one place where kernels are measured, for all sessions of this server."""
    return Runner()


@st.cache_resource(show_spinner="Looking for a GPU …")
def kernel_facts() -> Facts:
    """What can be measured here. Without a driver torch is not asked, so that the page need not wait for it."""
    gpu = None
    if shutil.which("nvidia-smi") is not None:
        cuda = import_module("torch").cuda
        gpu = cuda.get_device_name() if cuda.is_available() else None
    return Facts(gpu=gpu, interpreter=find_spec("triton") is not None)


@st.cache_data(ttl=10, max_entries=1, show_spinner=False)
def kernel_records() -> list[dict[str, Any]]:
    """Recorded benchmark runs, those on GPUs first; a damaged file is left out and named in its place."""
    found: list[dict[str, Any]] = []
    for path in sorted(RESULTS.glob("*.json"), key=lambda path: (not path.name.startswith("gpu"), path.name)):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            whole = isinstance(record, dict) and set(record) >= RECORD_FIELDS
            found.append(record if whole else {"damaged": path.name})
        except (OSError, ValueError):
            found.append({"damaged": path.name})
    return found


@st.cache_data(ttl=10, max_entries=1, show_spinner=False)
def results() -> dict[str, list[Entry]]:
    """The recorded tables of results in which at least two trained backbones can be compared."""
    return {
        name: entries
        for name, entries in recorded().items()
        if sum(entry.epoch_seconds is not None for entry in entries) > 1
    }
