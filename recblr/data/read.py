"""A path or a data frame -> (`InteractionLog`, `LoadReport`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa

from recblr.data.assemble import Assembly, assemble
from recblr.data.catalogs import as_item_table
from recblr.data.collect import collect_events
from recblr.data.columns import Columns, resolve_columns
from recblr.data.core import CoreMode
from recblr.data.formats import find_format
from recblr.data.log import InteractionLog
from recblr.data.report import LoadReport
from recblr.data.tables import ArrowTable
from recblr.data.times import TimeUnit
from recblr.errors import DataError


def read_log(
    path: str | Path,
    *,
    format: str | None = None,
    columns: Columns | None = None,
    k_core: int = 0,
    k_core_mode: CoreMode = "iterative",
    name: str | None = None,
    drop_duplicates: bool = False,
    encoding: str | None = None,
    time_unit: TimeUnit | None = None,
) -> tuple[InteractionLog, LoadReport]:
    """Read a log of any known format, from its folder or its events file.

    Events are ordered by (time at full resolution, original row) inside each user. Internal item ids follow the
    external ones: in numeric order when all are whole numbers, else in text order. Exact duplicates (user, item, time)
    are counted and kept unless `drop_duplicates`; then the core is taken. The report accounts for every row.

    format: a name in `recblr.data.formats.FORMATS`; None recognises it. encoding: None is UTF-8. time_unit: None
    recognises seconds, ms, us and ns by magnitude.
    Errors: DataError naming file, line, column and the way out.
    """
    place = Path(path).expanduser()
    given = columns or Columns()
    found = find_format(place, format)
    how = Assembly(
        name=name or log_name(place),
        format=found.name,
        given=given,
        k_core=k_core,
        k_core_mode=k_core_mode,
        drop_duplicates=drop_duplicates,
        time_unit=time_unit,
    )
    try:
        return assemble(found.read(place, given, encoding=encoding), how)
    except OSError as error:
        raise DataError(f"{error.filename or place} cannot be read: {error.strerror or error}") from error


def from_frame(
    frame: Any,
    *,
    items: Any = None,
    columns: Columns | None = None,
    k_core: int = 0,
    k_core_mode: CoreMode = "iterative",
    name: str = "frame",
    drop_duplicates: bool = False,
    time_unit: TimeUnit | None = None,
) -> tuple[InteractionLog, LoadReport]:
    """The same from a data frame of events: pandas, polars (eager or lazy), pyarrow, or any that narwhals knows.

    items: an optional frame with an id column, a title and further text columns. Rows are named by number from 0.
    Errors: DataError as in `read_log`, or when `frame` is no data frame.
    """
    given = columns or Columns()
    table = ArrowTable(name="frame", table=_arrow(frame))
    settled = resolve_columns(table.column_names, given, source="frame", sample=table.sample())
    item_table = None if items is None else as_item_table(ArrowTable(name="items", table=_arrow(items)))
    how = Assembly(
        name=name,
        given=given,
        k_core=k_core,
        k_core_mode=k_core_mode,
        drop_duplicates=drop_duplicates,
        time_unit=time_unit,
    )
    return assemble(collect_events(table, settled, item_table=item_table), how)


def log_name(path: Path) -> str:
    """The folder's name, or the file's without its suffix; a file of a general name takes its folder's."""
    whole = path.resolve()
    general = whole.stem in {"ratings", "events", "u", "interactions", "log", "data"}
    return whole.name if whole.is_dir() else whole.parent.name if general else whole.stem


def _arrow(frame: Any) -> pa.Table:
    try:
        known = nw.from_native(frame)
    except TypeError as error:
        raise DataError(f"a {type(frame).__name__} is no data frame: give a pandas, polars or pyarrow table") from error
    try:
        return (known.collect() if isinstance(known, nw.LazyFrame) else known).to_arrow()
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"frame: not a table of plain columns ({error}): give each column one type, such as text"
        ) from error
