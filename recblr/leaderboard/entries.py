"""The rows of several seeds together: one entry a backbone and preset of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, median

from recblr.leaderboard.cells import Track, tracks
from recblr.leaderboard.rows import RESULTS, TABLE, Row, read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a table says of one backbone and preset."""

    log: str
    protocol: str
    fingerprint: str
    backbone: str
    preset: str
    title: str
    default: bool
    """Whether the preset is the backbone's first, which the published figure is held against."""
    seeds: int
    hr10: float
    ndcg10: float
    """Means over the seeds."""
    spread: float
    """Largest less smallest NDCG@10 of a seed."""
    low: float
    high: float
    """95 % interval of NDCG@10 over users: means of the seeds' ends."""
    parameters: int
    causal: bool
    objective: str
    epoch_seconds: float | None
    """Median over the seeds; None for a baseline that counts."""
    trained_on: str
    """Machine, or an empty text."""
    training_beside: bool
    """Whether a training shared its machine with other work."""
    whole_ms: float
    step_ms: float | None
    """Medians over the seeds; None where nothing can be carried on."""
    length: int
    """Events of the history that the milliseconds are for."""
    asked_on: str
    asking_beside: bool
    state_bytes: int
    state_kind: str
    date: str
    """Of the latest training."""

    @property
    def best_ms(self) -> float:
        """The cheaper way to answer: a step from a kept state where there is one."""
        return self.whole_ms if self.step_ms is None else min(self.whole_ms, self.step_ms)


def entries_of(rows: Iterable[Row], track: Track) -> list[Entry]:
    """The entries of a table, best NDCG@10 first."""
    own = sorted((row for row in rows if row.cell.track == track.name), key=_key)
    found = [_entry(list(group)) for _, group in groupby(own, key=_key)]
    return sorted(found, key=lambda entry: -entry.ndcg10)


def tables_of(rows: Iterable[Row]) -> list[tuple[Track, list[Entry]]]:
    """Every table in the order of the page, the empty ones too."""
    held = list(rows)
    return [(track, entries_of(held, track)) for track in tracks()]


def recorded(path: Path = RESULTS / TABLE) -> dict[str, list[Entry]]:
    """The results that came with the package: name of a table, such as "ml-1m/lrurec" -> its entries, best first."""
    return {track.name: entries for track, entries in tables_of(read_rows(path).values()) if entries}


def _key(row: Row) -> tuple[str, str, str]:
    return row.backbone, row.preset, row.fingerprint


def _entry(rows: Sequence[Row]) -> Entry:
    first, ndcg = rows[0], [row.metrics["NDCG@10"] for row in rows]
    ends = [row.intervals["NDCG@10"] for row in rows]
    costs = [row.training for row in rows if row.training is not None]
    steps = [row.asking.step_ms for row in rows if row.asking.step_ms is not None]
    return Entry(
        log=first.log,
        protocol=first.protocol,
        fingerprint=first.fingerprint,
        backbone=first.backbone,
        preset=first.preset,
        title=first.title,
        default=first.default,
        seeds=len(rows),
        hr10=fmean(row.metrics["HR@10"] for row in rows),
        ndcg10=fmean(ndcg),
        spread=max(ndcg) - min(ndcg),
        low=fmean(low for low, _ in ends),
        high=fmean(high for _, high in ends),
        parameters=first.parameters,
        causal=first.causal,
        objective=first.objective,
        epoch_seconds=median(one.seconds_per_epoch for one in costs) if costs else None,
        trained_on=" and ".join(dict.fromkeys(one.machine for one in costs)),
        training_beside=any(one.beside_other_work for one in costs),
        whole_ms=median(row.asking.whole_ms for row in rows),
        step_ms=median(steps) if steps else None,
        length=first.asking.length,
        asked_on=" and ".join(dict.fromkeys(row.asking.machine for row in rows)),
        asking_beside=any(row.asking.beside_other_work for row in rows),
        state_bytes=first.asking.state_bytes,
        state_kind=first.asking.state_kind,
        date=max(row.date for row in rows),
    )
