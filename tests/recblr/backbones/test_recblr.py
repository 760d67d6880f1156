"""What is particular to RecBLR: the published padding, the two initial decays, the gates."""

import math

import pytest
import torch
from torch.nn.functional import pad, silu, softplus

from recblr.backbones import Batch, make_config
from recblr.backbones.recblr import BDLRU, RecBLR, initial_lambda


def published_mixer(mixer, x, length):
    """The published code's order, in float64 and loops: pad u on the left up to a power of two *before* the conv."""
    weights = {name: value.double() for name, value in mixer.state_dict().items()}
    u, z = (x.double() @ weights["project_in.weight"].T).chunk(2, -1)
    pads = 2 ** math.ceil(math.log2(length)) - length
    u = pad(u, (0, 0, pads, 0))
    kernel = weights["conv.weight"].shape[1]
    shifted = pad(u, (0, 0, kernel - 1, 0))
    u = sum(shifted[:, j : j + u.shape[1]] * weights["conv.weight"][:, j] for j in range(kernel))
    u = silu(u + weights["conv.bias"])
    r, i = (u @ weights["gates.weight"].T + weights["gates.bias"]).chunk(2, -1)
    a = torch.exp(-softplus(weights["lam"]) * torch.sigmoid(r))
    b = torch.sqrt(1 - a**2 + 1e-8) * torch.sigmoid(i) * u
    h, states = torch.zeros_like(b[:, 0]), []
    for t in range(u.shape[1]):
        h = a[:, t] * h + b[:, t]
        states.append(h)
    h = torch.stack(states, 1)[:, pads:]
    return (silu(z) * h) @ weights["project_out.weight"].T


@pytest.mark.parametrize("length", [50, 64, 100])
def test_the_reference_preset_equals_the_published_order_of_padding(length):
    torch.manual_seed(0)
    mixer = BDLRU(make_config(RecBLR, "reference", n_items=5, d=8, max_len=length))
    x = torch.randn(2, 20, 8)
    with torch.no_grad():
        torch.testing.assert_close(mixer(x).double(), published_mixer(mixer, x, length), rtol=1e-5, atol=1e-6)


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
