"""The figures of the papers and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recblr.backbones import REGISTRY
from recblr.errors import ConfigError
from recblr.leaderboard.bars import Bar, bars
from recblr.leaderboard.cells import TRACKS
from recblr.leaderboard.entries import entries_of
from recblr.leaderboard.published import Published, Relation, read_published
from recblr.leaderboard.rows import Row

LRUREC = next(track for track in TRACKS if track.name == "ml-1m/lrurec")


def test_every_published_figure_names_a_table_a_backbone_and_a_source() -> None:
    published = read_published()
    tables = {track.name for track in TRACKS}
    places = [(one.log, one.protocol, one.backbone) for one in published.numbers]
    assert len(set(places)) == len(places)
    for one in published.numbers:
        assert f"{one.log}/{one.protocol}" in tables
        assert one.backbone in REGISTRY
        assert 0 < one.ndcg10 < one.hr10 < 1
        assert one.source
    for relation in published.relations:
        assert f"{relation.log}/{relation.protocol}" in tables
        for backbone, preset in (relation.better, relation.worse):
            assert preset in REGISTRY[backbone].presets


def test_every_backbone_that_learns_has_a_published_figure_or_a_reason_why_not() -> None:
    published = read_published()
    with_figures = {one.backbone for one in published.numbers}
    assert with_figures | set(published.none) == {name for name, cls in REGISTRY.items() if cls.learns}
    assert not with_figures & set(published.none)
    for why in published.none.values():
        assert why[0].islower()  # the page makes a sentence of it
        assert not why.endswith(".")


@pytest.mark.parametrize(
    ("backbone", "table", "figure"),
    [
        ("recblr", "ml-1m-recbole/recbole", 0.1901),
        ("mamba4rec", "ml-1m-recbole/recbole", 0.1822),
        ("lrurec", "ml-1m-recbole/recbole", 0.1772),
        ("sasrec", "ml-1m-recbole/recbole", 0.1692),
        ("gru4rec", "ml-1m-recbole/recbole", 0.1638),
        ("lrurec", "ml-1m/lrurec", 0.1930),
        ("sasrec", "ml-1m/lrurec", 0.1902),
    ],
)
def test_the_figures_that_ours_must_reach_are_bars(backbone: str, table: str, figure: float) -> None:
    found = {(bar.backbone, bar.track): bar.bar for bar in bars([], read_published())}
    assert found[backbone, table] == pytest.approx(figure, abs=5e-5)


def test_a_bar_is_missed_reached_or_open(made: Callable[..., Row]) -> None:
    published = read_published()

    def verdict(*rows: Row) -> str:
        judged = bars(entries_of(rows, LRUREC), published)
        return next(bar.verdict for bar in judged if (bar.track, bar.backbone) == ("ml-1m/lrurec", "lrurec"))

    assert verdict() == "open"
    assert verdict(made(ndcg=0.1929)) == "missed"
    assert verdict(made(ndcg=0.194)) == "reached"
    assert verdict(made(ndcg=0.3, preset="reference", default=False)) == "open"
    assert verdict(made(ndcg=0.180), made(ndcg=0.208, seed=1)) == "reached"  # the mean over the seeds
    assert verdict(made(ndcg=0.180), made(ndcg=0.200, seed=1)) == "missed"


def test_a_figure_is_reached_as_far_as_it_is_printed() -> None:
    assert Bar.reaches(0.19006, 0.1901)
    assert not Bar.reaches(0.19004, 0.1901)
    assert not Bar.reaches(0.19296, 0.19298)


@pytest.mark.parametrize(("ours", "low", "high", "within"), [(0.3, 0.25, 0.35, False), (0.3, 0.19, 0.35, True)])
def test_a_bar_within_the_interval_of_ours_is_marked(ours: float, low: float, high: float, within: bool) -> None:
    bar = Bar(track="a/b", backbone="c", what="d", bar=0.2, ours=ours, interval=(low, high))
    assert (bar.verdict, bar.within) == ("reached", within)


def test_one_of_ours_is_held_against_another_of_ours(made: Callable[..., Row]) -> None:
    relation = Relation(log="ml-1m", protocol="lrurec", better=("tbdlru", "fixed"), worse=("lrurec", "fixed"))
    published = Published(relations=(relation,))
    own, timed = made(ndcg=0.2), made(ndcg=0.19, backbone="tbdlru")
    assert bars(entries_of([own], LRUREC), published)[0].verdict == "open"
    (bar,) = bars(entries_of([own, timed], LRUREC), published)
    assert (bar.verdict, bar.bar, bar.ours) == ("missed", 0.2, 0.19)


@pytest.mark.parametrize(
    "text",
    [
        "[[number]]\nlog = 3\n",
        "[[number]]\nlog = 'a'\n",
        "[[relation]]\nlog = 'a'\nprotocol = 'b'\nbetter = 'c d'\n",
        "[[none]]\nbackbone = 'a'\n",
        "[[number]\n",
    ],
)
def test_an_entry_that_cannot_be_read_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "published.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"published\.toml"):
        read_published(tmp_path / "published.toml")


def test_a_number_of_another_protocol_must_say_what_differs(tmp_path: Path) -> None:
    text = "[[number]]\nlog='a'\nprotocol='b'\nbackbone='c'\nhr10=0.2\nndcg10=0.1\nsource='d'\nsame_protocol=false\n"
    (tmp_path / "published.toml").write_text(text)
    with pytest.raises(ConfigError, match="what differs"):
        read_published(tmp_path / "published.toml")
