"""A table of events -> `RawEvents`: ids encoded and times parsed batch by batch, so only the codes stay in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recblr.data.columns import Columns
from recblr.data.memory import BYTES_PER_EVENT, BYTES_READ_PER_EVENT, require_memory
from recblr.data.raw import Ids, ItemTable, RawEvents
from recblr.data.tables import BadRow, Batch, Table, as_text
from recblr.data.times import TimeColumn
from recblr.errors import DataError

BAD_ROWS_SHOWN = 20
_WAY_OUT = "use a machine with more memory, or a smaller part of the log (fewer users, or a shorter span)"
_COMPACT_WORDS = 1 << 20


@dataclass
class IdColumn:
    """A growing column of ids. Distinct ids are kept once; each event costs four bytes."""

    _codes: list[NDArray[np.int32]] = field(default_factory=list)
    _words: pa.StringArray | None = None
    _loose: list[pa.DictionaryArray] = field(default_factory=list)
    _loose_words: int = 0

    def add(self, cells: pa.DictionaryArray) -> None:
        self._loose.append(cells)
        self._loose_words += len(cells.dictionary)
        # Doubling: joining the vocabularies costs their size, so it waits until they have doubled.
        if self._loose_words > max(_COMPACT_WORDS, 0 if self._words is None else len(self._words)):
            self._join()

    def finish(self, source: str) -> Ids:
        """Ids without surrounding blanks. Errors: DataError when the distinct ids alone would not fit in memory."""
        self._join()
        if self._words is None:
            return Ids(codes=np.zeros(0, np.int32), names=np.zeros(0, np.str_))
        parts, words = self._codes, self._words
        self._codes = []
        tidy = pc.utf8_trim_whitespace(words)
        if not tidy.equals(words):
            merged = tidy.dictionary_encode()
            parts, tidy = [merged.indices.to_numpy()[part] for part in parts], merged.dictionary
        longest = pc.max(pc.utf8_length(tidy)).as_py() or 1
        require_memory(
            len(tidy) * (4 * longest + 100),
            source=source,
            what=f"{len(tidy):,} ids of up to {longest} letters",
            way_out=_WAY_OUT,
        )
        return Ids(codes=np.concatenate(parts), names=tidy.to_numpy(zero_copy_only=False).astype(np.str_))

    def _join(self) -> None:
        """Give the loose chunks codes of the one vocabulary. Words keep their codes, so earlier codes stay valid."""
        if not self._loose:
            return
        known = self._words if self._words is not None else pa.array([], pa.string())
        first = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), known)
        chunks = pa.chunked_array([first, *self._loose]).unify_dictionaries().chunks
        self._words = chunks[0].dictionary
        if not self._words.slice(0, len(known)).equals(known):
            raise AssertionError("joining vocabularies moved a word")
        # Copies: Arrow's own memory is then free for the next block.
        self._codes += [chunk.indices.to_numpy().astype(np.int32) for chunk in chunks[1:]]
        self._loose, self._loose_words = [], 0


@dataclass
class _Collector:
    table: Table
    columns: Columns
    times: TimeColumn
    users: IdColumn = field(default_factory=IdColumn)
    items: IdColumn = field(default_factory=IdColumn)
    titles: IdColumn = field(default_factory=IdColumn)
    rows_in: int = 0
    n_bad: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        role = self.columns.used()
        texts = {
            name: as_text(batch.columns[role[name]], column=role[name], source=self.table.name)
            for name in ("user", "item", "title")
            if name in role
        }
        bad = {name: _blank(texts[name]) for name in ("user", "item")}
        when = role.get("time") or role.get("order")
        if when is not None:
            values, bad["time"] = self.times.parse(batch.columns[when], column=when, source=self.table.name)
        dropped = np.logical_or.reduce(list(bad.values()))
        self._note_bad(batch, bad, dropped)
        good = pa.array(~dropped)
        every = not dropped.any()
        for name, column in (("user", self.users), ("item", self.items), ("title", self.titles)):
            if name in texts:
                cells = texts[name] if name != "title" else _no_nulls(texts[name])
                column.add(cells if every else cells.filter(good))
        if when is not None:
            self.times.keep(values if every else values[~dropped])
        self.rows_in += batch.n_rows + len(batch.ragged)

    def _note_bad(self, batch: Batch, bad: dict[str, NDArray[np.bool_]], dropped: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(dropped)
        self.n_bad += len(rows) + len(batch.ragged)
        room = BAD_ROWS_SHOWN - len(self.bad_rows)
        if room == 0:
            return
        found = list(batch.ragged[:room])
        for row, record in zip(rows[:room], batch.record_of(rows[:room]), strict=True):
            reasons = [self._reason(name, batch, int(row)) for name, mask in bad.items() if mask[row]]
            found.append((int(record), "; ".join(reasons)))
        self.bad_rows += [BadRow(place=batch.place(record), reason=reason) for record, reason in sorted(found)[:room]]

    def _reason(self, role: str, batch: Batch, row: int) -> str:
        if role != "time":
            return f"the {role} is missing"
        cell = batch.columns[self.columns.time or self.columns.order or ""][row].as_py()
        return self.times.reason(cell, what="time" if self.columns.time else "position")


def collect_events(
    table: Table, columns: Columns, *, sources: tuple[str, ...] = (), item_table: ItemTable | None = None
) -> RawEvents:
    """Read every row of `table` by the settled `columns`.

    Errors: DataError when the events would not fit in memory, when there is no row, or when every row is bad.
    """
    collector = _Collector(table=table, columns=columns, times=TimeColumn())
    _check_memory(collector)
    for batch in table.batches(list(dict.fromkeys(columns.used().values()))):
        collector.add(batch)
        pa.default_memory_pool().release_unused()  # else Arrow holds on to several blocks
        _check_memory(collector)
    _check_some_usable(collector)
    items = collector.items.finish(table.name)
    if columns.title and item_table is None:
        item_table = _titles_of_events(items, collector.titles.finish(table.name))
    when = bool(columns.time or columns.order)
    return RawEvents(
        sources=sources or (table.name,),
        columns=columns,
        users=collector.users.finish(table.name),
        items=items,
        moments=collector.times.finish() if when else None,
        has_times=columns.time is not None,
        time_unit=collector.times.unit,
        rows_in=collector.rows_in,
        n_bad=collector.n_bad,
        bad_rows=tuple(collector.bad_rows),
        item_table=item_table,
    )


def _check_memory(collector: _Collector) -> None:
    """What is still to come: the rows not read yet, and assembling all of them. The ids so far are already held."""
    estimate = max(collector.table.estimated_rows, collector.rows_in)
    needed = estimate * BYTES_PER_EVENT - collector.rows_in * BYTES_READ_PER_EVENT
    name = collector.table.name
    require_memory(needed, source=name, what=f"about {estimate:,} events", way_out=_WAY_OUT)


def _check_some_usable(collector: _Collector) -> None:
    name = collector.table.name
    if collector.rows_in == 0:
        raise DataError(f"{name} has a header and no rows: there is not one event in it")
    if collector.n_bad == collector.rows_in:
        columns = collector.columns
        role = "order" if columns.order else "time"
        way_out = f"map the right columns (--columns.user NAME, --columns.item NAME, --columns.{role} NAME"
        way_out += ", or --columns.time '' for a log without times)"
        raise DataError(
            f"{name}: not one of {collector.rows_in:,} rows is usable; the first: {collector.bad_rows[0]}: {way_out}"
        )


def _titles_of_events(items: Ids, titles: Ids) -> ItemTable:
    """The first title that is not empty of each item."""
    named = np.flatnonzero(titles.names[titles.codes] != "") if len(titles.names) else np.zeros(0, np.int64)
    text = np.full(len(items.names), "", dtype=titles.names.dtype)
    text[items.codes[named[::-1]]] = titles.names[titles.codes[named[::-1]]]
    return ItemTable(ids=tuple(items.names.tolist()), titles=tuple(text.tolist()))


def _blank(cells: pa.DictionaryArray) -> NDArray[np.bool_]:
    """[n] whether a cell is missing or holds blanks only."""
    empty = pc.equal(pc.utf8_trim_whitespace(cells.dictionary), "").to_numpy(zero_copy_only=False).astype(bool)
    missing: NDArray[np.bool_] = cells.indices.is_null().to_numpy(zero_copy_only=False)
    if not empty.any():
        return missing
    blank: NDArray[np.bool_] = missing | empty[cells.indices.fill_null(0).to_numpy()]
    return blank


def _no_nulls(cells: pa.DictionaryArray) -> pa.DictionaryArray:
    return cells if cells.null_count == 0 else cells.cast(pa.string()).fill_null("").dictionary_encode()
