"""What a page is about: which run looks at whose history."""

from __future__ import annotations

from dataclasses import dataclass

from cache import sources
from cache.sources import OpenLog, Subject

from recblr.data.log import Catalog
from recblr.runs import RunInfo


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which run looks at whose history."""

    run: RunInfo
    opened: OpenLog | None
    """The run's log, where it is on this machine."""
    subject: Subject
    target: str | None
    """External item id, or None for the run's own first recommendation."""

    @property
    def catalog(self) -> Catalog:
        return sources.catalog(self.run, self.opened)

    def title(self, item: str) -> str:
        """Title of an external id."""
        row = self.catalog.index.get(item)
        return item if row is None else self.catalog.title(row)

    def why(self, event: int) -> str:
        """Why an event happened, in brackets, where the truth is known."""
        if not self.subject.causes:
            return ""
        source = self.subject.cause_from[event - 1]
        return f" ({self.subject.causes[event - 1]}{f', because of event {source}' if source else ''})"

    def came_next(self, step: int) -> str | None:
        """External id of the event after `step`, or None at the end of the history."""
        return self.subject.ids[step] if step < len(self.subject) else None


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A second history, kept beside the chosen one."""

    run: str
    subject: Subject
    step: int
    catalog: Catalog
