"""The figures of the papers, from published.toml, each with its source."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recblr.errors import ConfigError
from recblr.typed import Mismatch, typed

FILE = Path(__file__).with_name("published.toml")

Named = tuple[str, str]
"""(backbone, preset)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One model's figures in one paper."""

    log: str
    protocol: str
    """The table of ours that it stands beside."""
    backbone: str
    hr10: float
    ndcg10: float
    same_protocol: bool
    """Whether it was measured as ours is, so that ours must reach it."""
    differs: str = ""
    """What does not agree where the protocol is another."""
    source: str

    def __post_init__(self) -> None:
        if self.same_protocol == bool(self.differs):
            raise ConfigError(
                f"{self.log}/{self.protocol} {self.backbone}: a number of another protocol says in `differs` what "
                "differs, one of the same protocol has no `differs`"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """One of ours that must not be worse than another of ours."""

    log: str
    protocol: str
    better: Named
    worse: Named


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What published.toml holds."""

    numbers: tuple[Number, ...] = ()
    none: dict[str, str] = field(default_factory=dict)
    """Backbone -> why there is no figure of it."""
    left_out: dict[tuple[str, str], str] = field(default_factory=dict)
    """(log, backbone) -> why it cannot be trained there."""
    relations: tuple[Relation, ...] = ()

    def of(self, log: str, protocol: str, backbone: str) -> Number | None:
        """The figure beside a backbone of a table, or None."""
        wanted = (log, protocol, backbone)
        return next((one for one in self.numbers if (one.log, one.protocol, one.backbone) == wanted), None)


def read_published(path: Path = FILE) -> Published:
    """Raises ConfigError naming the entry that cannot be read."""
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
        return Published(
            numbers=tuple(Number(**typed(Number, one)) for one in held.get("number", ())),
            none={one["backbone"]: one["why"] for one in held.get("none", ())},
            left_out={(one["log"], one["backbone"]): one["why"] for one in held.get("left_out", ())},
            relations=tuple(_relation(one) for one in held.get("relation", ())),
        )
    except (tomllib.TOMLDecodeError, Mismatch, KeyError, TypeError) as error:
        raise ConfigError(f"{path.name}: {error}") from error


def _relation(values: dict[str, Any]) -> Relation:
    pair = {}
    for side in ("better", "worse"):
        backbone, _, preset = values[side].partition(" ")
        pair[side] = (backbone, preset)
    return Relation(log=values["log"], protocol=values["protocol"], **pair)
