"""What a run of the Trust page does; imports torch, so it is imported when the first run starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from trust_runs import Case, Measured

from recblr.checkpoint import Run
from recblr.data.log import InteractionLog
from recblr.data.simulator import Truth
from recblr.evaluation.protocols import protocol
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness import cases, pointing, scoreboard
from recblr.explain.faithfulness.axioms import by_name
from recblr.explain.question import Question


def work(measured: Measured, run: Run, log: InteractionLog, truth: Truth | None) -> None:
    """Fill `measured`: the pointing game where the log knows its causes, else what needs no truth."""
    if truth is None:
        measure_faithfulness(measured, run, log)
    else:
        play(measured, run, log, truth)


def play(measured: Measured, run: Run, log: InteractionLog, truth: Truth) -> None:
    """The pointing game on held-out events of users of the log, with who is behind each cell."""
    asked = measured.request
    rule = protocol(str(run.config["train"].get("protocol", "lrurec")))
    chosen = cases.held_out_cases(log, truth, rule, run.model.config.max_len, asked.events, anew=False)
    causes = sum(bool(of) for of in chosen.values())
    total = (sum(map(len, chosen.values())) + causes) * len(asked.methods)  # the first of each cell is explained twice
    measured.tell("explanations", 0, total)
    found = pointing.pointing_game(
        chosen,
        run.model,
        {name: partial(explain, name, measured) for name in asked.methods},
        contrast="runner-up" if asked.contrast == "runner-up" else "none",
        catalog=run.catalog,
    )
    measured.cases = listed(chosen, found, asked.methods, run.catalog.ids)
    measured.rows = [one.row() for one in found]


def explain(method: str, measured: Measured, question: Question) -> Attribution:
    """By the method of a name; one explanation more is done."""
    answer = by_name(method, question)(question)
    measured.tell("explanations", measured.done + 1, measured.total)
    return answer


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


def measure_faithfulness(measured: Measured, run: Run, log: InteractionLog) -> None:
    """Curves, erasure and axioms of users, for a log that knows no causes."""
    asked = measured.request
    board = scoreboard.scoreboard(
        run, log, None, events=0, users=asked.events, methods=asked.methods, progress=measured.tell
    )
    measured.faithfulness = [dict(one) for one in board.faithfulness]
