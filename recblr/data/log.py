"""The interaction log in memory: one catalogue and one CSR of events.

    items   int32 [N]    internal item ids, 1..V-1 (0 is padding and never occurs)
    times   int64 [N]    unix seconds, or all zero where the log has no times (``has_times``)
    offsets int64 [U+1]  user u owns events offsets[u]:offsets[u+1], in the order (time, original row)

External ids never reach a model, internal ids never a user: `Catalog` and `InteractionLog.users` translate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recblr.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Items by internal id. Row 0 is padding: ``ids[0] == ""``."""

    ids: NDArray[np.str_]
    """[V] external ids as text."""
    titles: NDArray[np.str_] | None = None
    """[V] what a reader sees; the external id where there is none."""
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """Further text columns, each [V], such as genre or aisle."""

    def __post_init__(self) -> None:
        if len(self.ids) == 0 or self.ids[0] != "":
            raise DataError("row 0 of a catalogue is padding: ids[0] must be the empty string")
        for name, column in {"titles": self.titles, **self.columns}.items():
            if column is not None and len(column) != len(self.ids):
                raise DataError(f"catalogue column {name!r} has {len(column)} rows, ids has {len(self.ids)}")

    def __len__(self) -> int:
        """V: items plus the padding row."""
        return len(self.ids)

    @property
    def n_items(self) -> int:
        return len(self.ids) - 1

    @cached_property
    def index(self) -> dict[str, int]:
        """External id -> internal id."""
        return {external: row for row, external in enumerate(self.ids.tolist()) if row > 0}

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits of the ids in order: two catalogues with the same one fit the same checkpoint."""
        return hashlib.sha256("\n".join(self.ids.tolist()).encode()).hexdigest()[:12]

    def title(self, item: int) -> str:
        text = "" if self.titles is None else str(self.titles[item])
        return text or str(self.ids[item])

    def encode(self, external: Sequence[str]) -> tuple[NDArray[np.int32], list[int]]:
        """External ids -> (internal ids of the known ones, positions in `external` of the unknown ones)."""
        found = [self.index.get(str(one).strip(), 0) for one in external]
        unknown = [position for position, item in enumerate(found) if item == 0]
        return np.array([item for item in found if item], dtype=np.int32), unknown


@dataclass(frozen=True, kw_only=True)
class InteractionLog:
    """Every user's events in order. See the module docstring for the arrays."""

    name: str
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    offsets: NDArray[np.int64]
    users: NDArray[np.str_]
    """[U] external user ids."""
    catalog: Catalog
    has_times: bool = True

    def __post_init__(self) -> None:
        if len(self.items) != len(self.times) or self.offsets[-1] != len(self.items):
            raise DataError(f"log {self.name!r}: items, times and offsets do not describe the same events")

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        return len(self.items)

    @cached_property
    def user_index(self) -> dict[str, int]:
        """External user id -> row in `offsets`."""
        return {external: row for row, external in enumerate(self.users.tolist())}

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits of the events and the catalogue."""
        digest = hashlib.sha256(self.catalog.fingerprint.encode())
        for array in (self.items, self.times, self.offsets):
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()[:12]

    def lengths(self) -> NDArray[np.int64]:
        """[U] events a user."""
        return np.diff(self.offsets)

    def sequence(self, user: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(items [T], times [T]) of one user: views, not copies."""
        start, end = self.offsets[user], self.offsets[user + 1]
        return self.items[start:end], self.times[start:end]
