"""``recblr backbones``: what can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from recblr.backbones import REGISTRY, SequentialBackbone, make_config
from recblr.cli.command import Command
from recblr.cli.output import table
from recblr.errors import ConfigError

ML_1M_ITEMS = 3416
_MOST_ITEMS = 1_000_000  # models are built to be counted


@dataclass(frozen=True, kw_only=True)
class BackbonesOptions:
    """The registry of backbones."""

    n_items: int = ML_1M_ITEMS
    """Items of the catalogue that parameters are counted for; by default those of ML-1M."""


@dataclass(frozen=True, kw_only=True)
class BackboneRow:
    """One backbone."""

    name: str
    title: str
    paper: str
    causal: Mapping[str, bool]
    """By preset, as the two below."""
    uses_time: Mapping[str, bool]
    recurrent: Mapping[str, bool]
    presets: tuple[str, ...]
    """The first is the default."""
    parameters: int
    """With the settings of the default preset."""


def run(options: BackbonesOptions) -> list[BackboneRow]:
    """Every backbone of the registry. Raises ConfigError for a catalogue without items, or a huge one."""
    if not 1 <= options.n_items <= _MOST_ITEMS:
        raise ConfigError(f"--n-items is {options.n_items}: it must lie in 1..{_MOST_ITEMS}")
    return [_row(cls, options.n_items) for cls in REGISTRY.values()]


def _row(cls: type[SequentialBackbone], n_items: int) -> BackboneRow:
    flags = {preset: cls.flags(make_config(cls, preset, n_items=n_items)) for preset in cls.presets}
    return BackboneRow(
        name=cls.name,
        title=cls.title,
        paper=cls.paper,
        causal={preset: one.causal for preset, one in flags.items()},
        uses_time={preset: one.uses_time for preset, one in flags.items()},
        recurrent={preset: one.recurrent for preset, one in flags.items()},
        presets=tuple(cls.presets),
        parameters=cls.count_parameters(make_config(cls, n_items=n_items)),
    )


def lines(result: Sequence[BackboneRow]) -> Iterator[str]:
    """A table; of what differs from preset to preset, the presets that it holds for."""
    heads = ["name", "title", "causal", "uses time", "recurrent", "presets", "parameters", "paper"]
    rows = [
        (
            one.name,
            one.title,
            _where(one.causal),
            _where(one.uses_time),
            _where(one.recurrent),
            ", ".join(one.presets),
            one.parameters,
            one.paper,
        )
        for one in result
    ]
    yield from table(heads, rows, widest=60)


def _where(holds: Mapping[str, bool]) -> str:
    if len(set(holds.values())) > 1:
        return ", ".join(preset for preset, held in holds.items() if held)
    return "yes" if any(holds.values()) else "no"


COMMAND = Command(
    summary="List the backbones, with their parameters at the size of ML-1M.",
    options=BackbonesOptions,
    run=run,
    lines=lines,
    data=lambda result: [{**asdict(one), "presets": list(one.presets)} for one in result],
)
