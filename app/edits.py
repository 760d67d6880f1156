"""Edits of a history as the URL holds them, and the variants that they make.

    0:remove:5;1:swap:2:7;0:gap:4:86400

Each edit names the variant that it starts from, 0 being the history as given, and makes the next: so the text holds a
tree, and nothing is ever lost. Events are numbered from 1 in the variant that is edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from recblr.data.log import Catalog
from recblr.errors import HistoryError, RecblrError
from recblr.explain import Variant
from recblr.figures.view import time_span

KINDS = {"remove": 1, "swap": 2, "move": 2, "replace": 1, "insert": 1, "gap": 2}
"""Numbers that an edit of a kind takes."""
WITH_ITEM = {"replace", "insert"}
MOST = 40
"""Edits in one address."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One edit of one variant."""

    parent: int
    """Variant that it starts from."""
    kind: str
    """Key of KINDS."""
    numbers: tuple[int, ...]
    """Event numbers from 1; of a gap, the event after it and its seconds."""
    item: str | None = None
    """External id, for an edit that brings an item."""

    def text(self) -> str:
        """As it stands in the URL."""
        item = [] if self.item is None else [quote(self.item, safe="")]
        return ":".join([str(self.parent), self.kind, *map(str, self.numbers), *item])


def write(edits: Sequence[Edit]) -> str:
    """The text for the URL."""
    return ";".join(one.text() for one in edits)


def read(text: str) -> list[Edit]:
    """The edits of a text; raises RecblrError where it is none."""
    parts = [part for part in text.split(";") if part]
    if len(parts) > MOST:
        raise RecblrError(f"There are {len(parts)} edits: {MOST} at most.")
    return [_one(part, place) for place, part in enumerate(parts)]


def _one(part: str, place: int) -> Edit:
    words = part.split(":")
    kind = words[1] if len(words) > 1 else ""
    count = KINDS.get(kind, 0)
    if not count or len(words) != 2 + count + (kind in WITH_ITEM):
        raise RecblrError(f"“{part}” is no edit: write such as 0:remove:5 or 0:swap:2:7.")
    numbers = [words[0], *words[2 : 2 + count]]
    if not all(one.isascii() and one.isdigit() and len(one) < 12 for one in numbers):
        raise RecblrError(f"“{part}” is no edit: its events are whole numbers.")
    if int(words[0]) > place:
        raise RecblrError(f"“{part}” starts from variant {words[0]}, which is not made before it.")
    item = unquote(words[-1]) if kind in WITH_ITEM else None
    return Edit(parent=int(words[0]), kind=kind, numbers=tuple(int(one) for one in numbers[1:]), item=item)


def variants(given: Variant, edits: Sequence[Edit], catalog: Catalog) -> list[Variant]:
    """The history as given, then what each edit makes. Raises RecblrError for one that cannot be made."""
    made = [given]
    for edit in edits:
        made.append(apply(made[edit.parent], edit, catalog))
    return made


def apply(variant: Variant, edit: Edit, catalog: Catalog) -> Variant:
    """What an edit makes of a variant. Raises RecblrError where it cannot be made, in event numbers."""
    events = edit.numbers[:1] if edit.kind == "gap" else edit.numbers
    last = len(variant) + (edit.kind == "insert")
    for number in events:
        if not 1 <= number <= last:
            raise HistoryError(f"There is no event {number}: the history has the events 1 to {len(variant)}.")
    if edit.item is not None and edit.item not in catalog.index:
        raise HistoryError(f"The item “{edit.item}” is not in the catalogue of this run.")
    if edit.kind == "remove" and len(variant) == 1:
        raise HistoryError("This is the only event: a model says nothing before the first, so one has to stay.")
    if edit.kind == "gap" and events[0] == 1:
        raise HistoryError("The first event has no gap before it: change that of event 2 or a later one.")
    places = [number - 1 for number in events]
    item = [] if edit.item is None else [int(catalog.index[edit.item])]
    if edit.kind == "gap":
        return variant.change_gap(places[0], edit.numbers[1])
    made: Variant = getattr(variant, edit.kind)(*places, *item)
    return made


def python(edits: Sequence[Edit], chosen: int) -> str:
    """An expression that makes the chosen variant from `given` and `catalog`."""
    if chosen == 0:
        return "given"
    edit = edits[chosen - 1]
    places = [number - 1 for number in edit.numbers]
    if edit.kind == "gap":
        call = f"change_gap({places[0]}, {edit.numbers[1]})"
    else:
        item = [] if edit.item is None else [f"catalog.index[{edit.item!r}]"]
        call = f"{edit.kind}({', '.join([*map(str, places), *item])})"
    return f"{python(edits, edit.parent)}.{call}"


def words(edit: Edit, before: Variant, catalog: Catalog) -> str:
    """What an edit does, for a reader. `before` is the variant that it starts from."""

    def event(number: int) -> str:
        return f"{number} ({catalog.title(int(before.items[number - 1]))})"

    first, *more = edit.numbers
    title = "" if edit.item is None else catalog.title(int(catalog.index[edit.item]))
    if edit.kind == "remove":
        return f"remove event {event(first)}"
    if edit.kind == "swap":
        return f"swap events {event(first)} and {event(more[0])}"
    if edit.kind == "move":
        return f"move event {event(first)} to place {more[0]}"
    if edit.kind == "replace":
        return f"replace event {event(first)} by {title}"
    if edit.kind == "gap":
        return f"let {time_span(more[0])} pass before event {event(first)}"
    return f"add {title} at the end" if first > len(before) else f"insert {title} before event {event(first)}"
