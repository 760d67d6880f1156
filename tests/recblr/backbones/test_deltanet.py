"""What is particular to Gated DeltaNet: the equations, the unrolled attention, what is erased and what remains."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import Batch, make_config
from recblr.backbones.deltanet import DeltaNet
from recblr.errors import ConfigError
from recblr.layers.delta_rule import exchanged, unrolled

plain = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("plain.py"))))
ITEMS, D, HEADS, KEY = 11, 6, 3, 5
SMALL = {"n_items": ITEMS, "d": D, "heads": HEADS, "key": KEY, "max_len": 12}


def made(preset="fixed", **fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    model = DeltaNet(make_config(DeltaNet, preset, **{**SMALL, **fields})).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.clear_padding_row()
    return model


def batch(steps=8, rows=2):
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=torch.Generator().manual_seed(1))
    return Batch(items=items, times=torch.zeros_like(items))


def plain_mixer(own, x, heads, key):
    """The block for one history, by loops over events and heads: (outputs, states [T, H, P, N])."""
    inner, width = own["project_out.weight"].shape[1], len(own["norm_weight"])
    tables, entered, out, states = np.zeros((heads, width, key)), [], [], []
    for one in x:
        z, mixed, b, delta = np.split(
            own["project_in.weight"] @ one, np.cumsum([inner, 2 * heads * key + inner, heads])
        )  # fmt: skip
        entered.append(mixed)
        mixed = plain.silu(plain.causal_conv(entered, own["conv.weight"], own["conv.bias"]))
        left = np.zeros(inner)
        for h in range(heads):
            q, k = (mixed[start + h * key :][:key] for start in (0, heads * key))
            q, k = q / math.sqrt(q @ q), k / math.sqrt(k @ k)
            v = mixed[2 * heads * key + h * width :][:width]
            beta, decay = plain.sigmoid(b[h]), 1.0
            if len(delta):
                decay = math.exp(-math.exp(own["A_log"][h]) * plain.softplus(delta[h] + own["dt_bias"][h]))
            tables[h] = decay * tables[h] @ (np.eye(key) - beta * np.outer(k, k)) + beta * np.outer(v, k)
            o = tables[h] @ q
            o = o / math.sqrt((o**2).mean() + 1e-5) * own["norm_weight"]
            left[h * width : (h + 1) * width] = o * plain.silu(z[h * width : (h + 1) * width])
        out.append(own["project_out.weight"] @ left)
        states.append(tables.copy())
    return out, np.stack(states)


def stated(model, items):
    """(hidden states [T, d] of one history, states of each layer)."""
    w, states = plain.weights(model), []
    x = [plain.norm(w["item_embedding.weight"][v], w["norm.weight"], w["norm.bias"]) for v in items]
    for n in range(model.config.n_layers):
        own = plain.below(w, f"layers.{n}.")
        mixed, held = plain_mixer(plain.below(own, "mixer."), x, model.config.heads, model.config.key)
        x = [plain.post_norm(own, one, y, plain.silu) for one, y in zip(x, mixed, strict=True)]
        states.append(held)
    return np.stack(x), states


@pytest.mark.parametrize("preset", DeltaNet.presets)
@pytest.mark.parametrize("fields", [{}, {"n_layers": 1, "heads": 2, "key": 9, "conv": 1}])
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, fields):
    model, whole = made(preset, **fields), batch()
    with torch.no_grad():
        hidden = model(whole)
    for row in range(2):
        wanted, _ = stated(model, whole.items[row].tolist())
        np.testing.assert_allclose(hidden[row], wanted, rtol=0, atol=1e-6)


def test_its_parameters_are_those_of_the_layer_sizes():
    counts = [DeltaNet(make_config(DeltaNet, n_items=3416, n_layers=n)).n_parameters() for n in (1, 2)]
    mixed = 2 * 4 * 32 + 128  # q, k and v
    mixer = 64 * (128 + mixed + 2 * 4) + 5 * mixed + 2 * 4 + 32 + 128 * 64
    layer = mixer + (64 * 256 + 256) + (256 * 64 + 64) + 2 * 128
    assert counts == [3417 * 64 + 128 + layer, 3417 * 64 + 128 + 2 * layer]


def test_a_traced_state_is_that_of_the_equations():
    model, whole = made(), batch()
    trace = model.trace(whole)
    for row in range(2):
        _, states = stated(model, whole.items[row].tolist())
        for layer, wanted in zip(trace.layers, states, strict=True):
            np.testing.assert_allclose(layer.state[row], wanted.reshape(8, -1), atol=1e-9)


@pytest.mark.parametrize("preset", DeltaNet.presets)
def test_a_trace_tells_what_is_written_from_what_is_erased_and_their_difference_is_what_entered(preset):
    for layer in made(preset).trace(batch()).layers:
        assert layer.written.shape == layer.erased.shape == layer.state.shape
        np.testing.assert_array_equal(layer.entered, layer.written - layer.erased)
        assert not layer.erased[:, 0].any()  # nothing has been written yet
        assert np.abs(layer.erased[:, 1:]).max() > 1e-3
        shape = (*layer.state.shape[:2], HEADS, -1, KEY)
        keys = layer.factors.keys
        for t in range(1, 8):
            kept = (layer.decay * np.roll(layer.state, 1, axis=1)).reshape(shape)[:, t]
            found = (kept * keys[:, t]).sum(-1, keepdims=True)  # [B, H, P, 1]
            erased = layer.write.reshape(shape)[:, t] * found * keys[:, t]
            np.testing.assert_allclose(layer.erased[:, t], erased.reshape(2, -1), atol=1e-12)


def test_what_is_written_under_a_key_that_found_the_same_is_erased_as_much():
    """Of two events of one item, the second at full strength erases what the first wrote under their key."""
    _, k, v, decay, beta = associations(steps=2)
    k[:, 1], v[:, 1] = k[:, 0], v[:, 0]
    written, erased = exchanged(k, v, torch.ones_like(decay), torch.ones_like(beta))
    torch.testing.assert_close(erased[:, 1], written[:, 0])


def associations(steps=7, heads=2, key=3, width=4):
    g = torch.Generator().manual_seed(3)

    def normal(*sizes):
        return torch.randn(1, steps, heads, *sizes, generator=g, dtype=torch.float64)

    q, k = (torch.nn.functional.normalize(normal(key), dim=-1) for _ in range(2))
    return q, k, normal(width), torch.sigmoid(normal() + 2), torch.sigmoid(normal())


def test_the_unrolled_attention_is_the_product_of_the_steps_between():
    q, k, _, decay, beta = associations()
    mix, remains = unrolled(q, k, decay, beta)
    for h in range(2):
        for t in range(7):
            for s in range(t + 1):
                row = beta[0, s, h] * k[0, s, h]
                for j in range(s + 1, t + 1):
                    row = decay[0, j, h] * (row - beta[0, j, h] * (row @ k[0, j, h]) * k[0, j, h])
                torch.testing.assert_close(mix[0, h, t, s], row @ q[0, t, h])
                torch.testing.assert_close(remains[0, h, t, s], row.norm())
    assert not mix.triu(1).any()
    assert not remains.triu(1).any()


def test_the_mix_of_the_values_is_what_the_table_answers():
    q, k, v, decay, beta = associations()
    mix, _ = unrolled(q, k, decay, beta)
    table = torch.zeros(2, 4, 3, dtype=torch.float64)
    written, erases = exchanged(k, v, decay, beta)
    for t in range(7):
        key = k[0, t].unsqueeze(-2)  # [H, 1, N]
        kept = decay[0, t, :, None, None] * table
        torch.testing.assert_close(written[0, t], beta[0, t].unsqueeze(-1) * v[0, t])
        torch.testing.assert_close(erases[0, t], beta[0, t].unsqueeze(-1) * (kept @ key.mT).squeeze(-1))
        table = kept + (written - erases)[0, t].unsqueeze(-1) * key
        erased = kept @ (torch.eye(3, dtype=torch.float64) - beta[0, t, :, None, None] * key.mT @ key)
        torch.testing.assert_close(table, erased + (beta[0, t].unsqueeze(-1) * v[0, t]).unsqueeze(-1) * key)
        answered = (table @ q[0, t].unsqueeze(-1)).squeeze(-1)  # [H, P]
        torch.testing.assert_close(torch.einsum("hs,shp->hp", mix[0, :, t], v[0]), answered)


def test_an_event_with_the_same_key_replaces_what_an_earlier_one_wrote():
    q, k, _, decay, beta = associations()
    k[:, 4] = k[:, 1]
    beta[:, 4] = 1.0
    _, remains = unrolled(q, k, torch.ones_like(decay), beta)
    assert (remains[..., 3, 1] > 0.01).all()  # what the events between left of it
    change = remains[..., 4, :4] / remains[..., 3, :4]
    assert (change < 1).all()
    k[:, 2:4] = torch.linalg.cross(k[:, 1:2], k[:, 2:4])  # at right angles to the key of 1
    _, remains = unrolled(q, k, torch.ones_like(decay), beta)
    torch.testing.assert_close(remains[..., 3, 1], remains[..., 1, 1])
    assert remains[..., 4, 1].abs().max() < 1e-12


def test_a_trace_shows_the_overlap_the_remains_and_shares_that_follow_them():
    model, whole = made(), batch()
    for layer in model.trace(whole).layers:
        keys = layer.factors.keys[1, :, :, 0]  # [T, H, N]
        np.testing.assert_allclose(np.linalg.norm(keys, axis=-1), 1)
        assert layer.overlap[1, 2, 5, 3] == pytest.approx(keys[5, 2] @ keys[3, 2])
        assert not np.triu(layer.overlap).any()
        for step in (0, 5):
            size = np.sqrt((layer.remains[1, :, step, : step + 1] ** 2).sum(0))
            np.testing.assert_allclose(layer.shares(1, step), size / size.sum())
        assert layer.write.min() > 0
        assert layer.write.max() < 1


def test_without_the_gate_nothing_fades():
    trace = made("ungated").trace(batch())
    for layer in trace.layers:
        assert (layer.decay == 1).all()
        assert np.isposinf(layer.half_life).all()
    assert "Nothing fades" in " ".join(trace.notes)


def test_settings_out_of_range_are_clear_errors():
    for wrong in ({"expand": 0}, {"conv": 0}, {"key": 0}, {"heads": 5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_config(DeltaNet, n_items=3, **wrong)
