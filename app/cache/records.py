"""What was measured: the records that come with the project, and the one place of a server where it measures anew."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import streamlit as st
from live import RECORD_FIELDS, RESULTS, Facts, Runner
from trust_runs import Place, Request, TrustRunner

import recblr
from cache.sources import OpenLog, log_place
from recblr.figures.compression import readable
from recblr.leaderboard.entries import Entry, recorded
from recblr.runs import resolve_run

TRUST = Path(recblr.__file__).with_name("results") / "trust.json"
"""Recorded scoreboards, as `recblr trust --out` writes them."""


COMPRESSION = TRUST.with_name("compression.json")
"""A recorded study, as `recblr compression-study --out` writes it."""


@st.cache_resource(show_spinner=False)
def trust_runs() -> TrustRunner:
    """The one place where explanations are measured, for all sessions of this server."""
    return TrustRunner()


def measure_trust(request: Request, owner: str, opened: OpenLog) -> None:
    """Begin a measurement; raises RecblrError where that may not be."""
    log = log_place(opened.name)
    place = Place(run=str(resolve_run(request.run)), log=str(log), truth=opened.truth is not None)
    trust_runs().start(request, owner, place)


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
