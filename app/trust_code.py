"""The Python that makes the figures and tables of the Trust page again."""

from __future__ import annotations

from collections.abc import Sequence

from cache.sources import OpenLog
from links import place_code
from trust_runs import Request


def trust_code(opened: OpenLog, request: Request, measure: str) -> str:
    """The pointing game, as `view`."""
    return "\n".join(
        [
            *_open(
                opened,
                request,
                "from recblr.data.simulator import load_truth",
                "from recblr.evaluation.protocols import protocol",
                "from recblr.explain import METHODS",
                "from recblr.explain.faithfulness.axioms import by_name",
                "from recblr.explain.faithfulness.cases import held_out_cases",
                "from recblr.explain.faithfulness.pointing import pointing_game",
                "from recblr.figures import scoreboard",
            ),
            'rule = protocol(run.config["train"].get("protocol", "lrurec"))',
            "cases = held_out_cases(",
            f"    log, load_truth(place, log), rule, run.model.config.max_len, {request.events}, anew=False",
            ")",
            f"explain = {{name: lambda q, name=name: by_name(name, q)(q) for name in {list(request.methods)!r}}}",
            f'found = pointing_game(cases, run.model, explain, contrast="{request.contrast}")',
            "titles = {name: one.title for name, one in METHODS.items()}",
            f"view = scoreboard([one.row() for one in found], titles, {measure!r})",
            "view.figure",
        ]
    )


def faithfulness_code(opened: OpenLog, request: Request) -> str:
    """The measures that need no truth, as `table`."""
    return "\n".join(
        [
            *_open(
                opened,
                request,
                "import pandas as pd",
                "from recblr.data import fit_to_catalog",
                "from recblr.explain.faithfulness.scoreboard import scoreboard",
            ),
            "log = fit_to_catalog(log, run.catalog)",
            "board = scoreboard(",
            f"    run, log, None, events=0, users={request.events}, methods={list(request.methods)!r}",
            ")",
            'table = pd.DataFrame(board.faithfulness).set_index("method").T',
        ]
    )


def trust_record_code(run: str, measure: str) -> str:
    """The recorded scoreboard of a run, as `view`."""
    return "\n".join(
        [
            *_record(run),
            "from recblr.explain import METHODS",
            "from recblr.figures import scoreboard",
            "",
            "titles = {name: one.title for name, one in METHODS.items()}",
            f'view = scoreboard(board["pointing"], titles, {measure!r})',
            "view.figure",
        ]
    )


def faithfulness_record_code(run: str) -> str:
    """The recorded measures of a run that need no truth, as `table`."""
    return "\n".join(
        [*_record(run), "import pandas as pd", "", 'table = pd.DataFrame(board["faithfulness"]).set_index("method").T']
    )


def _open(opened: OpenLog, request: Request, *imports: str) -> list[str]:
    """Lines that open `run` and `log` at `place`."""
    own = [one for one in imports if one.startswith("import ")]
    ours = ["from recblr.data import find_log, open_log", *(one for one in imports if one not in own)]
    if opened.sample:
        ours.append("from recblr.runs import SAMPLE_ROOT")
    return [
        *own,
        "import recblr",
        *ours,
        "",
        f'run = recblr.load("{request.run}").run',
        f"place = {place_code(opened)}",
        "log = open_log(place)[0]",
    ]


def _record(run: str) -> Sequence[str]:
    """Lines that read the record of a run, as `board`."""
    return (
        "import json",
        "from pathlib import Path",
        "",
        "import recblr",
        "",
        'path = Path(recblr.__file__).with_name("results") / "trust.json"',
        f'board = json.loads(path.read_text(encoding="utf-8"))["runs"]["{run}"]',
    )
