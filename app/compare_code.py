"""The Python that makes the figures of the Compare page again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from choice import Choice
from links import open_code

from recblr.figures import Events


def compare_code(choice: Choice, models: Mapping[str, str], step: int, k: int, hide_seen: bool) -> str:
    """The lists, as `lists`, and how far they agree."""
    return "\n".join(
        [
            *_models(choice, models),
            "lists = {",
            f"    name: [row.item for row in one.recommend({_history(choice, step)}, k={k}, mask_seen={hide_seen})]",
            "    for name, one in models.items()",
            "}",
            "view = figures.overlap(lists)",
            "view.figure",
        ]
    )


def true_ranks_code(choice: Choice, models: Mapping[str, str], step: int, item: str, hide_seen: bool) -> str:
    """The rank of one item in each model's list of all items."""
    ids = _history(choice, step).partition(", times")[0]
    seen = f", one.run.catalog.encode({ids})[0]" if hide_seen else ""
    return "\n".join(
        [
            *_models(choice, models, "import torch", "from recblr.evaluation.ranking import rank_of_target"),
            "",
            "",
            "def rank(one):",
            f"    scores = torch.from_numpy(one.scores({_history(choice, step)}))[None]",
            f"    target = torch.tensor([one.run.catalog.index[{item!r}]])",
            *(
                [
                    f"    seen = torch.from_numpy(one.run.catalog.encode({ids})[0]).long()[None]",
                    "    return float(rank_of_target(scores, target, seen)[0])",
                ]
                if seen
                else ["    return float(rank_of_target(scores, target)[0])"]
            ),
            "",
            "",
            f"ranks = {{name: rank(one) for name, one in models.items() if {item!r} in one.run.catalog.index}}",
            f"view = figures.true_ranks(ranks, {choice.title(item)!r}, {choice.catalog.n_items})",
            "view.figure",
        ]
    )


def horizons_code(choice: Choice, models: Mapping[str, str], step: int, read: Mapping[str, Events]) -> str:
    """How far back each layer reaches; `read`: the events that each model's trace holds."""
    windows = {name: (events.first - 1, events.last, events.index(step)) for name, events in read.items()}
    times = "None" if choice.subject.times is None else "times[first:last]"
    return "\n".join(
        [
            *_models(choice, models),
            f"windows = {windows!r}  # events from, to; place of the step",
            "reaches = {}",
            "for name, (first, last, at) in windows.items():",
            f"    trace = models[name].trace(ids[first:last], {times})",
            "    reaches[name] = [trace.horizon(layer, at) for layer in range(len(trace.layers))]",
            "view = figures.horizons(reaches)",
            "view.figure",
        ]
    )


def faithful_code(choice: Choice, models: Mapping[str, str], step: int, item: str, methods: Mapping[str, str]) -> str:
    """Normalised AOPC of each model's explanation of an item."""
    return "\n".join(
        [
            *_models(
                choice,
                models,
                "from recblr.explain import METHODS, ask, attribute",
                "from recblr.explain.faithfulness.erasure import normalised_aopc, random_aopc",
            ),
            f"methods = {dict(methods)!r}",
            "asked = {",
            f"    name: ask(models[name], {_history(choice, step)}, target={item!r}, mask_seen=False)",
            "    for name in methods",
            "}",
            "found = {name: normalised_aopc(one, attribute(one, methods[name])) for name, one in asked.items()}",
            "chance = {name: random_aopc(one) for name, one in asked.items()}",
            "titles = {name: METHODS[method].title for name, method in methods.items()}",
            f"view = figures.faithful(found, chance, {choice.title(item)!r}, titles)",
            "view.figure",
        ]
    )


def by_cause_code(models: Mapping[str, str]) -> str:
    """What each run gets right of each cause."""
    return "\n".join([*_by_cause(models), "view = figures.by_cause(found)", "view.figure"])


def against_state_code(models: Mapping[str, str], cause: str) -> str:
    """The same of one cause, against what each model keeps of a user."""
    return "\n".join(
        [
            "import recblr",
            "from recblr.leaderboard.cost import kept_of_user",
            *_by_cause(models),
            "kept = {word: kept_of_user(recblr.load(name).run.model) for word, name in names.items()}",
            f"view = figures.against_state(found, kept, {cause!r})",
            "view.figure",
        ]
    )


def _by_cause(models: Mapping[str, str]) -> Sequence[str]:
    return [
        "from recblr import figures",
        "from recblr.figures.by_cause import rows_of",
        "from recblr.runs import list_runs",
        "",
        f"names = {dict(models)!r}",
        "runs = {info.name: info for info in list_runs()}",
        "found = {word: rows_of(runs[name].metrics) for word, name in names.items()}",
    ]


def results_code(table: str) -> str:
    """What is recorded of a table of results."""
    return "\n".join(
        [
            "from recblr import figures",
            "from recblr.leaderboard.entries import recorded",
            "",
            f"view = figures.golden_triangle(recorded()[{table!r}])",
            "view.figure",
        ]
    )


def compression_code(metric: str) -> str:
    """The recorded study of compressed histories."""
    return "\n".join(
        [
            "import json",
            "from pathlib import Path",
            "",
            "import recblr",
            "from recblr import figures",
            "",
            'path = Path(recblr.__file__).with_name("results") / "compression.json"',
            'study = json.loads(path.read_text(encoding="utf-8"))',
            f"view = figures.compression(study, {metric!r})",
            "view.figure",
        ]
    )


def _models(choice: Choice, models: Mapping[str, str], *imports: str) -> Sequence[str]:
    """Lines that open the history and the models, which map a short name to that of the run."""
    return [
        *open_code(choice),
        "",
        *imports,
        "from recblr import figures",
        "",
        f"models = {{name: recblr.load(run) for name, run in {dict(models)!r}.items()}}",
    ]


def _history(choice: Choice, step: int) -> str:
    """The arguments that hand over the events up to a step."""
    return f"ids[:{step}], times={'None' if choice.subject.times is None else f'times[:{step}]'}"
