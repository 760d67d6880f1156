"""Item files -> `ItemTable`: ids, a title for the reader, and further text columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recblr.data.columns import KNOWN_NAMES
from recblr.data.delimited import DelimitedFile
from recblr.data.log import Catalog
from recblr.data.memory import require_memory
from recblr.data.raw import ItemTable
from recblr.data.tables import ParquetTable, Table, read_whole
from recblr.errors import DataError

_WAY_OUT = "keep only the id and title columns of the item file"
_BYTES_PER_BYTE = 6
"""Memory for a byte of an item file while its cells are Python texts."""


def read_items(
    table: DelimitedFile | ParquetTable, *, id_column: str | None = None, title: str | None = None
) -> ItemTable:
    """Every column as text. Without names, the id is the first usual one (`item_id`, `id`, ...), as is the title.

    Errors: DataError without an id column, or when the file is too large to hold as text.
    """
    size = table.path.stat().st_size * _BYTES_PER_BYTE
    require_memory(size, source=table.name, what="the item texts", way_out=_WAY_OUT)
    return as_item_table(table, id_column=id_column, title=title)


def as_item_table(table: Table, *, id_column: str | None = None, title: str | None = None) -> ItemTable:
    """The columns of a small table of items, by given or usual names."""
    texts = read_whole(table)
    names = table.column_names
    key = id_column or _first_known(names, (*KNOWN_NAMES["item"], "id"))
    if key is None or key not in names:
        raise DataError(
            f"{table.name}, line 1: no item id among its columns {', '.join(map(repr, names))}: name one 'item_id'"
        )
    shown = title or _first_known([name for name in names if name != key], KNOWN_NAMES["title"])
    return ItemTable(
        ids=tuple(text.strip() for text in texts[key]),
        titles=None if shown is None else tuple(texts[shown]),
        columns={name: tuple(cells) for name, cells in texts.items() if name and name not in (key, shown)},
    )


def text_encoding(path: Path, encoding: str | None) -> str | None:
    """The encoding given, else UTF-8, else latin-1: the older MovieLens item files are latin-1 and do not say so."""
    if encoding is not None:
        return encoding
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return "latin-1"
    return None


def spaced_genres(table: ItemTable, column: str) -> ItemTable:
    """Genres separated by blanks, as in RecBole's files, in place of MovieLens' bars."""
    genres = tuple(text.replace("|", " ") for text in table.columns[column])
    others = {name: cells for name, cells in table.columns.items() if name != column}
    return replace(table, columns={**others, "genre": genres})


def build_catalog(ids: NDArray[np.str_], table: ItemTable | None) -> tuple[Catalog, int]:
    """(catalogue of these external ids in this order after a padding row, how many of them the table lacks)."""
    padded = np.concatenate([np.array([""], dtype=ids.dtype), ids])
    if table is None:
        return Catalog(ids=padded), 0
    rows = (
        pc.index_in(pa.array(ids.tolist(), pa.string()), value_set=pa.array(table.ids, pa.string()))
        .fill_null(-1)
        .to_numpy()
    )
    rows = np.concatenate([[-1], rows])

    def column(cells: Sequence[str]) -> NDArray[np.str_]:
        # The row -1 that stands for "not in the table" takes the empty text at the end.
        texts: NDArray[np.str_] = np.array([*cells, ""], dtype=np.str_)[rows]
        return texts

    catalog = Catalog(
        ids=padded,
        titles=None if table.titles is None else column(table.titles),
        columns={name: column(cells) for name, cells in table.columns.items()},
    )
    return catalog, int((rows[1:] < 0).sum())


def _first_known(names: Sequence[str], known: Sequence[str]) -> str | None:
    plain = {name.lower().replace("_", "").replace(" ", ""): name for name in reversed(names)}
    return next((plain[name] for name in known if name in plain), None)
