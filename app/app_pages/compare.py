"""Compare: do other backbones agree on this user, and do they look as far back?"""

import choices
import compare_code
import compared_runs
import explain_choices
import links
import streamlit as st
from cache import answers, sources
from cache.sources import Asked
from choices import Choice
from components.toplists import toplists
from draw import heading, page_title, plain, show
from guard import guard
from pages import PAGES

from recblr import figures
from recblr.errors import RecblrError
from recblr.runs import RunInfo

FIRST = 4  # models compared until the reader chooses


def rivals(choice: Choice) -> dict[str, RunInfo]:
    """Runs on a log of the same name, the chosen one first, then those on exactly the same events."""
    data = choice.run.data
    same = [
        info for info in sources.runs().values() if info.error is None and info.data.get("name") == data.get("name")
    ]
    same.sort(key=lambda info: not _same_events(info, choice.run))
    return {choice.run.name: choice.run} | {info.name: info for info in same}


def _same_events(one: RunInfo, other: RunInfo) -> bool:
    return one.data.get("fingerprint") == other.data.get("fingerprint")


def telling(choice: Choice, offered: dict[str, RunInfo]) -> list[str]:
    """The models compared at first, all trained on the same events: the chosen one, then one of each other kind, of
    each the first in the registry; then the next, as long as there are places left."""
    kinds = sources.kinds()
    order = {backbone: n for n, backbone in enumerate(kinds)}
    like = [name for name, info in offered.items() if name != choice.run.name and _same_events(info, choice.run)]
    like.sort(key=lambda name: order.get(offered[name].backbone, len(order)))
    kind_of = {name: kinds.get(offered[name].backbone) for name in like}
    firsts = {kind: name for name, kind in reversed(kind_of.items()) if kind != kinds.get(choice.run.backbone)}
    own_kind = sorted(firsts.values(), key=like.index)
    return [choice.run.name, *own_kind, *(name for name in like if name not in own_kind)][:FIRST]


def _by_kind(offered: dict[str, RunInfo], short: dict[str, str], chosen: list[str]) -> str:
    kinds = sources.kinds()
    told = [(word, kinds.get(offered[short[word]].backbone)) for word in chosen]
    return ", ".join(word if kind is None else f"{word} ({kind})" for word, kind in told)


def lists_of(choice: Choice, names: list[str], step: int, k: int, hide: bool) -> dict[str, list[tuple[str, str]]]:
    """Top k of each model that can be opened; what cannot is said, and the others stay."""
    lists = {}
    for name in names:
        try:
            best = answers.recommend(name, choice.subject, step, k, hide)
        except RecblrError as error:
            st.warning(f"{plain(name)} is left out: {plain(str(error))}")
            continue
        lists[name] = [(row.item, choice.title(row.item)) for row in best]
    return lists


@st.fragment
def body(choice: Choice) -> None:
    with guard():
        step = choices.step_choice(choice)
        offered = rivals(choice)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            words = links.short_names(list(offered), choice.run.name)
            short = {word: name for name, word in words.items()}
            first = [words[name] for name in telling(choice, offered)]
            chosen = choices.several("Models", list(short), first, key="models")
            k = int(choices.one_of("Length of the lists", ["10", "5", "20"], key="k"))
            hide = choices.hide_seen(choice)
        if len(first) > 1 and chosen == first:
            st.caption(plain(f"Shown first is a model of each kind: {_by_kind(offered, short, first)}."))
        if not chosen:
            st.info("Choose at least one model above.")
            return
        lists = lists_of(choice, [short[word] for word in chosen], step, k, hide)
        if lists:
            draw(choice, {word: short[word] for word in chosen if short[word] in lists}, lists, step, k, hide)


def draw(choice: Choice, models: dict[str, str], lists: dict, step: int, k: int, hide: bool) -> None:
    """`models` maps the short name to the run's name."""
    came = choice.came_next(step)
    shared = set.intersection(*({item for item, _ in one} for one in lists.values()))
    says = f"The lists have {len(shared)} of {k} items in common." if len(lists) > 1 else ""
    question = f"What does each model recommend after event {step}?"
    heading(question, says + (f" What came next is “{choice.title(came)}”." if came else ""))
    shown = {short: lists[name] for short, name in models.items()}
    toplists(shown, key="toplists", truth=came, target=choice.target, alt=question)
    left, right = st.columns(2, gap="large")
    with left:
        show(figures.overlap({name: [item for item, _ in one] for name, one in shown.items()}), key="overlap",
             code=compare_code.compare_code(choice, models, step, k, hide))  # fmt: skip
    with right:
        if came is not None:
            ranks = {short: answers.rank(name, choice.subject, step, came, hide) for short, name in models.items()}
            known = {short: place for short, place in ranks.items() if place is not None}
            if known:
                view = figures.true_ranks(known, choice.title(came), choice.catalog.n_items)
                show(view, key="true_ranks", code=compare_code.true_ranks_code(choice, models, step, came, hide))
    reaches, read = {}, {}
    for short, name in models.items():
        trace, events = answers.trace(name, choice.subject, step, sources.open_run(name).run.catalog)
        reaches[short] = [trace.horizon(layer, events.index(step)) for layer in range(len(trace.layers))]
        read[short] = events
    show(figures.horizons(reaches), key="horizons", code=compare_code.horizons_code(choice, models, step, read))
    faithfulness(choice, models, step, hide)


def faithfulness(choice: Choice, models: dict[str, str], step: int, hide: bool) -> None:
    """On request, how far each model's explanation of one item gets between the bounds of that model."""
    measured = choices.switch(
        "Measure whether each model's explanation is faithful",
        key="faithful",
        help="Runs each model on some hundreds of shortened histories: up to a few seconds a model.",
    )
    if not measured:
        return
    best = answers.recommend(choice.run.name, choice.subject, step, 1, hide)
    item = choice.target or next((row.item for row in best), None)
    if item is None or step < 2:
        st.info("There is nothing to measure: an order of removals needs an item to explain and at least two events.")
        return
    found, chance, methods = {}, {}, {}
    bar = st.empty()
    for n, (short, name) in enumerate(models.items()):
        bar.progress(n / len(models), text=f"Running {plain(short)} without some of the events")
        asked = Asked(run=name, subject=choice.subject, step=step, target=item, contrast=None, hide=False)
        try:
            methods[short] = explain_choices.usual_method(name)
            found[short], chance[short] = answers.aopc(asked, methods[short].name)
        except RecblrError as error:
            st.warning(f"{plain(short)} is left out: {plain(str(error))}")
    bar.empty()
    view = figures.faithful(found, chance, choice.title(item), {name: one.title for name, one in methods.items()})
    names = {short: methods[short].name for short in found}
    show(view, key="faithful_aopc", code=compare_code.faithful_code(choice, models, step, item, names))
    st.caption(
        "Each model is explained by its own method and judged by itself: events are taken out in the order of the "
        "explanation and the model is run again; the log-probability of the item falls. Its area is set between those "
        "of the worst and the best order that a search finds for that model, so models can be compared though their "
        "scores cannot. It is one answer to one user, and a search may miss the best order; Trust has the means."
    )


page_title(PAGES["compare"].question)
with guard():
    chosen = choices.header()
    body(chosen)
    compared_runs.causes(chosen, rivals(chosen))
compared_runs.costs()
compared_runs.compression()
