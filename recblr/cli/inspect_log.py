"""``recblr inspect-log LOG``: what a log holds, and what reading it changed."""

from __future__ import annotations

from dataclasses import dataclass

from recblr.cli.command import Command
from recblr.cli.logs import ReadingOptions, locate
from recblr.cli.output import plain
from recblr.data.read import read_log
from recblr.data.report import LoadReport


@dataclass(frozen=True, kw_only=True)
class InspectOptions(ReadingOptions):
    """Where the log is and how to read it."""

    path: str
    """Events file, the folder that holds it, or the name of a log."""


def run(options: InspectOptions) -> LoadReport:
    """Raises DataError naming file, line, column and the way out."""
    _, report = read_log(locate(options.path), **options.reading())
    return report


COMMAND = Command(
    summary="Read a log and report what was found, dropped and changed.",
    options=InspectOptions,
    run=run,
    lines=lambda report: report.lines(),
    data=lambda report: plain(report.as_dict()),
    positional=("path",),
)
