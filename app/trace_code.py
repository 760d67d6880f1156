"""The Python that asks a model again, as the last tabs of the Trace page do."""

from __future__ import annotations

from cache.sources import Asked
from choice import Choice
from links import open_code

from recblr.figures import Events


def since_when_code(choice: Choice, asked: Asked, events: Events, at: int) -> str:
    """The rank of an item after every event."""
    return "\n".join(
        [
            *_question(choice, asked, "from recblr.explain.memory import lens", "describe, since_when"),
            "events = describe(question.items, question.times, model.run.catalog, "
            f"has_times=question.has_times, first={events.first})",
            f"view = since_when(lens(question), question.target, events, model.run.catalog, step={at})",
            "view.figure",
        ]
    )


def pauses_code(choice: Choice, asked: Asked) -> str:
    """What other pauses would change."""
    return "\n".join(
        [
            *_question(choice, asked, "from recblr.explain.memory import GAPS, gap_response", "pauses"),
            "given = int(question.times[-1] - question.times[-2])",
            "found = gap_response(question, gaps=sorted({*GAPS, given}))",
            f"view = pauses(found, question.target, model.run.catalog, event={asked.step})",
            "view.figure",
        ]
    )


def needed_code(choice: Choice, users: int) -> str:
    """How many recent events a run needs."""
    opened = choice.opened
    if opened is None:
        return ""
    return "\n".join(
        [
            "import recblr",
            "from recblr.data import find_log, fit_to_catalog, open_log",
            "from recblr.explain.memory import needed_by_run",
            "from recblr.figures import needed",
            *(["from recblr.runs import SAMPLE_ROOT"] if opened.sample else []),
            "",
            f'model = recblr.load("{choice.run.name}")',
            "place = " + (f'SAMPLE_ROOT.parent / "{opened.name}"' if opened.sample else f'find_log("{opened.name}")'),
            "log = fit_to_catalog(open_log(place)[0], model.run.catalog)",
            f"found, last, users = needed_by_run(model.run, log, {users})",
            "view = needed(found, last, users=users)",
            "view.figure",
        ]
    )


def _question(choice: Choice, asked: Asked, imported: str, drawn: str) -> list[str]:
    until = "" if asked.step == len(asked.subject) else f"[:{asked.step}]"
    times = "None" if asked.subject.times is None else f"times{until}"
    return [
        *open_code(choice),
        "",
        "from recblr.explain import ask",
        imported,
        f"from recblr.figures import {drawn}",
        "",
        f"question = ask(model, ids{until}, {times}, target={asked.target!r}, mask_seen=False)",
    ]
