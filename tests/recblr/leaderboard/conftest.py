"""Rows as they would be measured, and a table small enough to be trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recblr.data.log import Catalog, InteractionLog
from recblr.leaderboard import cells, grid
from recblr.leaderboard.cells import Track
from recblr.leaderboard.rows import Asking, Row, Training

TOY = Track(log="ring", protocol="recbole", n_events=360, max_len=12, every_preset=True, what="A ring of items.")


def made_row(**fields: object) -> Row:
    """A row of ML-1M's table that took 60 s an epoch and 2 ms a recommendation, but for the fields given."""
    ndcg = float(fields.pop("ndcg", 0.2))  # type: ignore[arg-type]
    training = Training(
        seconds_per_epoch=60.0, fastest=58.0, slowest=70.0, epochs=24, best_epoch=20, machine="a small machine",
        beside_other_work=False,
    )  # fmt: skip
    asking = Asking(
        length=200, repeats=50, whole_ms=2.0, whole_low_ms=1.9, whole_high_ms=2.5, step_ms=0.5, step_low_ms=0.4,
        step_high_ms=0.7, state_bytes=4104, state_kind="state", machine="a small machine, 1 thread",
        beside_other_work=False,
    )  # fmt: skip
    row = Row(
        log="ml-1m", protocol="lrurec", backbone="lrurec", preset="fixed", seed=0, default=True, title="LRURec",
        causal=True, fingerprint="0123456789ab", max_len=200, targets=6040,
        metrics={"HR@10": 1.6 * ndcg, "NDCG@10": ndcg}, intervals={"NDCG@10": (ndcg - 0.01, ndcg + 0.01)},
        valid=0.21, parameters=355_993, objective="all", training=training, asking=asking, recblr="0.1.0",
        commit=None, date="2026-01-02T03:04:05+00:00",
    )  # fmt: skip
    return dataclasses.replace(row, **fields)  # type: ignore[arg-type]


@pytest.fixture
def made() -> Callable[..., Row]:
    return made_row


@pytest.fixture
def toy_track(monkeypatch: pytest.MonkeyPatch) -> Track:
    """The only table is one of a ring of items, and a training is two short epochs."""
    monkeypatch.setattr(cells, "TRACKS", (TOY,))
    monkeypatch.setattr(grid, "RECIPE", dataclasses.replace(grid.RECIPE, epochs=2, eval_every=1))
    return TOY


@pytest.fixture
def toy_log() -> InteractionLog:
    """36 users who walk around a ring of 12 items, 10 events each."""
    rng = np.random.default_rng(0)
    items = (rng.integers(12, size=(36, 1)) + np.arange(10)) % 12 + 1
    return InteractionLog(
        name="ring",
        items=items.ravel().astype(np.int32),
        times=np.tile(1_000_000 + 3600 * np.arange(10), 36),
        offsets=10 * np.arange(37, dtype=np.int64),
        users=np.array([f"u{user}" for user in range(36)]),
        catalog=Catalog(ids=np.array(["", *[f"i{item}" for item in range(1, 13)]])),
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "results" / "leaderboard.json"
