"""Values from a file or an address, checked against the annotations of a dataclass. Nothing is converted by guess."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class Mismatch(ValueError):
    """A value that its annotation does not allow; the text begins with the field's name."""


def typed(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as `cls` declares them: lists become tuples, whole numbers become floats where a float is asked for.

    Raises Mismatch for a value of another type; unknown and missing names are the caller's to judge.
    """
    hints = get_type_hints(cls)
    return {name: _typed(value, hints[name], name) for name, value in values.items()}


def _typed(value: Any, hint: Any, name: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in inner):
            return value
        raise Mismatch(f"{name} is {value!r}: choose {' or '.join(map(repr, inner))}")
    if origin in (Union, types.UnionType):
        return _first_that_fits(value, inner, name)
    if origin is tuple and isinstance(value, list | tuple):
        of = [inner[0]] * len(value) if inner[1:] == (...,) else list(inner)
        if len(of) == len(value):
            return tuple(
                _typed(one, kind, f"{name}[{row}]") for row, (one, kind) in enumerate(zip(value, of, strict=True))
            )
    if origin is dict and isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {key: _typed(one, inner[1], f"{name}.{key}") for key, one in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint is Any or type(value) is hint or (hint in (None, type(None)) and value is None):
        return value
    raise Mismatch(f"{name} is {value!r}: it must be {_words(hint)}")


def _first_that_fits(value: Any, hints: tuple[Any, ...], name: str) -> Any:
    for hint in hints:
        try:
            return _typed(value, hint, name)
        except Mismatch:
            continue
    raise Mismatch(f"{name} is {value!r}: it must be {' or '.join(map(_words, hints))}")


def _words(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return names.get(hint, str(hint))
