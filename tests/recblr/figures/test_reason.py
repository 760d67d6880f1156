"""A recommendation in a sentence: what it says follows from the numbers, whichever they are."""

from __future__ import annotations

import numpy as np
import pytest

from recblr.data.log import Catalog
from recblr.explain import Attribution
from recblr.explain.outcomes import Outcomes
from recblr.figures import Events, explained_events
from recblr.figures.reason import back, event_facts, ordinal, reason

CATALOG = Catalog(
    ids=np.array([""] + [f"i{n}" for n in range(1, 31)]), titles=np.array([""] + [f"Title {n}" for n in range(1, 31)])
)
DAY = 86_400


def made(values: list[float], *, logit: float | None = None, **fields: object) -> Attribution:
    given = {"method": "held_gates", "exactness": "exact with gates held", "error": 1e-6, "contrast": 7, **fields}
    logit = sum(values) + 0.5 if logit is None else logit
    return Attribution(
        values=np.array(values), items=1 + np.arange(len(values)), times=DAY * np.arange(len(values)), target=5,
        logit=logit, remainder=logit - sum(values), **given,
    )  # fmt: skip


def named(attribution: Attribution, **fields: object) -> Events:
    return explained_events(attribution, CATALOG, **fields)


def ranked(ranks: list[float]) -> Outcomes:
    rows = len(ranks)
    return Outcomes(
        rank=np.array(ranks), score=10 - np.array(ranks), lead=5 - np.array(ranks), top=np.tile([9, 5], (rows, 1)),
        top_scores=np.tile([2.0, 1.0], (rows, 1)),
    )  # fmt: skip


def said(attribution: Attribution, without: list[float] | None, now: float) -> str:
    events = named(attribution)
    return reason(attribution, events, CATALOG, None if without is None else ranked(without), ranked([now]))


def test_the_sentence_names_the_rank_the_event_its_part_its_age_and_the_rank_without_it() -> None:
    text = said(made([3.0, 1.0, -1.0]), [8, 1, 1], 1)
    assert text == (
        "“Title 5” has rank 1, mostly because of event 1, “Title 1”, 2 events and 2 days before the last: 75 % of all "
        "that speaks for it comes from there. Without that event it falls to rank 8."
    )
    assert "first of all because of event 2" in said(made([1.0, 1.2, 1.1]), [1, 1, 1], 1)


def test_an_event_that_is_not_needed_is_not_told_to_decide() -> None:
    assert "Yet without that event alone it stays at rank 1." in said(made([3.0, 1.0]), [1, 1], 1)
    assert "Yet without that event it rises to rank 2." in said(made([3.0, 1.0]), [2, 5], 4)


def test_an_item_that_trails_is_not_told_to_be_ahead() -> None:
    text = said(made([1.0, -3.0]), [9, 1], 4)
    assert text.startswith("“Title 5” has rank 4, behind “Title 7”; most speaks for it event 1")


def test_effects_are_not_told_as_parts() -> None:
    text = said(made([3.0, 1.0], exactness="intervention", error=0.0), [9, 1], 1)
    assert text.startswith("“Title 5” has rank 1, and hangs most on event 1")
    assert "%" not in text


def test_an_estimate_that_misses_too_much_names_no_reason() -> None:
    text = said(made([3.0, 1.0], exactness="estimate", error=2.0), [9, 1], 1)
    assert "misses too much" in text
    assert "event" not in text


def test_nothing_speaks_for_an_item_without_support() -> None:
    assert "no event speaks for it" in said(made([-3.0, -1.0]), [1, 1], 9)


def test_a_single_event_is_not_left_out() -> None:
    attribution = made([3.0])
    text = said(attribution, None, 1)
    assert "the last one" in text
    assert "Without" not in text
    facts = event_facts(attribution, named(attribution), 1, CATALOG, name="M", without=None, now=ranked([1]))
    assert facts[-1] == "It is the only event: without it the model says nothing, so it cannot be left out."


def test_an_event_is_told_by_what_it_is_what_it_adds_and_what_its_loss_does() -> None:
    attribution = made([3.0, 1.0, -1.0])
    events = named(attribution, first=11, causes=("taste", "recall", "taste"), cause_from=(0, 1, 0))
    what, adds, effect = event_facts(
        attribution, events, 12, CATALOG, name="Held gates", without=ranked([8, 4, 1]), now=ranked([1])
    )
    assert what == (
        "Event 12, “Title 2” (i2), Fri 2 Jan 1970, 00:00 UTC, 1 event and 1 day before the last. In the simulated log "
        "it happened by recall."
    )
    assert (
        adds
        == "Held gates: +1 logits, 20 % of all that is added, for or against; 2nd of 3 in what speaks for the item."
    )
    assert effect == (
        "Without it, by running the model again: rank 1 → 4, score 9 → 6, lead over “Title 7” 4 → 1; first would be "
        "“Title 9”."
    )


def test_a_mean_is_told_with_its_standard_error_and_an_unreliable_estimate_without_a_part() -> None:
    attribution = made([3.0, 1.0], exactness="estimate", error=2.0, standard_error=np.array([0.25, 0.5]))
    adds = event_facts(attribution, named(attribution), 2, CATALOG, name="S", without=ranked([1, 1]), now=ranked([1]))[
        1
    ]
    assert adds.startswith("S: +1 ± 0.5 (standard error) logits; 2nd of 2")


def test_how_long_ago_is_told_in_events_and_in_time_where_there_is_time() -> None:
    attribution = made([1.0, 2.0])
    assert back(named(attribution), 1) == "1 event and 1 day before the last"
    assert back(named(attribution), 2) == "the last one"


@pytest.mark.parametrize(
    ("rank", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd"), (101, "101st"), (112, "112th")],
)  # fmt: skip
def test_ranks_are_said_as_readers_say_them(rank: int, text: str) -> None:
    assert ordinal(rank) == text
