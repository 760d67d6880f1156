"""The process that a measurement of the Trust page runs in: reads one request, and writes lines of JSON.

    {"said": what is done, "done": 3, "total": 40}      again and again
    {"rows": [...], "cases": [...]} or {"faithfulness": [...]}   at its end, or {"failed": why}

It ends itself when its input does, which happens when the server is gone, whatever ended that.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from trust_runs import Case, Place, Request

import recblr
from recblr.checkpoint import Run
from recblr.data import fit_to_catalog, open_log
from recblr.data.log import InteractionLog
from recblr.data.simulator import Truth, load_truth
from recblr.errors import RecblrError
from recblr.evaluation.protocols import protocol
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness import cases, pointing, scoreboard
from recblr.explain.faithfulness.axioms import by_name
from recblr.explain.question import Question

Tell = Callable[[str, int, int], None]
"""Called with (what is done, how many are, of how many)."""
NICE = 5
"""Steps by which the pages go before it."""
PAUSE_SECONDS = 0.1
"""Between two lines of progress."""


def main() -> None:
    """Read the request, measure, write; never a traceback on standard output."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICE)
    fields = asked["request"]
    request = Request(**{**fields, "state": tuple(fields["state"]), "methods": tuple(fields["methods"])})
    last = 0.0

    def tell(said: str, done: int, total: int) -> None:
        nonlocal last
        if done >= total or time.monotonic() - last > PAUSE_SECONDS:
            last = time.monotonic()
            _write({"said": said, "done": done, "total": total})

    try:
        tell("opening the run and its log", 0, 1)
        found = work(request, *opened(Place(**asked["place"])), tell)
    except RecblrError as error:
        found = {"failed": str(error)}
    except Exception as error:
        logging.getLogger("recblr.app").exception("measuring %s", request.run)
        found = {"failed": f"{type(error).__name__}: {error}"}
    _write(found)


def _end_with_the_server() -> None:
    sys.stdin.read()
    os._exit(1)


def _write(message: Mapping[str, Any]) -> None:
    print(json.dumps(message, default=float), flush=True)  # noqa: T201 - to the process that asked


def opened(place: Place) -> tuple[Run, InteractionLog, Truth | None]:
    """What is measured."""
    run = recblr.load(place.run).run
    log, _ = open_log(place.log)
    truth = load_truth(place.log, log) if place.truth else None
    fitted = log if log.catalog.fingerprint == run.catalog.fingerprint else fit_to_catalog(log, run.catalog)
    return run, fitted, truth


def work(request: Request, run: Run, log: InteractionLog, truth: Truth | None, tell: Tell) -> dict[str, Any]:
    """The pointing game where the log knows its causes, else what needs no truth."""
    return measure_faithfulness(request, run, log, tell) if truth is None else play(request, run, log, truth, tell)


def play(request: Request, run: Run, log: InteractionLog, truth: Truth, tell: Tell) -> dict[str, Any]:
    """The pointing game on held-out events of users of the log, with who is behind each cell."""
    rule = protocol(str(run.config["train"].get("protocol", "lrurec")))
    chosen = cases.held_out_cases(log, truth, rule, run.model.config.max_len, request.events, anew=False)
    causes = sum(bool(of) for of in chosen.values())
    total = (sum(map(len, chosen.values())) + causes) * len(request.methods)  # the first of each cell twice
    done = 0

    def explain(method: str, question: Question) -> Attribution:
        nonlocal done
        answer = by_name(method, question)(question)
        done += 1
        tell("explanations", done, total)
        return answer

    found = pointing.pointing_game(
        chosen,
        run.model,
        {name: partial(explain, name) for name in request.methods},
        contrast="runner-up" if request.contrast == "runner-up" else "none",
        together=scoreboard.many_at_once(request.methods),
        catalog=run.catalog,
    )
    behind = listed(chosen, found, request.methods, run.catalog.ids)
    return {"rows": [one.row() for one in found], "cases": [asdict(one) for one in behind]}


def listed(
    chosen: Mapping[str, Sequence[cases.Case]],
    found: Sequence[pointing.Pointing],
    methods: Sequence[str],
    ids: NDArray[np.str_],
) -> list[Case]:
    """Each explained event, with which methods hit."""
    by_cell = {(one.cause, one.method): one for one in found}
    return [
        Case(
            cause=cause,
            user=case.user,
            position=case.position,
            target=str(ids[case.target]),
            decided_by=case.position - len(case.items) + case.cause_pos + 1,
            known=bool(by_cell[cause, methods[0]].known[n]),
            hits={name: bool(by_cell[cause, name].hit[n]) for name in methods},
        )
        for cause, of_cause in chosen.items()
        for n, case in enumerate(of_cause)
    ]


def measure_faithfulness(request: Request, run: Run, log: InteractionLog, tell: Tell) -> dict[str, Any]:
    """Curves, erasure and axioms of users, for a log that knows no causes."""
    board = scoreboard.scoreboard(
        run, log, None, events=0, users=request.events, methods=request.methods, progress=tell
    )
    return {"faithfulness": [dict(one) for one in board.faithfulness]}


if __name__ == "__main__":
    main()
