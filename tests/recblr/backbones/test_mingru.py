"""What is particular to minGRU: the paper's equations, one gate for forgetting and writing, the two candidates."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import Batch, make_config
from recblr.backbones.mingru import MinGRU, positive
from recblr.errors import ConfigError

plain = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("plain.py"))))

ITEMS, D = 11, 6


def made(preset="fixed", **fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    model = MinGRU(make_config(MinGRU, preset, **{"n_items": ITEMS, "d": D, "max_len": 12, **fields})).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.clear_padding_row()
    return model


def batch(steps=8, rows=2):
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=torch.Generator().manual_seed(1))
    return Batch(items=items, times=torch.zeros_like(items))


def plain_mixer(own, x, preset):
    """The block for one history, event by event and channel by channel."""
    inner, taps = own["conv.weight"].shape
    h, entered, out = np.zeros(inner), [], []
    for one in x:
        u, v = np.split(own["project_in.weight"] @ one, 2)
        entered.append(u)
        u = own["conv.bias"].copy()
        for back, past in enumerate(reversed(entered[-taps:])):
            u += own["conv.weight"][:, taps - 1 - back] * past
        r, c = np.split(own["gates.weight"] @ plain.silu(u) + own["gates.bias"], 2)
        for channel in range(inner):
            z, candidate = plain.sigmoid(r[channel]), c[channel]
            if preset == "positive":
                candidate = candidate + 0.5 if candidate >= 0 else plain.sigmoid(candidate)
            h[channel] = (1 - z) * h[channel] + z * candidate
        out.append(own["project_out.weight"] @ (plain.silu(v) * h))
    return out


def stated(model, items, preset):
    """Hidden states [T, d] of one history."""
    w = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    x = [plain.norm(w["item_embedding.weight"][v], w["norm.weight"], w["norm.bias"]) for v in items]
    for layer in range(model.config.n_layers):
        own = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"layers.{layer}.")}
        mixer = {name.removeprefix("mixer."): value for name, value in own.items() if name.startswith("mixer.")}
        new = []
        for before, y in zip(x, plain_mixer(mixer, x, preset), strict=True):
            y = plain.norm(y + before, own["norm.weight"], own["norm.bias"])
            inner = own["feed_forward.widen.weight"] @ y + own["feed_forward.widen.bias"]
            fed = own["feed_forward.narrow.weight"] @ plain.silu(inner) + own["feed_forward.narrow.bias"]
            new.append(plain.norm(y + fed, own["feed_forward.norm.weight"], own["feed_forward.norm.bias"]))
        x = new
    return np.stack(x)


@pytest.mark.parametrize("preset", MinGRU.presets)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, n_layers):
    model, whole = made(preset, n_layers=n_layers), batch()
    with torch.no_grad():
        hidden = model(whole)
    for row in range(2):
        wanted = stated(model, whole.items[row].tolist(), preset)
        np.testing.assert_allclose(hidden[row], wanted, rtol=0, atol=1e-6)


def test_it_has_the_parameters_of_recblr_but_for_one_decay_a_channel():
    counts = [MinGRU(make_config(MinGRU, n_items=3416, n_layers=n)).n_parameters() for n in (1, 2)]
    assert counts == [310_400, 401_984]  # RecBLR: 402,240, of which 2 x 128 are Lambda
    layer = 64 * 256 + 128 * 5 + (128 * 256 + 256) + 128 * 64 + (64 * 256 + 256) + (256 * 64 + 64) + 2 * 128
    assert counts[1] - counts[0] == layer
    assert counts[0] - layer == 3417 * 64 + 128


def test_an_event_forgets_what_it_writes_and_halves_the_state_at_a_start_from_zero():
    torch.manual_seed(0)
    trace = MinGRU(make_config(MinGRU, n_items=ITEMS, d=8, gate_init="zero")).eval().trace(batch())
    for layer in trace.layers:
        np.testing.assert_allclose(layer.decay + layer.write, 1, atol=1e-6)
        np.testing.assert_allclose(layer.half_life, 1, rtol=0.1)
        np.testing.assert_allclose(layer.half_life, math.log(2) / -np.log(layer.decay), rtol=1e-5)
        assert layer.conv.shape == (16, 4)
    assert "decay = 1 - write" in trace.notes[0]


@pytest.mark.parametrize("preset", MinGRU.presets)
def test_memories_start_between_two_events_and_the_longest_history(preset):
    torch.manual_seed(0)
    trace = MinGRU(make_config(MinGRU, preset, n_items=ITEMS, d=8, max_len=64)).eval().trace(batch())
    for layer in trace.layers:
        events = 1 / layer.write  # gates of small weights: those of the bias
        assert events.min() > 1.9
        assert events.max() < 65
        assert np.quantile(events, 0.9) > 4 * np.quantile(events, 0.1)


def test_the_positive_candidate_keeps_every_state_above_zero():
    for preset, above in (("positive", True), ("fixed", False)):
        trace = made(preset).trace(batch())
        assert all((layer.state > 0).all() for layer in trace.layers) == above
    c = torch.tensor([-80.0, -1.0, 0.0, 2.0], dtype=torch.float64)
    wanted = [math.exp(-80), 1 / (1 + math.e), 0.5, 2.5]
    torch.testing.assert_close(positive(c), torch.tensor(wanted, dtype=torch.float64))


def test_the_times_of_events_change_nothing():
    model, whole = made(), batch()
    with torch.no_grad():
        later = model(Batch(items=whole.items, times=whole.times + 86_400 * torch.arange(8)))
        assert torch.equal(later, model(whole))


def test_settings_out_of_range_are_clear_errors():
    for wrong in ({"expand": 0}, {"conv": 0}, {"candidate": "tanh"}, {"gate_init": "ones"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_config(MinGRU, n_items=3, **wrong)
