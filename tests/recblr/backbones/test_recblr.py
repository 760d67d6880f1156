"""What is particular to RecBLR: the published equations and padding, the two initial decays, the gates."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from recblr.backbones import Batch, make_config
from recblr.backbones.recblr import BDLRU, RecBLR, initial_lambda

HERE = Path(__file__).parent
plain = SimpleNamespace(**runpy.run_path(str(HERE / "plain.py")))
common = SimpleNamespace(**runpy.run_path(str(HERE / "plain_check.py")))


def plain_mixer(own, x, pads, eps):
    """The block for one history, event by event and channel by channel.

    `pads` zeros stand to the left of u, and convolution, gates and recurrence run over them as over events.
    """
    branches = [np.split(plain.linear(own, "project_in", one), 2) for one in x]
    inner, taps = own["conv.weight"].shape
    entered, h, out = [np.zeros(inner)] * pads + [u for u, _ in branches], np.zeros(inner), []
    for t in range(len(entered)):
        window = entered[max(0, t + 1 - taps) : t + 1]
        u = plain.silu(plain.causal_conv(window, own["conv.weight"], own["conv.bias"]))
        r, i = np.split(plain.sigmoid(plain.linear(own, "gates", u)), 2)
        for c in range(inner):
            decay = math.exp(-math.log1p(math.exp(own["lam"][c])) * r[c])
            h[c] = decay * h[c] + math.sqrt(1 - decay**2 + eps) * i[c] * u[c]
        if t >= pads:
            z = branches[t - pads][1]
            out.append(plain.linear(own, "project_out", plain.silu(z) * h))
    return out


def stated(model, items, *, published):
    """Hidden states of one history.

    `published`: histories are padded on the right to the longest one, which runs through all layers, and u in each
    layer on the left up to a power of two.
    """
    w, longest = plain.weights(model), model.config.max_len
    pads = 2 ** math.ceil(math.log2(longest)) - longest if published else 0
    slots = items + [0] * (longest - len(items) if published else 0)
    x = [plain.norm(w["item_embedding.weight"][v], w["norm.weight"], w["norm.bias"]) for v in slots]
    for n in range(model.config.n_layers):
        own = plain.below(w, f"layers.{n}.")
        mixed = plain_mixer(plain.below(own, "mixer."), x, pads, 1e-8 if published else 0)
        x = [plain.post_norm(own, before, y, plain.silu) for before, y in zip(x, mixed, strict=True)]
    return x[: len(items)]


@pytest.mark.parametrize("length", [12, 50, 64, 100])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("preset", RecBLR.presets)
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, n_layers, length):
    """The public code (RecBLR at d01e5c9, on a CPU, its GPU scan replaced by a loop, on its own padding), run with the
    weights that training starts from, gave the outputs of the preset reference at every event to 9.5e-7 in float32 and
    1.4e-15 in float64, with 1 and 2 layers, on histories of 1 event up to max_len 12, 50, 64 and 200. With decays up to
    .99995 its 1 - a^2 loses digits in float32: it is then 7.8e-6 away from float64, and the preset 1.5e-6."""
    model = common.made(RecBLR, preset, n_layers=n_layers, max_len=length)
    with torch.no_grad():
        for layer in model.layers:  # decays from a half to so near 1 that eps under the root counts
            layer.mixer.lam.copy_(torch.linspace(-20, 1, len(layer.mixer.lam)))
    common.check(model, lambda items: stated(model, items, published=preset == "reference"))


def test_the_published_padding_changes_what_a_short_history_meets():
    torch.manual_seed(0)
    mixer, x = BDLRU(make_config(RecBLR, "reference", n_items=5, d=8, max_len=50)), torch.randn(1, 3, 8)
    with torch.no_grad():
        warm = mixer(x)
        mixer.pads = 0
        cold = mixer(x)
    assert (warm - cold).norm() / cold.norm() > 0.1


def test_initial_decays_are_those_of_code_and_paper():
    torch.manual_seed(0)
    code = torch.exp(-softplus(initial_lambda(1001, "linspace")))
    paper = torch.exp(-softplus(initial_lambda(20001, "uniform")))
    assert code.median().item() == pytest.approx(0.9896, abs=2e-4)
    assert paper.median().item() == pytest.approx(0.9495, abs=2e-3)
    for decay in (code, paper):
        assert 0.9 - 1e-4 <= decay.min() <= decay.max() <= 0.999 + 1e-4


def test_the_traced_write_strength_is_coupled_to_the_decay():
    torch.manual_seed(0)
    model = RecBLR(make_config(RecBLR, n_items=5, d=8)).eval()
    items = torch.randint(1, 6, (1, 30))
    for layer in model.trace(Batch(items=items, times=items)).layers:
        bound = torch.sqrt(1 - torch.from_numpy(layer.decay).double() ** 2)
        torch.testing.assert_close(
            torch.from_numpy(layer.write).double(),
            bound * torch.from_numpy(layer.input_gate).double(),
            rtol=1e-3,
            atol=1e-6,
        )
