"""The command line: one file a command, and this line for each.

Results go to stdout (with --json, as JSON and nothing else), messages to stderr. Exit codes: 0 done, 2 an error that
the message explains, 130 stopped by Ctrl-C, 141 the reader of the output went away.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recblr.cli.nearest import nearest
from recblr.errors import RecblrError
from recblr.version import VERSION

if TYPE_CHECKING:
    from recblr.cli.command import Command

COMMANDS = {
    "simulate": "make a log whose every event knows its cause",
    "download": "fetch a MovieLens log",
    "inspect-log": "read a log and report what was found, dropped and changed",
    "train": "train a backbone and save a run",
    "evaluate": "rank the hidden events of a log with a run",
    "recommend": "the next items for a history",
    "trace": "what a run remembers of a history: half-lives and memory horizon",
    "explain": "why a run recommends an item after a history",
    "trust": "how far the explanations of a run can be trusted, method by method",
    "backbones": "list the backbones",
    "leaderboard": "train every backbone on every log into the table of results",
    "compression-study": "compare what runs keep of old events: tokens, a state, or nothing",
}
"""Name -> summary; each lives in the module of its name, which is imported only when it is called."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except RecblrError as error:
        return _complain(" ".join(str(error).split()))
    except BrokenPipeError:
        return _reader_left()
    except OSError as error:
        return _complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except SystemExit as done:  # after --help and --print_config
        return done.code if isinstance(done.code, int) else 0


def find_command(name: str) -> Command:
    """The command of a name."""
    module = importlib.import_module(f"recblr.cli.{name.replace('-', '_')}")
    found: Command = module.COMMAND
    return found


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if arguments else 2
    name = arguments[0].replace("_", "-")
    if name == "--version":
        print(f"recblr {VERSION}")
        return 0
    if name not in COMMANDS:
        raise RecblrError(f"no command {arguments[0]!r}{nearest(name, COMMANDS)}: choose one of {', '.join(COMMANDS)}")
    chosen = find_command(name)
    options, as_json = chosen.parse(f"recblr {name}", arguments[1:])
    result = chosen.run(options)
    if as_json:
        print(_json(chosen.data(result)))
    else:
        for line in chosen.lines(result):
            print(line)
    sys.stdout.flush()
    return 0


def _usage() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: recblr COMMAND [options]",
            "",
            *(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()),
            "",
            "recblr COMMAND --help lists the options of a command.",
        ]
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _reader_left() -> int:
    """The rest of the output goes nowhere, so that Python does not complain about it while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
