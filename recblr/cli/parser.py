"""Arguments made from dataclasses: one option a field, its help the docstring under the field.

Options are written with hyphens (--k-core); underscores are taken too. An option or key that does not exist is an
error that names the nearest one that does.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_type_hints

import docstring_parser
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from recblr.cli.nearest import nearest
from recblr.errors import RecblrError

_REWORD = (
    (re.compile(r'Parser key "([^"]+)":\s*'), r"\1: "),
    (re.compile(r"<class '([^']+)'>"), r"\1"),
    (re.compile(r"expected one argument"), "expected a value; write one that begins with - as --option=value"),
    (re.compile(r"Expected an? (typing\.Literal)?(.+?)\. Got value: ", re.S), r"must be \2, not "),
    (re.compile(r"argument (--\S+): invalid (.+) value: (.+)"), r"\1 is \3: it must be \2"),
    (re.compile(r"\s+"), " "),
)
"""jsonargparse's messages in one line each."""
_REQUIRED = re.compile(r"arguments are required: (.+)")
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
    parser = ArgumentParser(prog=prog, description=summary, exit_on_error=False, allow_abbrev=False)
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
    """One argument for each field of a dataclass; a field without a default must be given.

    A field that is a dataclass itself becomes --field.inner for each of its own.
    """
    hints, help_of = get_type_hints(options), _help(options)
    for field in sorted(dataclasses.fields(options), key=lambda one: "required" not in _default(one)):
        if field.name in skip:
            continue
        hint: Any = hints[field.name]
        about: dict[str, Any] = {"help": help_of.get(field.name, "")}
        if dataclasses.is_dataclass(hint):
            parser.add_class_arguments(hint, field.name)
        elif hint is bool and field.default is False:
            parser.add_argument(_flag(field.name), action="store_true", **about)
        elif field.name in positional:
            parser.add_argument(field.name, type=hint, **about)
        else:
            letter = (short or {}).get(field.name)
            flags = [letter, _flag(field.name)] if letter else [_flag(field.name)]
            kind = _WRITTEN.get(hint, hint)
            parser.add_argument(*flags, type=kind, **about, **_default(field))


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


def options_of(namespace: Namespace, options: type) -> Any:
    """An instance of the options dataclass; its own checks may raise a ConfigError."""
    hints, values = get_type_hints(options), {}
    for field in dataclasses.fields(options):
        if field.name in namespace:
            value = namespace[field.name]
            nested = dataclasses.is_dataclass(hints[field.name])
            values[field.name] = hints[field.name](**value.as_dict()) if nested else value
    return options(**values)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    if field.default_factory is not dataclasses.MISSING:
        return {"default": field.default_factory()}
    return {"required": True} if field.default is dataclasses.MISSING else {"default": field.default}


class _Names:
    """A type for arguments: ``a,b`` on the command line, a list in YAML."""

    def __call__(self, value: str | Sequence[str]) -> tuple[str, ...]:
        return tuple(part.strip() for part in value.strip("[]").split(",")) if isinstance(value, str) else tuple(value)

    def __repr__(self) -> str:
        return "names with commas between"


class _Pair:
    """A type for arguments: ``8,40`` on the command line, a list in YAML."""

    def __call__(self, value: str | Sequence[int]) -> tuple[int, int]:
        first, second = (int(part) for part in (value.strip("[]() ").split(",") if isinstance(value, str) else value))
        return first, second

    def __repr__(self) -> str:
        return "two whole numbers with a comma between"


_WRITTEN: Mapping[Any, Any] = {tuple[str, ...]: _Names(), tuple[int, int]: _Pair()}
"""Kinds of fields that are written otherwise than jsonargparse has it."""


def _help(options: type) -> dict[str, str]:
    """Field -> the docstring under it, in the class or the one it inherits the field from."""
    parsed = [one for cls in reversed(options.__mro__[:-1]) for one in docstring_parser.parse_from_object(cls).params]
    return {one.arg_name: " ".join((one.description or "").split()) for one in parsed}


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
    missing = _REQUIRED.search(message)
    if missing:
        words = [f"--{word}" if f"--{word}" in known else word for word in missing.group(1).split(", ")]
        return f"{', '.join(words)} must be given"
    return _reworded(message)


def _reworded(message: str) -> str:
    for pattern, words in _REWORD:
        message = pattern.sub(words, message)
    return message.strip()
