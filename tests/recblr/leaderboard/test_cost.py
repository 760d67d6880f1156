"""What an answer costs: the state that is counted is the one that is carried."""

from __future__ import annotations

import pytest
import torch

from recblr.backbones import REGISTRY, make_config
from recblr.leaderboard.cost import kept_of_user, measure_asking, processor, state_bytes
from recblr.training import build

LENGTH, N_ITEMS = 6, 9


def model_of(name: str, preset: str | None = None, *, max_len: int = LENGTH):
    cls = REGISTRY[name]
    width = {"d": 16} if cls.learns else {}
    return build(name, make_config(cls, preset, n_items=N_ITEMS, max_len=max_len, **width), seed=0)


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("recblr", "state", 2 * (1 + 3) * 32 * 4 + 8),  # layers x (h and three inputs of the convolution) x channels
        ("lrurec", "state", 2 * 32 * 8 + 8),  # layers x complex channels
        ("gru4rec", "state", 1 * 128 * 4),
        ("sasrec", "cache", 2 * 2 * LENGTH * 16 * 4 + 8),  # layers x keys and values x events
        ("ssd4rec", "history", 16 * LENGTH),
    ],
)
def test_bytes_of_a_user_are_what_must_be_kept(name: str, kind: str, size: int) -> None:
    asked = measure_asking(model_of(name, "reference" if kind == "history" else "fixed"), repeats=2)
    assert (asked.state_kind, asked.state_bytes) == (kind, size)


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_backbone_and_preset_can_be_asked(name: str) -> None:
    for preset in REGISTRY[name].presets:
        model = model_of(name, preset)
        asked = measure_asking(model, repeats=3)
        assert asked.length == LENGTH
        assert 0 < asked.whole_low_ms <= asked.whole_ms <= asked.whole_high_ms
        assert (asked.step_ms is None) == (asked.state_kind == "history")
        assert asked.step_ms is None or asked.step_low_ms <= asked.step_ms <= asked.step_high_ms
        assert model.causal or asked.step_ms is None
        assert kept_of_user(model) == (asked.state_bytes, asked.state_kind)


def test_a_state_stays_as_large_and_a_cache_grows_with_the_history() -> None:
    sizes = {
        name: [measure_asking(model_of(name, max_len=length), repeats=1).state_bytes for length in (4, 8)]
        for name in ("recblr", "sasrec")
    }
    assert sizes["recblr"][0] == sizes["recblr"][1]
    assert sizes["sasrec"][1] - 8 == 2 * (sizes["sasrec"][0] - 8)


def test_it_is_measured_on_one_thread_which_is_undone_after() -> None:
    before = torch.get_num_threads()
    asked = measure_asking(model_of("gru4rec"), repeats=1, beside_other_work=True)
    assert torch.get_num_threads() == before
    assert asked.machine == f"{processor()}, 1 thread"
    assert asked.beside_other_work


def test_bytes_of_a_state_are_those_of_its_tensors() -> None:
    assert state_bytes({"a": torch.zeros(1, 3), "b": torch.zeros(2, dtype=torch.complex64)}) == 12 + 16
    assert state_bytes({}) == 0
