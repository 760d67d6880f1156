"""Which column of a table holds the user, the item and the time: given by the reader, else guessed and said.

A guess goes by names first (the usual ones of public logs, compared without case and punctuation), then, for the time
alone, by contents: a column whose cells all look like unix times or ISO dates.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from recblr.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Column names by role. A role left out is guessed; an empty text says that the table has no such column."""

    user: str | None = None
    """Column of the user id."""
    item: str | None = None
    """Column of the item id."""
    time: str | None = None
    """Column of the time: unix seconds, ms, us, ns, or ISO 8601 text."""
    order: str | None = None
    """Column of the position inside the user's sequence, for a table without times."""
    title: str | None = None
    """Column of the item's title."""

    def used(self) -> dict[str, str]:
        """Role -> column, for the roles that have one."""
        roles = {role: getattr(self, role) for role in ROLES}
        return {role: column for role, column in roles.items() if column}


KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "user": (
        *("userid", "user", "uid", "username", "customerid", "customer", "visitorid", "visitor", "reviewerid"),
        *("reviewer", "memberid", "member", "clientid", "accountid", "playerid", "listenerid", "readerid"),
        *("msno", "profilename", "sessionid", "session"),
    ),
    "item": (
        *("itemid", "item", "iid", "productid", "product", "movieid", "movie", "parentasin", "asin", "sku"),
        *("articleid", "article", "trackid", "track", "songid", "song", "videoid", "video", "bookid", "isbn"),
        *("businessid", "newsid", "gameid", "recipeid", "animeid", "venueid", "poiid", "stockcode", "contentid"),
    ),
    "time": (
        *("timestamp", "time", "unixreviewtime", "unixtime", "unixtimestamp", "ts", "datetime", "eventtime"),
        *("createdat", "ratedat", "reviewtime", "eventtimestamp", "invoicedate", "date", "timems"),
    ),
    "order": ("order", "position", "step", "ordernumber", "sequenceindex"),
    "title": ("title", "itemtitle", "producttitle", "movietitle", "itemname", "productname", "name"),
}
ROLES = tuple(KNOWN_NAMES)
_UNIX_TIME = re.compile(r"\d{9,19}(\.\d*)?")
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")


def resolve_columns(
    names: Sequence[str],
    given: Columns,
    *,
    source: str,
    sample: Sequence[Sequence[str]] = (),
    positional: bool = False,
) -> Columns:
    """Every role settled, from what is given, the names, and the first rows (`sample`, as text).

    positional: the table has no header, so the first free column is the user and the next one the item.
    Errors: DataError naming the columns there are, the nearest one, and the option that maps it.
    """
    _check_given(names, given, source)
    found = {role: getattr(given, role) for role in ROLES}
    for role in ROLES:
        if found[role] is None:
            found[role] = _by_name(role, names, taken=found.values())
    if positional:
        free = [name for name in names if name not in found.values()]
        for role in ("user", "item"):
            found[role] = found[role] or (free.pop(0) if free else None)
    for role in ("user", "item"):
        if not found[role]:
            free = [name for name in names if name not in found.values()]
            raise DataError(_no_column(role, names, free, source))
    if given.time is None and not found["time"]:
        found["time"] = _time_by_contents(names, sample, taken=found.values())
    if found["time"] and given.order is None:
        found["order"] = None
    settled = Columns(**found)
    return replace(settled, **{role: None for role in ROLES if getattr(settled, role) == ""})


def known_column(names: Iterable[str]) -> bool:
    """Whether one of these names is a usual column name; a first row without any may be data."""
    usual = {name for known in KNOWN_NAMES.values() for name in known}
    return any(_plain(name) in usual for name in names)


def _check_given(names: Sequence[str], given: Columns, source: str) -> None:
    for role, column in given.used().items():
        if column not in names:
            close = difflib.get_close_matches(column, names, n=1, cutoff=0.0)
            hint = f": pass --columns.{role} {close[0]}" if close else ""
            raise DataError(f"{source} has no column {column!r} for the {role}; it has {_listed(names)}{hint}")
        if list(names).count(column) > 1:
            raise DataError(f"{source} has several columns named {column!r}: rename all but one")
    columns = list(given.used().values())
    if len(set(columns)) < len(columns):
        raise DataError(f"{source}: one column cannot play two roles, got {given.used()}")


def _by_name(role: str, names: Sequence[str], taken: Iterable[str | None]) -> str | None:
    plain = {_plain(name): name for name in reversed(names)}
    busy = set(taken)
    for known in KNOWN_NAMES[role]:
        if known in plain and plain[known] not in busy:
            return plain[known]
    return None


def _time_by_contents(names: Sequence[str], sample: Sequence[Sequence[str]], taken: Iterable[str | None]) -> str | None:
    busy = set(taken)
    for position, name in enumerate(names):
        cells = [row[position].strip() for row in sample if position < len(row)]
        if name in busy or not cells:
            continue
        if any(all(form.fullmatch(cell) for cell in cells) for form in (_UNIX_TIME, _ISO_TIME)):
            return name
    return None


def _no_column(role: str, names: Sequence[str], free: Sequence[str], source: str) -> str:
    def likeness(name: str) -> float:
        return max(difflib.SequenceMatcher(None, _plain(name), known).ratio() for known in KNOWN_NAMES[role])

    near = [name for name in free if likeness(name) >= 0.6]
    option = max(near, key=likeness, default="NAME")
    hint = f"the nearest is {option!r}: " if near else ""
    return (
        f"{source}, line 1: no column for the {role} among {_listed(names)}; {hint}pass --columns.{role} {option} "
        f"(in Python: columns=Columns({role}={option!r}))"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "no columns"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
