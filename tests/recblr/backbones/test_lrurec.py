"""What is particular to LRURec: the published equations, a constant complex spectrum, so a fixed impulse response."""

import cmath
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import make_config
from recblr.backbones.lrurec import LRU, LRURec
from recblr.errors import ConfigError

HERE = Path(__file__).parent
plain = SimpleNamespace(**runpy.run_path(str(HERE / "plain.py")))
common = SimpleNamespace(**runpy.run_path(str(HERE / "plain_check.py")))


def made(preset="fixed", **fields):
    """With the moduli and phases that training starts from, so that the whole history counts."""
    return common.made(LRURec, preset, kept=("log_nu", "log_theta"), **fields)


def eigenvalues(own):
    """lambda of every channel."""
    pairs = zip(own["log_nu"], own["log_theta"], strict=True)
    return [cmath.exp(complex(-math.exp(nu), math.exp(theta))) for nu, theta in pairs]


def entries(own, x):
    """b_t of every event."""
    B, bias = own["B"][..., 0] + 1j * own["B"][..., 1], own["B_bias"][:, 0] + 1j * own["B_bias"][:, 1]
    return [np.exp(own["log_gamma"]) * (B @ one + bias) for one in x]


def plain_unit(own, x, real):
    """The unit for one sequence, by loops over events and channels; `real` says which slots are no padding."""
    C, bias = own["C"][..., 0] + 1j * own["C"][..., 1], own["C_bias"][:, 0] + 1j * own["C_bias"][:, 1]
    turns, h, out = eigenvalues(own), [0j] * len(C[0]), []
    for t, b in enumerate(entries(own, x)):
        passed = t > 0 and real[t - 1]
        h = [one * (was if passed else 0) + new for one, was, new in zip(turns, h, b, strict=True)]
        out.append((C @ np.array(h) + bias).real)
    return out


def stated(model, items, *, published):
    """Hidden states of one history.

    `published`: on padding on the left to the longest history, and then zeros up to a power of two, which all run
    through all layers; no state is passed on from them.
    """
    w, longest = plain.weights(model), model.config.max_len
    pads = [0] * (longest - len(items)) if published else []
    x = [plain.norm(w["item_embedding.weight"][v], w["norm.weight"], w["norm.bias"], 1e-5) for v in pads + items]
    if published:
        x = [np.zeros(model.config.d)] * (2 ** math.ceil(math.log2(longest)) - longest) + x
    real = [False] * (len(x) - len(items)) + [True] * len(items)
    for n in range(model.config.n_layers):
        own = plain.below(w, f"layers.{n}.")
        mixed = plain_unit(plain.below(own, "mixer."), x, real)
        x = [plain.post_norm(own, before, y, plain.gelu, eps=1e-5) for before, y in zip(x, mixed, strict=True)]
    return x[-len(items) :]


@pytest.mark.parametrize("preset", LRURec.presets)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, n_layers):
    """The public code (LRURec at b33df55, on a CPU, on its left padding), run with the weights that training
    starts from, gave the outputs of the preset reference at every event to 9.5e-7 in float32 and 1.4e-15 in float64,
    with 1 and 2 layers, on histories of 1 event up to max_len 12, 50, 64 and 200."""
    model = made(preset, n_layers=n_layers)
    common.check(model, lambda items: stated(model, items, published=preset == "reference"))


@pytest.mark.parametrize("preset", LRURec.presets)
def test_the_state_is_the_sum_of_all_inputs_each_turned_and_shrunk_once_for_every_step_since(preset):
    """h_t = sum over s up to t of lambda^(t - s) b_s."""
    model, whole = made(preset, n_layers=1), common.ragged((9,))
    (layer,) = model.trace(whole).layers
    w = plain.weights(model)
    own = plain.below(w, "layers.0.mixer.")
    x = [plain.norm(w["item_embedding.weight"][v], w["norm.weight"], w["norm.bias"], 1e-5) for v in whole.items[0]]
    b = entries(own, x)
    for t in range(9):
        for channel, one in enumerate(eigenvalues(own)):
            wanted = sum(one ** (t - s) * b[s][channel] for s in range(t + 1))
            assert abs(layer.state[0, t, channel] - wanted) < 1e-10


def test_the_layer_answers_an_impulse_with_its_closed_form_kernel():
    torch.manual_seed(0)
    lru = LRU(4, 0.8, 0.99)
    for parameter in (lru.B, lru.B_bias, lru.C, lru.C_bias):
        torch.nn.init.normal_(parameter)
    with torch.no_grad():
        lru.B_bias.zero_(), lru.C_bias.zero_()
        x = torch.zeros(1, 12, 4)
        x[0, 0] = torch.randn(4)
        y = lru(x)[0].double()
        eigenvalue = torch.polar(torch.exp(-torch.exp(lru.log_nu)), torch.exp(lru.log_theta)).to(torch.complex128)
        B, C = (torch.view_as_complex(w.double().contiguous()) for w in (lru.B, lru.C))
        b = torch.exp(lru.log_gamma).double() * (B @ x[0, 0].to(torch.complex128))
        for k in range(12):
            torch.testing.assert_close(y[k], (C @ (eigenvalue**k * b)).real, rtol=1e-4, atol=1e-5)


def test_initial_eigenvalues_lie_in_the_ring():
    torch.manual_seed(0)
    model = LRURec(make_config(LRURec, n_items=3))
    for layer in model.layers:
        modulus = torch.exp(-torch.exp(layer.mixer.log_nu))
        assert 0.8 - 1e-4 <= modulus.min() <= modulus.max() <= 0.99 + 1e-4
        gain = torch.exp(layer.mixer.log_gamma)
        torch.testing.assert_close(gain, torch.sqrt(1 - modulus**2), rtol=1e-3, atol=1e-5)


def test_parameters_count_as_published_when_a_complex_number_is_one():
    model = LRURec(make_config(LRURec, n_items=3416))
    pairs = sum(p.numel() for layer in model.layers for p in (layer.mixer.B, layer.mixer.B_bias, layer.mixer.C,
                                                             layer.mixer.C_bias))  # fmt: skip
    assert model.n_parameters() - pairs // 2 == 322_841


def test_a_ring_out_of_range_is_a_clear_error():
    for wrong in ({"r_min": 0.0}, {"r_max": 1.0}, {"r_min": 0.99, "r_max": 0.8}):
        with pytest.raises(ConfigError, match="0 < r_min < r_max < 1"):
            make_config(LRURec, n_items=3, **wrong)
