"""What is particular to Mamba4Rec: the published equations, the two starts of Delta, the single layer."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from recblr.backbones import Batch, make_config
from recblr.backbones.mamba4rec import Mamba4Rec
from recblr.errors import ConfigError

plain = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("plain.py"))))

ITEMS, D, N = 11, 6, 3


def made(preset="fixed", **fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    sizes = {"n_items": ITEMS, "d": D, "state": N, "max_len": 12}
    model = Mamba4Rec(make_config(Mamba4Rec, preset, **{**sizes, **fields})).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.clear_padding_row()
    return model


def batch(steps=8, rows=2):
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=torch.Generator().manual_seed(1))
    return Batch(items=items, times=torch.zeros_like(items))


def plain_mamba(own, x):
    """The published block for one history, by loops over events, channels and numbers of the state."""
    rank, inner, taps = own["step_size.weight"].shape[1], len(own["D"]), own["conv.weight"].shape[1]
    h, entered, out = np.zeros((inner, N)), [], []
    for one in x:
        u, z = np.split(own["project_in.weight"] @ one, 2)
        entered.append(u)
        u = own["conv.bias"].copy()
        for back, past in enumerate(reversed(entered[-taps:])):
            u += own["conv.weight"][:, taps - 1 - back] * past
        u = plain.silu(u)
        low, b, c = np.split(own["select.weight"] @ u, [rank, rank + N])
        delta = np.log1p(np.exp(own["step_size.weight"] @ low + own["step_size.bias"]))
        y = own["D"] * u
        for channel in range(inner):
            for n in range(N):
                decay = math.exp(-delta[channel] * math.exp(own["A_log"][channel, n]))
                h[channel, n] = decay * h[channel, n] + delta[channel] * u[channel] * b[n]
                y[channel] += h[channel, n] * c[n]
        out.append(own["project_out.weight"] @ (y * plain.silu(z)))
    return out


def stated(model, items, residual):
    """Hidden states [T, d] of one history."""
    w = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    x = [plain.norm(w["item_embedding.weight"][v], w["norm.weight"], w["norm.bias"]) for v in items]
    for layer in range(model.config.n_layers):
        own = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"layers.{layer}.")}
        mixer = {name.removeprefix("mixer."): value for name, value in own.items() if name.startswith("mixer.")}
        new = []
        for before, y in zip(x, plain_mamba(mixer, x), strict=True):
            y = plain.norm(y + before if residual else y, own["norm.weight"], own["norm.bias"])
            inner = plain.gelu(own["feed_forward.widen.weight"] @ y + own["feed_forward.widen.bias"])
            fed = own["feed_forward.narrow.weight"] @ inner + own["feed_forward.narrow.bias"]
            new.append(plain.norm(y + fed, own["feed_forward.norm.weight"], own["feed_forward.norm.bias"]))
        x = new
    return np.stack(x)


@pytest.mark.parametrize("preset", Mamba4Rec.presets)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, n_layers):
    """The public code (Mamba4Rec at 44a0c84 on mamba at e9594ce, float32, on a CPU by mamba's own reference scan), run
    with the same weights, gave the outputs of the preset reference to 7.2e-7."""
    model, whole = made(preset, n_layers=n_layers), batch()
    with torch.no_grad():
        hidden = model(whole)
        scores = model.scores(hidden)
    for row in range(2):
        wanted = stated(model, whole.items[row].tolist(), residual=n_layers > 1 or preset == "fixed")
        np.testing.assert_allclose(hidden[row], wanted, atol=1e-6)
        logits = wanted @ model.item_embedding.weight.detach().numpy().T
        np.testing.assert_allclose(scores[row, :, 1:], logits[:, 1:], atol=1e-6)
        assert (preset == "reference") == bool(torch.isfinite(scores[row, :, 0]).all())


def test_the_published_parameter_counts_of_one_layer_and_two():
    counts = [Mamba4Rec(make_config(Mamba4Rec, n_items=3416, n_layers=n)).n_parameters() for n in (1, 2)]
    assert counts == [290_944, 363_072]


def first_half_lives(preset):
    """Of number n = 1 of every channel, at a typical event, before training."""
    torch.manual_seed(0)
    model = Mamba4Rec(make_config(Mamba4Rec, preset, n_items=ITEMS, d=16)).eval()
    trace = model.trace(batch())
    return np.concatenate([layer.half_life[..., ::32].ravel() for layer in trace.layers])


def test_the_published_initialiser_leaves_half_lives_of_one_step_where_mambas_own_reach_back_hundreds():
    overwritten, native = first_half_lives("reference"), first_half_lives("fixed")
    np.testing.assert_allclose(overwritten, 1, rtol=0.05)
    assert np.median(native) > 20
    assert native.max() > 200


def test_mambas_own_step_sizes_start_in_their_range():
    mixer = Mamba4Rec(make_config(Mamba4Rec, n_items=3)).layers[0].mixer
    steps = softplus(mixer.step_size.bias)
    assert 0.001 * (1 - 1e-3) <= steps.min() < 0.01
    assert 0.03 < steps.max() <= 0.1 * (1 + 1e-3)
    overwritten = Mamba4Rec(make_config(Mamba4Rec, "reference", n_items=3)).layers[0].mixer
    assert (overwritten.step_size.bias == 0).all()


def test_the_traced_state_read_and_decay_give_the_scans_output():
    model, whole = made(n_layers=1), batch()
    (layer,) = model.trace(whole).layers
    mixer = model.layers[0].mixer
    with torch.no_grad():
        u, z = mixer.project_in(model.enter(model.embed(whole.items))).chunk(2, -1)
        u = torch.nn.functional.silu(mixer.conv(u))
        skip = (mixer.D * u * torch.nn.functional.silu(z)).numpy()
        read = (layer.read * layer.state).reshape(2, 8, 2 * D, N).sum(-1)
        out = mixer.project_out(torch.from_numpy(read + skip))
        torch.testing.assert_close(out, mixer(model.enter(model.embed(whole.items))), rtol=0, atol=1e-10)
    rate = np.exp(mixer.A_log.detach().numpy()).ravel()
    np.testing.assert_allclose(layer.decay, np.exp(-layer.delta * rate), atol=1e-12)
    np.testing.assert_allclose(layer.half_life, math.log(2) / (rate * layer.delta), rtol=1e-9)
    assert layer.conv.shape == (2 * D, 4)


def test_settings_out_of_range_are_clear_errors():
    for wrong in ({"state": 0}, {"expand": 0}, {"conv": 0}, {"dt_init": "random"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_config(Mamba4Rec, n_items=3, **wrong)
