"""What is particular to GRU4Rec: the published equations, the biases of its gates and the memories they start with."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import make_config
from recblr.backbones.gru4rec import GRU4Rec
from recblr.errors import ConfigError

HERE = Path(__file__).parent
plain = SimpleNamespace(**runpy.run_path(str(HERE / "plain.py")))
common = SimpleNamespace(**runpy.run_path(str(HERE / "plain_check.py")))
HIDDEN = 7


def made(preset="fixed", **fields):
    return common.made(GRU4Rec, preset, **{"hidden": HIDDEN, **fields})


def started(preset="fixed", **fields):
    """A model as training finds it."""
    torch.manual_seed(0)
    return GRU4Rec(make_config(GRU4Rec, preset, **{"n_items": common.ITEMS, "n_layers": 2, **fields})).eval()


def plain_gru(w, layer, x, *, biased):
    """One layer for one history, by loops over events, channels and what each channel reads."""
    names = [f"gru.{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    W, U = (w[name] for name in names[:2])
    b, c = (w[name] if biased else np.zeros(3 * HIDDEN) for name in names[2:])
    h, out = [0.0] * HIDDEN, []
    for one in x:
        new = []
        for k in range(HIDDEN):
            entered, recurrent = [], []
            for gate in range(3):  # r, z, n
                row = gate * HIDDEN + k
                entered.append(b[row] + sum(W[row, j] * one[j] for j in range(len(one))))
                recurrent.append(c[row] + sum(U[row, j] * h[j] for j in range(HIDDEN)))
            r, z = (1 / (1 + math.exp(-entered[gate] - recurrent[gate])) for gate in (0, 1))
            candidate = math.tanh(entered[2] + r * recurrent[2])
            new.append(z * h[k] + (1 - z) * candidate)
        h = new
        out.append(np.array(h))
    return out


def stated(model, items, *, published):
    """Hidden states of one history; `published`: without biases, and on right padding that runs through all layers."""
    w = plain.weights(model)
    slots = items + [0] * (model.config.max_len - len(items) if published else 0)
    x = [w["item_embedding.weight"][v] for v in slots]
    for layer in range(model.config.n_layers):
        x = plain_gru(w, layer, x, biased=not published)
    return [plain.linear(w, "dense", one) for one in x[: len(items)]]


@pytest.mark.parametrize("preset", GRU4Rec.presets)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, n_layers):
    """The public code (RecBole 1.2.1 at 7b02be5, on a CPU, on its right padding), run with the weights that training
    starts from, gave the outputs of the preset reference at every event to 6.0e-8 in float32 and 3.2e-16 in float64,
    with 1 and 2 layers, on histories of 1 event up to max_len 12, 50, 64 and 200."""
    model = made(preset, n_layers=n_layers)
    common.check(model, lambda items: stated(model, items, published=preset == "reference"))


@pytest.mark.parametrize("preset", GRU4Rec.presets)
def test_steps_with_every_bias_away_from_its_start_give_the_outputs_of_the_whole(preset):
    model, whole = made(preset, n_layers=2), common.ragged((9, 9))
    with torch.no_grad():
        state, hidden = model.initial_state(2), []
        for t in range(9):
            one, state = model.step(state, whole.items[:, t], whole.times[:, t])
            hidden.append(one)
        assert (torch.stack(hidden, dim=1) - model(whole)).abs().max() < 1e-12


@pytest.mark.parametrize("max_len", [2, 24, 200])
def test_memories_start_spread_between_two_events_and_the_longest_history(max_len):
    model = started(max_len=max_len)
    for layer in range(2):
        bias = getattr(model.gru, f"bias_ih_l{layer}") + getattr(model.gru, f"bias_hh_l{layer}")
        r, z, n = bias.detach().double().view(3, -1)
        events = (1 / (1 - torch.sigmoid(z))).numpy()
        assert events.min() > 2 - 1e-5
        assert events.max() < max_len + 1e-3
        assert (r == 0).all()
        assert (n == 0).all()
        if max_len > 2:
            np.testing.assert_allclose(np.quantile(events, [0.1, 0.5, 0.9]) / max_len, [0.1, 0.5, 0.9], atol=0.15)


def test_a_state_starts_to_halve_at_each_event_only_as_published():
    lives = {}
    for preset in GRU4Rec.presets:
        layers = started(preset).trace(common.ragged()).layers
        lives[preset] = np.median(np.concatenate([layer.half_life.ravel() for layer in layers]))
    assert lives["reference"] == pytest.approx(1, rel=0.1)
    assert lives["fixed"] > 30


def test_only_the_published_preset_has_no_biases_and_both_count_as_by_hand():
    counts = {}
    for preset in GRU4Rec.presets:
        model = GRU4Rec(make_config(GRU4Rec, preset, n_items=3416))
        counts[preset] = model.n_parameters()
        assert any(name.startswith("bias") for name, _ in model.gru.named_parameters()) == (preset == "fixed")
    weights = 3417 * 64 + 3 * 128 * (64 + 128) + (128 * 64 + 64)
    assert counts == {"reference": weights, "fixed": weights + 2 * 3 * 128}


def test_settings_out_of_range_are_clear_errors():
    for wrong in ({"biases": "zeros"}, {"hidden": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_config(GRU4Rec, n_items=3, **wrong)
    config = make_config(GRU4Rec, n_items=3)
    object.__setattr__(config, "biases", "zeros")  # past the types, which tests enforce and users do not
    with pytest.raises(ConfigError, match="biases is 'zeros': choose chrono or none"):
        config.__post_init__()
