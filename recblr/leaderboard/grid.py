"""Which cells the table asks for, and the one recipe that all of them are trained by.

The grid follows the registry: a new backbone is in it with its first preset on every track, and with the others where
that can be afforded.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from recblr.backbones import REGISTRY, SequentialBackbone, make_config
from recblr.backbones.base import BackboneConfig
from recblr.errors import ConfigError
from recblr.leaderboard.cells import Cell, Track, track_named, tracks
from recblr.leaderboard.published import Published
from recblr.training import TrainConfig

RECIPE = TrainConfig(eval_every=4)
"""The defaults of `recblr train`, validated every fourth epoch."""
WIDTH = 64
DROPOUT = {("ml-1m-recbole", "lrurec"): 0.1}
"""Dropout by (log, backbone) where validation chose another than the backbone's own; see the page for the choice."""
PREFIXES = 256
"""Prefixes a step for presets that are not causal: each is a sequence of its own."""


def track_of(cell: Cell) -> Track:
    """The table that a cell stands in. Raises ConfigError where there is none."""
    track = track_named(cell.log, cell.protocol)
    if track is None:
        raise ConfigError(f"no table of {cell.track}: there are {', '.join(one.name for one in tracks())}")
    return track


def model_config(cell: Cell, n_items: int) -> BackboneConfig:
    """The backbone's own settings by its preset, all at one width, for histories as long as the table reads."""
    cls = REGISTRY[cell.backbone]
    ours: dict[str, Any] = {"d": WIDTH} if cls.learns else {}
    if (cell.log, cell.backbone) in DROPOUT:
        ours["dropout"] = DROPOUT[cell.log, cell.backbone]
    return make_config(cls, cell.preset, n_items=n_items, max_len=track_of(cell).max_len, **ours)


def train_config(cell: Cell, *, device: str = "auto") -> TrainConfig:
    """The same for all, but that what is not causal trains on the last of every prefix."""
    causal = _is_causal(cell.backbone, cell.preset)
    return dataclasses.replace(
        RECIPE,
        protocol=cell.protocol,
        seed=cell.seed,
        device=device,
        objective="all" if causal else "last",
        batch_size=RECIPE.batch_size if causal else PREFIXES,
    )


@cache
def _is_causal(backbone: str, preset: str) -> bool:
    """Whether a preset's outputs ignore later events, so that all positions of a window train at once."""
    cls = REGISTRY[backbone]
    return cls(make_config(cls, preset, n_items=1)).causal


def grid(seeds: int, published: Published, *, every_preset: bool = False) -> list[Cell]:
    """The cells, seed by seed: a first seed of everything comes before a second of anything.

    Baselines that count have one seed, since they count the same with any. `published` adds the presets that it
    compares, and says what is left out.
    """
    compared = {
        (one.log, one.protocol, backbone, preset)
        for one in published.relations
        for backbone, preset in (one.better, one.worse)
    }
    return [
        Cell(log=track.log, protocol=track.protocol, backbone=cls.name, preset=preset, seed=seed)
        for seed in range(seeds)
        for track in tracks()
        for cls in REGISTRY.values()
        for number, preset in enumerate(cls.presets)
        if (cls.learns or seed == 0)
        and (track.log, cls.name) not in published.left_out
        and (
            number == 0
            or every_preset
            or track.every_preset
            or (track.log, track.protocol, cls.name, preset) in compared
        )
    ]


def backbone_of(cell: Cell) -> type[SequentialBackbone]:
    """Class of the cell's backbone."""
    return REGISTRY[cell.backbone]
