"""Half-lives in days, of a backbone whose decay reads the time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, Batch, make_config
from recblr.data.log import Catalog
from recblr.figures import describe, lives
from recblr.figures.view import View, time_span
from recblr.trace import Trace

CATALOG = Catalog(ids=np.array(["", *(f"i{n}" for n in range(1, 10))]))


def traced(name: str, gap: int) -> Trace:
    torch.manual_seed(0)
    cls = REGISTRY[name]
    model = cls(make_config(cls, n_items=9, max_len=50, d=8)).eval()
    items = torch.randint(1, 10, (1, 6))
    return model.trace(Batch(items=items, times=1_700_000_000 + gap * torch.arange(6).unsqueeze(0)))


def view(trace: Trace) -> View:
    return lives(trace, 0, describe(trace.items[0], trace.times[0], CATALOG))


def test_the_table_has_each_channels_half_life_in_days_and_the_answer_the_median() -> None:
    trace = traced("tbdlru", 90_000)
    shown = view(trace)
    days = trace.layers[0].half_life_days
    assert days is not None
    assert shown.table["half-life (days)"].tolist() == pytest.approx(days[0][shown.table["channel"]].tolist())
    assert f"halved in {time_span(float(np.median(days)) * 86_400)}" in shown.answer


def test_it_says_nothing_of_days_where_no_time_passed_a_channel_never_fades_or_the_decay_reads_no_time() -> None:
    timed = traced("tbdlru", 90_000)
    days = timed.layers[0].half_life_days
    assert days is not None
    never = replace(timed.layers[0], half_life_days=np.full_like(days, np.inf))
    for trace in (traced("tbdlru", 0), traced("recblr", 90_000), replace(timed, layers=(never,))):
        shown = view(trace)
        assert "half-life (days)" not in shown.table
        assert "halved in" not in shown.answer
