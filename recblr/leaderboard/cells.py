"""What can be in the table: a cell is one training of one backbone on one log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from recblr.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One table of the page: a log, how it is read, and the protocol of split and ranking."""

    log: str
    """Name of the log's folder."""
    protocol: str
    n_events: int
    """Events of the log as the table has it; another log of the same name is refused."""
    max_len: int
    """Longest history read."""
    k_core: int = 0
    """Least events of a user and of an item that the log is cut to; 0 takes it as it lies."""
    every_preset: bool = False
    """Whether presets other than a backbone's first are tabled without being asked for."""
    what: str
    """What a reader must know of the log, in a sentence or two."""

    @property
    def name(self) -> str:
        return f"{self.log}/{self.protocol}"


TRACKS: tuple[Track, ...] = (
    Track(
        log="ml-1m-recbole", protocol="recbole", n_events=999_611, max_len=200, k_core=5,
        what="MovieLens-1M, 5-core, in RecBole's order: times rounded to steps of 64 s, ties as in the raw file.",
    ),
    Track(
        log="ml-1m", protocol="lrurec", n_events=999_611, max_len=200, k_core=5,
        what="MovieLens-1M, 5-core, ordered by time and then by item id: the very file of LRURec's figures.",
    ),
    Track(
        log="ml-1m", protocol="time", n_events=999_611, max_len=200, k_core=5,
        what="MovieLens-1M, 5-core, with its times. Nobody has published on this split.",
    ),
    Track(
        log="ml-100k", protocol="recbole", n_events=100_000, max_len=200, every_preset=True,
        what="MovieLens-100K, raw, with exact times. It is small enough for presets that are not causal, which train "
        "on one sample per prefix.",
    ),
    Track(
        log="beauty", protocol="lrurec", n_events=394_908, max_len=50,
        what="Amazon Beauty as LRURec has it: 57,289 items, histories of 7.6 events in the mean, and no times: the "
        "time-aware models read zero gaps.",
    ),
)  # fmt: skip
"""The tables, in the order of the page."""


def tracks() -> tuple[Track, ...]:
    """The tables, in the order of the page."""
    return TRACKS


def track_named(log: str, protocol: str) -> Track | None:
    """The table of a log and protocol, or None."""
    return next((track for track in TRACKS if (track.log, track.protocol) == (log, protocol)), None)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Cell:
    """One training."""

    log: str
    protocol: str
    backbone: str
    """Registry name."""
    preset: str
    seed: int = 0

    @property
    def track(self) -> str:
        return f"{self.log}/{self.protocol}"

    @property
    def name(self) -> str:
        return f"{self.track}/{self.backbone}-{self.preset}-s{self.seed}"

    def folder(self, runs: Path) -> Path:
        """The cell's run folder below the folder of runs."""
        return runs / self.log / self.protocol / f"{self.backbone}-{self.preset}-s{self.seed}"

    def fits(self, words: Sequence[str]) -> bool:
        """Whether the cell is one of "LOG PROTOCOL BACKBONE PRESET SEED": shell patterns, those at the end optional."""
        values = (self.log, self.protocol, self.backbone, self.preset, str(self.seed))
        return len(words) <= len(values) and all(map(fnmatchcase, values, words))


def choose(cells: Iterable[Cell], selections: Sequence[str]) -> list[Cell]:
    """The cells that a selection names; all of them without one. Raises ConfigError for a selection of none."""
    found, known = list(cells), set()
    for selection in selections:
        fitting = {cell for cell in found if cell.fits(selection.split())}
        if not fitting:
            raise ConfigError(
                f"--only {selection!r} names no cell: write LOG PROTOCOL BACKBONE PRESET SEED, each a name or *, such "
                "as 'ml-1m lrurec *'; --list shows the cells"
            )
        known |= fitting
    return [cell for cell in found if cell in known] if selections else found
