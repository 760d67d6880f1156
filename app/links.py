"""Deep links: the example cards, named users, and the Python that reproduces a view."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from cache.answers import POPULAR, Options
from cache.sources import Asked, OpenLog
from choice import Choice

from recblr.figures import Events

_EXAMPLES = Path(__file__).with_name("examples.toml")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A view worth seeing, as a link."""

    title: str
    claim: str
    """What is seen there, in one line."""
    page: str
    params: dict[str, str | list[str]]
    ranks: dict[str, int]
    """Run -> rank of what came next at the step shown, as the claim says it."""
    holds: dict[str, Any]
    """Which channel or head holds how much of which event, as the claim says it; may be empty."""


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(_EXAMPLES.read_text(encoding="utf-8"))


def examples() -> list[Example]:
    """The cards of the Start page, in order."""
    return [
        Example(
            title=one["title"],
            claim=one["claim"],
            page=one["page"],
            params={key: value if isinstance(value, list) else str(value) for key, value in one["params"].items()},
            ranks=one["ranks"],
            holds=one.get("holds", {}),
        )
        for one in _file().get("example", [])
    ]


def named_users(log: str) -> dict[str, str]:
    """User id -> what is special about this user, for one log."""
    return {str(one["id"]): one["label"] for one in _file().get("user", []) if one["log"] == log}


def link(page_file: str, label: str, params: Mapping[str, str | list[str]], *, icon: str | None = None) -> None:
    """A link to a view of the app."""
    st.page_link(page_file, label=label, icon=icon, query_params=dict(params))


def short_names(runs: Sequence[str], near: str) -> dict[str, str]:
    """Run name -> what a column is headed: its last part where that tells the runs apart or it lies beside the run
    `near`, so that a link to sample models means the same where others have the name too; else the whole name."""
    folder = near.rpartition("/")[0]
    last = [name.rpartition("/")[2] for name in runs]
    return {
        name: part if last.count(part) == 1 or name.rpartition("/")[0] == folder else name
        for name, part in zip(runs, last, strict=True)
    }


def trace_code(choice: Choice, events: Events, call: str) -> str:
    """Python that makes a figure of the Trace page again; `call` is a function of recblr.figures with its arguments."""
    home = "recblr.figures.trajectory" if call.startswith("trajectory") else "recblr.figures"
    function = call.partition("(")[0]
    until = "" if events.last == len(choice.subject) else f"[:{events.last}]"
    times = "times" if choice.subject.times is None else f"times{until}"
    return "\n".join(
        [
            *open_code(choice),
            "",
            "from recblr.figures import describe",
            f"from {home} import {function}",
            "",
            f"trace = model.trace(ids{until}, {times})",
            "events = describe(trace.items[0], trace.times[0], model.run.catalog, "
            f"has_times=trace.has_times, first={events.first})",
            f"view = {call}",
            "view.figure",
        ]
    )


def explain_code(choice: Choice, asked: Asked, method: str, call: str, *, first: int = 1, options: Options = ()) -> str:
    """Python that makes a figure of an explanation again; `call` is a function of recblr.figures with its arguments."""
    history, asks = _asked(asked)
    return "\n".join(
        [
            *open_code(choice, counted=POPULAR in options),
            "",
            "from recblr.explain import explain",
            f"from recblr.figures import explained_events, {call.partition('(')[0]}",
            "",
            f'attribution = explain(model, {history}, {asks}, method="{method}", mask_seen=False{_options(options)})',
            f"events = explained_events(attribution, model.run.catalog, first={first})",
            f"view = {call}",
            "view.figure",
        ]
    )


def curve_code(choice: Choice, asked: Asked, method: str, kind: str, call: str, options: Options = ()) -> str:
    """Python that draws the curve of an explanation again; `call` is a function of recblr.figures of `drawn`."""
    history, asks = _asked(asked)
    return "\n".join(
        [
            *open_code(choice, counted=POPULAR in options),
            "",
            "from recblr.explain import ask, explain",
            "from recblr.explain.faithfulness.curves import curve",
            f"from recblr.figures import {call.partition('(')[0]}",
            "",
            f"question = ask(model, {history}, {asks}, mask_seen=False)",
            f'attribution = explain(model, {history}, {asks}, method="{method}", mask_seen=False{_options(options)})',
            f'drawn = curve(question, attribution, "{kind}")',
            f"view = {call}",
            "view.figure",
        ]
    )


def agreement_code(choice: Choice, asked: Asked, methods: Sequence[str], options: Mapping[str, Options]) -> str:
    """Python that compares methods again, each with its options."""
    history, asks = _asked(asked)
    given = {name: "dict(" + _options(some)[2:] + ")" for name, some in options.items() if some and name in methods}
    own = "{" + ", ".join(f"{name!r}: {some}" for name, some in given.items()) + "}"
    with_own = f", **{own}.get(name, {{}})" if given else ""
    return "\n".join(
        [
            *open_code(choice, counted=any(POPULAR in options.get(name, ()) for name in methods)),
            "",
            "from recblr.explain import METHODS, explain",
            "from recblr.explain.faithfulness.agreement import agreement",
            "from recblr.figures import method_agreement",
            "",
            f"compared = agreement([explain(model, {history}, {asks}, method=name, mask_seen=False{with_own})",
            f"                      for name in {list(methods)!r}])",
            "view = method_agreement(compared, {name: METHODS[name].title for name in compared.methods})",
            "view.figure",
        ]
    )


def outcome_code(choice: Choice, asked: Asked, edited: Sequence[str], call: str, *, k: int = 10, first: int = 1) -> str:
    """Python that runs the model on edited histories again; `edited` are expressions that make them from `given`,
    none for the history without each event. `call` may name `now`, `then`, `events`, `catalog` and `question`."""
    history, asks = _asked(asked)
    variants = ", ".join(edited) or "given.remove(place) for place in range(len(given))"
    return "\n".join(
        [
            *open_code(choice),
            "",
            "from recblr.explain import Variant, ask",
            "from recblr.explain.outcomes import outcomes",
            f"from recblr.figures import describe, {call.partition('(')[0]}",
            "",
            "catalog = model.run.catalog",
            f"question = ask(model, {history}, {asks}, mask_seen=False)",
            "given = Variant(items=question.items, times=question.times)",
            f"now = outcomes(question, [given], k={k}, mask_seen={asked.hide})",
            f"then = outcomes(question, [{variants}], k={k}, mask_seen={asked.hide})",
            f"events = describe(given.items, given.times, catalog, has_times=question.has_times, first={first})",
            f"view = {call}",
            "view.figure",
        ]
    )


def smallest_code(choice: Choice, asked: Asked, variant: str, k: int) -> str:
    """Python that searches the smallest removal again, as `found`; `variant` is an expression that makes the history
    from `given`."""
    history, asks = _asked(asked)
    return "\n".join(
        [
            *open_code(choice),
            "",
            "from recblr.explain import Variant, ask, minimal_removal",
            "",
            "catalog = model.run.catalog",
            f"question = ask(model, {history}, {asks}, mask_seen=False)",
            "given = Variant(items=question.items, times=question.times)",
            f"edited = {variant}",
            f"found = minimal_removal(question.about(edited.items, edited.times), {k}, mask_seen={asked.hide})",
            "print(found.positions, found.rank_before, found.rank_after)",
        ]
    )


def inside_code(
    choice: Choice,
    asked: Asked,
    variant: str,
    edit: tuple[str, float],
    layers: Sequence[int],
    place: int,
    pin: Asked | None,
) -> str:
    """Python that edits the inside of the run again, as `found`; `variant` is an expression that makes the history from
    `given`, `edit` the kind and the value, `pin` the history whose state is pasted instead."""
    history, asks = _asked(asked)
    kind, value = edit
    made = [f'edits = [Edit(kind="{kind}", layer=layer, step={place}, value={value}) for layer in {list(layers)!r}]']
    if pin is not None:
        times = None if pin.subject.times is None else list(pin.subject.times[: pin.step])
        made = [
            f"source = ask(model, {list(pin.subject.ids[: pin.step])!r}, {times!r}, {asks}, mask_seen=False)",
            f"edits = paste(source, at={place}, layers={list(layers)!r})",
        ]
    return "\n".join(
        [
            *open_code(choice),
            "",
            "from recblr.explain import Variant, ask",
            f"from recblr.explain.interventions import {'Edit, intervene' if pin is None else 'intervene, paste'}",
            "",
            "catalog = model.run.catalog",
            f"question = ask(model, {history}, {asks}, mask_seen=False)",
            "given = Variant(items=question.items, times=question.times)",
            f"edited = {variant}",
            *made,
            f"found = intervene(question.about(edited.items, edited.times), edits, mask_seen={asked.hide})",
            "print(found.before.rank, found.after.rank, found.effect, found.change)",
        ]
    )


def _options(options: Options) -> str:
    """Further arguments of explain."""
    given = [f", {name}={value!r}" for name, value in options]
    return "".join(given) + (", counts=counts" if POPULAR in options else "")


def _asked(asked: Asked) -> tuple[str, str]:
    """The arguments that say which history, and which items."""
    until = "" if asked.step == len(asked.subject) else f"[:{asked.step}]"
    times = "None" if asked.subject.times is None else f"times{until}"
    against = "" if asked.contrast is None else f", contrast={asked.contrast!r}"
    return f"ids{until}, {times}", f"target={asked.target!r}{against}"


def kernel_code(request: Mapping[str, Any]) -> str:
    """Python that measures a shape of the Kernel live page again, as `found`."""
    fields = ", ".join(f"{name}={value!r}" for name, value in request["case"].items())
    interpreted = ["import os", "", 'os.environ["TRITON_INTERPRET"] = "1"  # before lrscan is imported', ""]
    return "\n".join(
        [
            *(interpreted if "triton-interpret" in request["backends"] else []),
            "import torch",
            "from lrscan.cases import Case",
            "from lrscan.measure import measure",
            "",
            "torch.set_num_threads(1)",
            f"case = Case({fields})",
            f'found = measure(case, {request["backends"]!r}, device="{request["device"]}")',
            "for result in found:",
            '    print(result.backend, result.timing.median_ms, "ms,", f"{result.error:.0e},", result.share_of_copy)',
        ]
    )


def curves_code(request: Mapping[str, Any]) -> str:
    """Python that measures a curve again, as `view`; run from the folder kernels/, where the peers are."""
    fields = ", ".join(f"{name}={value!r}" for name, value in request["case"].items())
    device, along = request["device"], request["along"]
    return "\n".join(
        [
            "# from the folder kernels/",
            "from dataclasses import replace",
            "",
            "from bench.curves import POINTS",
            "from bench.peers.every import PEERS",
            "from bench.run import rows_of",
            "from lrscan.cases import Case",
            "",
            "from recblr.figures.scaling import scaling",
            "",
            f"case = Case({fields})",
            "rows = []",
            f'for size in POINTS["{along}"][:4]:',
            f"    one = replace(case, {along}=size)",
            f'    rows += rows_of(one, PEERS, device="{device}", repeats=10, seconds=0.6, say=print)',
            f'view = scaling(rows, "{along}")',
            "view.figure",
        ]
    )


def compiled_code(request: Mapping[str, Any]) -> str:
    """Python that compiles a kernel again, as `made`."""
    names = ", ".join(repr(request[name]) for name in ("operator", "direction", "dtype", "arch"))
    return "\n".join(
        [
            "from lrscan.compiled import compile_kernel",
            "",
            f"made = compile_kernel({names})",
            "print(made.sass)",
        ]
    )


def place_code(opened: OpenLog) -> str:
    """An expression for where a log lies."""
    return f'SAMPLE_ROOT.parent / "{opened.name}"' if opened.sample else f'find_log("{opened.name}")'


def open_code(choice: Choice, *, counted: bool = False) -> list[str]:
    """Lines that open the run and the history; they name `model`, `ids` and `times`, and where `counted` the `counts`
    of items in the log, which is then here."""
    subject, opened = choice.subject, choice.opened
    lines = [*(["import numpy as np", ""] if counted else []), "import recblr"]
    typed = opened is None or subject.user is None
    if opened is None or (typed and not counted):
        return [*lines, "", f'model = recblr.load("{choice.run.name}")', f"ids, times = {list(subject.ids)!r}, None"]
    times = "times.tolist()" if subject.times is not None else "None"
    return [
        *lines,
        "from recblr.data import find_log, fit_to_catalog, open_log",
        *(["from recblr.runs import SAMPLE_ROOT"] if opened.sample else []),
        "",
        f'model = recblr.load("{choice.run.name}")',
        f"log = fit_to_catalog(open_log({place_code(opened)})[0], model.run.catalog)",
        *(["counts = np.bincount(log.items, minlength=len(log.catalog))"] if counted else []),
        *(
            [f"ids, times = {list(subject.ids)!r}, None"]
            if typed
            else [
                f'items, times = log.sequence(log.user_index["{subject.user}"])',
                f"ids, times = log.catalog.ids[items].tolist(), {times}",
            ]
        ),
    ]
