"""What a command of the command line is: its options, what it does, how its result reads.

A command is one file with an options dataclass and ``run(options) -> result``. Options, their help and their checks
come from the dataclass: a docstring line under each field is its help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recblr.cli.parser import add_json, add_options, new_parser, options_of, parse


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command."""

    summary: str
    """What it does, in a sentence; heads its help."""
    options: type
    """Frozen dataclass of its options."""
    run: Callable[[Any], Any]
    """Options -> result."""
    lines: Callable[[Any], Iterable[str]]
    """Result -> what a reader sees."""
    data: Callable[[Any], Any]
    """Result -> plain values for --json."""
    positional: tuple[str, ...] = ()
    """Fields given by place and not by name."""
    short: Mapping[str, str] = field(default_factory=dict)
    """Field -> its one-letter form."""
    read: Callable[[str, Sequence[str]], tuple[Any, bool]] | None = None
    """(program name, arguments) -> (options, whether --json was given), for a command whose options depend on one."""

    def parse(self, prog: str, arguments: Sequence[str]) -> tuple[Any, bool]:
        """Options and whether --json was given. Raises UsageError; SystemExit after --help."""
        if self.read is not None:
            return self.read(prog, arguments)
        parser = new_parser(prog, self.summary)
        add_options(parser, self.options, positional=self.positional, short=self.short)
        add_json(parser)
        namespace = parse(parser, arguments)
        return options_of(namespace, self.options), bool(namespace["json"])
