"""What the pages look at: runs, logs and the users of logs, opened once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

import recblr
from recblr.data import find_log, fit_to_catalog, open_log
from recblr.data.locate import is_plain_name
from recblr.data.log import Catalog, InteractionLog
from recblr.data.simulator import Truth, has_truth, load_truth
from recblr.errors import RecblrError
from recblr.runs import SAMPLE_ROOT, RunInfo, list_runs, resolve_run

if TYPE_CHECKING:
    from recblr.explain import Question
    from recblr.recommender import Recommender


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
    return _open_run(name, *state_of(folder), _folder=folder)


def state_of(folder: Path) -> tuple[str, int, int]:
    """What changes when a run folder is written anew."""
    weights, config = folder / "model.safetensors", folder / "config.yaml"
    return (
        str(folder),
        weights.stat().st_mtime_ns if weights.exists() else 0,
        config.stat().st_mtime_ns if config.exists() else 0,
    )


def run_state(name: str) -> tuple[str, int, int]:
    """What changes when a run is written anew."""
    return state_of(resolve_run(name))


def not_causal(name: str) -> str | None:
    """What to know of a run that is not causal; None of one that is."""
    model = open_run(name).run.model
    return None if model.causal else str(model.not_causal("every step that is shown has seen later events"))


def kept_of_user(name: str) -> tuple[int, str]:
    """(bytes that a run carries from event to event, what they are)."""
    folder = resolve_run(name)
    found: tuple[int, str] = _kept_of_user(name, state_of(folder), _folder=folder)
    return found


@st.cache_data(max_entries=256, show_spinner=False)
def _kept_of_user(name: str, state: tuple[str, int, int], *, _folder: Path) -> Any:
    # Opened for this alone: so many runs would push those in use out of the cache of open ones.
    return import_module("recblr.leaderboard.cost").kept_of_user(recblr.load(_folder).run.model)


@st.cache_resource(max_entries=16, show_spinner="Opening the run …")
def _open_run(name: str, place: str, weights: int, config: int, *, _folder: Path) -> Recommender:
    return recblr.load(_folder)


def run_log(info: RunInfo) -> OpenLog | None:
    """The log a run was trained on, found by its name and fitted to the run's catalogue; None where it is not here."""
    name = str(info.data.get("name", ""))
    place = log_place(name)
    if place is None:
        return None
    opened = _open_log(name, str(place))
    if opened.log.fingerprint == info.data.get("fingerprint"):
        return opened
    return _fitted(opened.log.fingerprint, info.name, _opened=opened)


def log_place(name: str) -> Path | None:
    """Where a log of this name is: a sample, or in a folder of logs; None where it is not here."""
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


def item_counts(run: str) -> Any:
    """[V] how often each item occurs in the log of a run, which is here."""
    opened = run_log(runs()[run])
    if opened is None:
        raise RecblrError(f"The log of {run} is not on this machine, so nothing is known of how popular items are.")
    return np.bincount(opened.log.items, minlength=len(opened.log.catalog))


def question_of(asked: Asked) -> Question:
    """What is asked, as the explanations take it."""
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
