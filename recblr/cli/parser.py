"""Arguments made from dataclasses: one option a field, its help the docstring under the field.

Options are written with hyphens (--k-core); underscores are taken too. An option or key that does not exist is an
error that names the nearest one that does.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_type_hints

import docstring_parser
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from recblr.errors import RecblrError

_REWORD = (
    (re.compile(r'Parser key "([^"]+)":\s*'), r"\1: "),
    (re.compile(r"<class '([^']+)'>"), r"\1"),
    (re.compile(r"Expected an? (typing\.Literal)?(.+?)\. Got value: ", re.S), r"must be \2, not "),
    (re.compile(r"\s+"), " "),
)
"""jsonargparse's messages in one line each."""
_UNKNOWN = (
    re.compile(r"unrecognized arguments: (--[^\s=]+)"),
    re.compile(r"does not accept (?:nested key|option) '([^']+)'"),
    re.compile(r"[Kk]ey '([^']+)' is not expected"),
)


class UsageError(RecblrError):
    """A command line that cannot be read."""


def new_parser(prog: str, summary: str) -> ArgumentParser:
    """A parser that raises instead of exiting, with --config and --print_config."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=prog, description=summary, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file of options; those given beside it win.")
    return parser


def add_options(
    parser: ArgumentParser,
    options: type,
    *,
    positional: Collection[str] = (),
    short: Mapping[str, str] | None = None,
    skip: Collection[str] = (),
) -> None:
    """One argument for each field of a dataclass; a field without a default must be given."""
    hints, help_of = get_type_hints(options), _help(options)
    for field in dataclasses.fields(options):
        if field.name in skip:
            continue
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        word = field.name.replace("_", "-")
        about: dict[str, Any] = {"help": help_of.get(field.name, "")}
        if hints[field.name] is bool and field.default is False:
            parser.add_argument(f"--{word}", action="store_true", **about)
            continue
        about["type"] = hints[field.name]
        if not required:
            about["default"] = field.default
        if field.name in positional:
            parser.add_argument(field.name, **about)
        else:
            letter = (short or {}).get(field.name)
            parser.add_argument(*([letter] if letter else []), f"--{word}", required=required, **about)


def add_group(
    parser: ArgumentParser,
    options: type,
    name: str,
    *,
    skip: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Arguments --name.field for each field of a dataclass; `defaults` take the place of the dataclass's own."""
    parser.add_class_arguments(options, name, skip=set(skip))
    parser.set_defaults({f"{name}.{key}": value for key, value in (defaults or {}).items()})


def add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print the result as JSON and nothing else.")


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """The namespace of a command line. Raises UsageError with one line; SystemExit after --help."""
    known = sorted(option for action in parser._actions for option in action.option_strings)
    try:
        return parser.parse_args([_spelled(argument, known) for argument in arguments])
    except ArgumentError as error:
        raise UsageError(_one_line(str(error), known)) from error


def values_of(namespace: Namespace, options: type) -> dict[str, Any]:
    """The fields of a dataclass in a namespace."""
    return {field.name: namespace[field.name] for field in dataclasses.fields(options) if field.name in namespace}


def nearest(word: str, known: Collection[str]) -> str:
    """`` (did you mean 'x'?)``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _help(options: type) -> dict[str, str]:
    parsed = docstring_parser.parse_from_object(options)
    return {one.arg_name: " ".join((one.description or "").split()) for one in parsed.params}


def _spelled(argument: str, known: Sequence[str]) -> str:
    """The argument with hyphens or underscores as the option is declared."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    same = [option for option in known if option.replace("_", "-") == name.replace("_", "-")]
    return (same[0] if same else name) + equals + value


def _one_line(message: str, known: Sequence[str]) -> str:
    for pattern in _UNKNOWN:
        found = pattern.search(message)
        if found:
            word = found.group(1)
            options = known if word.startswith("--") else {option.lstrip("-").split(".")[-1] for option in known}
            return _reworded(message) + nearest(word, options)
    return _reworded(message)


def _reworded(message: str) -> str:
    for pattern, words in _REWORD:
        message = pattern.sub(words, message)
    return message.strip()
