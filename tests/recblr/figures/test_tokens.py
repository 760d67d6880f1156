"""Tokens that stand for events: what they read, and who reads them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, Batch, make_config
from recblr.data.log import Catalog
from recblr.figures import describe, has_tokens, tokens
from recblr.figures.events import Events
from recblr.trace import LayerTrace, Trace

CATALOG = Catalog(ids=np.array([""] + [f"i{n}" for n in range(1, 31)]))


def made(name: str, steps: int) -> tuple[Trace, Events]:
    torch.manual_seed(0)
    cls = REGISTRY[name]
    fields = {"segment": 4, "tokens": 2} if name == "persrec" else {}
    model = cls(make_config(cls, n_items=30, max_len=20, d=8, **fields)).eval()
    items = torch.randint(1, 31, (1, steps))
    trace = model.trace(Batch(items=items, times=60 * torch.arange(steps)[None]))
    return trace, describe(trace.items[0], trace.times[0], CATALOG, first=11)


def test_a_token_reads_the_events_of_its_segment_and_is_read_by_later_ones_only() -> None:
    trace, events = made("persrec", 11)
    record = trace.layers[1]
    assert has_tokens(record)
    view = tokens(trace, 1, 9, events)
    table = view.table
    assert table["token"].unique().tolist() == ["4 · 1", "4 · 2", "8 · 1", "8 · 2"]
    of = table[table["token"] == "8 · 1"]
    assert of.loc[of["token reads event"] != 0, "event"].tolist() == [15, 16, 17, 18]
    assert of.loc[of["event reads token"] != 0, "event"].tolist() == [19, 20, 21]
    np.testing.assert_allclose(of["token reads event"], record.token_read[0, :, 2].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(of["event reads token"], record.token_mix[0, :, :, 2].mean(axis=0), rtol=1e-6)
    view.figure.to_json()


def test_the_answer_says_how_much_a_step_looks_at_the_tokens() -> None:
    weights = np.zeros((1, 1, 3, 3))
    weights[0, 0, 2, 2] = -0.3
    mix = np.zeros((1, 1, 3, 1))
    mix[0, 0, 2, 0] = 0.1
    layer = LayerTrace(
        name="one", mix=weights, token_mix=mix, token_read=np.array([[[[0.2, 0.7, 0.0]]]]), token_after=np.array([[2]])
    )
    trace = Trace(
        backbone="any", preset="fixed", items=np.array([[5, 6, 7]]), times=np.zeros((1, 3), dtype=np.int64),
        layers=(layer,), hidden=np.zeros((1, 3, 4)),
    )  # fmt: skip
    events = describe(trace.items[0], trace.times[0], CATALOG)
    answer = tokens(trace, 0, 2, events).answer
    assert "1 token stands for the first 2 events" in answer
    assert "token 2 · 1 takes in event 2 (“i6”)" in answer
    assert "Event 3 gives the tokens 25 % of its attention, by size of weight." in answer
    assert "Event 2 comes before the first of them." in tokens(trace, 0, 1, events).answer


@pytest.mark.parametrize(("name", "steps"), [("persrec", 3), ("hstu", 11), ("recblr", 11)])
def test_without_tokens_it_is_said_that_the_events_themselves_are_read(name: str, steps: int) -> None:
    trace, events = made(name, steps)
    assert not has_tokens(trace.layers[0])
    view = tokens(trace, 0, steps - 1, events)
    assert view.figure is None
    assert "the events themselves" in view.answer
