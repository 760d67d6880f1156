"""Events as they stand in the file: ids encoded, times unread by unit, order untouched. The readers make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from recblr.data.columns import Columns
from recblr.data.tables import BadRow
from recblr.data.times import Moments


@dataclass(frozen=True, kw_only=True)
class Ids:
    """A column of external ids."""

    codes: NDArray[np.int32]
    """[N] row in `names` of each event."""
    names: NDArray[np.str_]
    """[n] distinct external ids, in the order of first use; some may have no event left."""


@dataclass(frozen=True, kw_only=True)
class ItemTable:
    """What is known of the items besides their ids."""

    ids: tuple[str, ...]
    """External ids."""
    titles: tuple[str, ...] | None = None
    """What a reader sees."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further text columns, such as genre."""


@dataclass(frozen=True, kw_only=True)
class RawEvents:
    """N usable events in file order, and what was not usable."""

    sources: tuple[str, ...]
    """Names of the files read."""
    columns: Columns
    """The columns that were used."""
    users: Ids
    items: Ids
    moments: Moments | None
    """[N] time or position as written, at full resolution; None keeps the file's order."""
    has_times: bool
    """Whether `moments` are times; False for positions or none."""
    time_unit: str | None
    """Unit of `moments` where the column's type or form says it; None is to be recognised."""
    rows_in: int
    """Rows of the file, without header and blank lines."""
    n_bad: int
    """Rows that could not be used."""
    bad_rows: tuple[BadRow, ...] = ()
    """The first of them."""
    item_table: ItemTable | None = None
    notes: tuple[str, ...] = ()
    """What else a reader should know."""

    def without_events(self) -> RawEvents:
        """Everything but the arrays over events."""
        none = Ids(codes=np.zeros(0, np.int32), names=np.zeros(0, np.str_))
        return replace(self, users=none, items=none, moments=None)
