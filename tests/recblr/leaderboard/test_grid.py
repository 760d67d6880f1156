"""Which cells there are, and that all of them are trained alike."""

from __future__ import annotations

import dataclasses

import pytest

from recblr.backbones import REGISTRY, make_config
from recblr.errors import ConfigError
from recblr.leaderboard.cells import TRACKS, Cell, choose
from recblr.leaderboard.grid import DROPOUT, WIDTH, grid, model_config, train_config
from recblr.leaderboard.published import Published, read_published

PLAIN = Published()
LEARNERS = [name for name, cls in REGISTRY.items() if cls.learns]


def test_every_backbone_of_the_registry_stands_in_every_table() -> None:
    cells = grid(1, PLAIN)
    for track in TRACKS:
        first = {(cell.backbone, cell.preset) for cell in cells if cell.track == track.name}
        assert first >= {(cls.name, next(iter(cls.presets))) for cls in REGISTRY.values()}
    assert len(set(cells)) == len(cells)


def test_further_presets_stand_only_where_they_can_be_afforded_or_are_compared() -> None:
    further = {
        (cell.log, cell.backbone, cell.preset)
        for cell in grid(1, read_published())
        if cell.preset != next(iter(REGISTRY[cell.backbone].presets))
    }
    small = {("ml-100k", cls.name, preset) for cls in REGISTRY.values() for preset in list(cls.presets)[1:]}
    assert further == small | {("ml-1m", "tim4rec", "untimed")}
    assert {cell.log for cell in grid(1, PLAIN, every_preset=True) if cell.preset == "reference"} == {
        track.log for track in TRACKS
    }


def test_the_first_seed_of_everything_comes_before_a_second_and_what_counts_has_one() -> None:
    cells = grid(3, PLAIN)
    seeds = [cell.seed for cell in cells]
    assert seeds == sorted(seeds)
    assert {cell.seed for cell in cells if cell.backbone == "popularity"} == {0}
    assert {cell.seed for cell in cells if cell.backbone == "gru4rec"} == {0, 1, 2}


def test_all_learners_are_trained_by_one_recipe_but_for_what_is_not_causal() -> None:
    kept = ("protocol", "seed")
    recipes = {}
    for cell in grid(1, PLAIN):
        if REGISTRY[cell.backbone].learns:
            config = dataclasses.asdict(train_config(cell))
            recipes.setdefault(config["objective"], set()).add(
                tuple(sorted((name, value) for name, value in config.items() if name not in kept))
            )
    assert {objective: len(different) for objective, different in recipes.items()} == {"all": 1, "last": 1}
    all_positions, last = (dict(next(iter(recipes[objective]))) for objective in ("all", "last"))
    assert {name for name in last if last[name] != all_positions[name]} == {"objective", "batch_size"}


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_has_the_same_width_and_the_length_of_the_table(name: str) -> None:
    for cell in grid(1, PLAIN):
        if cell.backbone == name:
            config = model_config(cell, n_items=9)
            assert config.d == WIDTH
            assert config.max_len == (50 if cell.log == "beauty" else 200)


def test_cells_are_chosen_by_place_and_pattern() -> None:
    cells = grid(2, PLAIN)
    assert choose(cells, ()) == cells
    assert choose(cells, ["ml-1m-recbole recbole lrurec fixed 0"]) == [
        Cell(log="ml-1m-recbole", protocol="recbole", backbone="lrurec", preset="fixed")
    ]
    assert {cell.protocol for cell in choose(cells, ["ml-1m"])} == {"lrurec", "time"}
    assert {cell.backbone for cell in choose(cells, ["* * tim4rec", "* * sasrec"])} == {"tim4rec", "sasrec"}
    for wrong in ("ml-2m", "ml-1m recbole", "ml-1m lrurec lrurec fixed 0 more"):
        with pytest.raises(ConfigError, match="names no cell"):
            choose(cells, [wrong])


def test_dropout_is_the_backbones_own_but_where_validation_chose_another() -> None:
    tuned = {}
    for cell in grid(1, PLAIN):
        cls = REGISTRY[cell.backbone]
        own = make_config(cls, cell.preset, n_items=3)
        if (dropout := model_config(cell, n_items=3).dropout) != own.dropout:
            tuned[cell.log, cell.backbone] = dropout
    assert tuned == DROPOUT


def test_a_cell_of_no_table_is_refused() -> None:
    cell = Cell(log="shop", protocol="users", backbone="gru4rec", preset="fixed")
    with pytest.raises(ConfigError, match="no table of shop/users"):
        model_config(cell, n_items=3)


def test_what_a_log_has_nothing_for_is_left_out() -> None:
    published = Published(left_out={("beauty", "sasrec"): "no reason"})
    assert {cell.log for cell in grid(1, published) if cell.backbone == "sasrec"} == {
        track.log for track in TRACKS if track.log != "beauty"
    }
    for log, backbone in read_published().left_out:
        assert log in {track.log for track in TRACKS}
        assert backbone
