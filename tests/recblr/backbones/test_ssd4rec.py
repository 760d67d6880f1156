"""What is particular to SSD4Rec: the published equations, both ends, the effective attention."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from recblr.backbones import Batch, make_config
from recblr.backbones.ssd4rec import SSD4Rec, turned
from recblr.errors import ConfigError, RecblrError
from recblr.training import TrainConfig, Trainer

HERE = Path(__file__).parent
plain = SimpleNamespace(**runpy.run_path(str(HERE / "plain.py")))
ring = runpy.run_path(str(HERE.parent / "training/ring.py"))["ring"]
ITEMS, D, N = 11, 6, 3
SMALL = {"d": D, "heads": 2, "state": N, "max_len": 12}


def made(preset="fixed", **fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    model = SSD4Rec(make_config(SSD4Rec, preset, n_items=ITEMS, **{**SMALL, **fields})).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.clear_padding_row()
    return model


def batch(steps=8, rows=2):
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=torch.Generator().manual_seed(1))
    return Batch(items=items, times=torch.zeros_like(items))


def both_ends(own, x, beta):
    """The published layer for one history."""
    mixer = plain.below(own, "mixer.")
    how = {"state": N, "activation": plain.silu, "eps": 1e-5}
    forward, backward = plain.ssd(mixer, x, **how), plain.ssd(mixer, x[::-1], **how)
    new = []
    for f, b, one in zip(forward, backward, x, strict=True):
        y = plain.norm(f + beta * b + one, own["norm.weight"], own["norm.bias"])
        fed = plain.linear(own, "narrow", plain.gelu(plain.linear(own, "widen", y)))
        new.append(plain.norm(fed + y, own["feed_norm.weight"], own["feed_norm.bias"]))
    return new


def stated(model, items, preset):
    """Hidden states [T, d] of one history."""
    w = plain.weights(model)
    x = [w["item_embedding.weight"][v] for v in items]
    if model.config.embedding_norm:
        x = [plain.norm(one, w["norm.weight"], w["norm.bias"]) for one in x]
    for n in range(model.config.n_layers):
        own = plain.below(w, f"layers.{n}.")
        if preset == "reference":
            x = both_ends(own, x, model.config.beta)
        else:
            mixed = plain.ssd(plain.below(own, "mixer."), x, state=N, activation=plain.hardswish, eps=1e-12)
            x = [plain.post_norm(own, one, y, plain.hardswish) for one, y in zip(x, mixed, strict=True)]
    return np.stack(x)


@pytest.mark.parametrize("preset", SSD4Rec.presets)
@pytest.mark.parametrize("fields", [{}, {"n_layers": 1, "embedding_norm": False, "heads": 3, "beta": 0.7}])
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, fields):
    """The public code (SSD4Rec at bdbfe51 on mamba at e9594ce, float32, its two GPU kernels replaced by loops), run
    with the same weights one history at a time, gave the last output of the preset reference to 6.0e-7."""
    model, whole = made(preset, **fields), batch()
    with torch.no_grad():
        hidden = model(whole)
        scores = model.scores(hidden)
    for row in range(2):
        wanted = stated(model, whole.items[row].tolist(), preset)
        np.testing.assert_allclose(hidden[row], wanted, atol=1e-6)
        logits = wanted @ model.item_embedding.weight.detach().numpy().T
        np.testing.assert_allclose(scores[row, :, 1:], logits[:, 1:], atol=1e-6)


def test_each_row_is_turned_within_its_own_length():
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    assert turned(mask).tolist() == [[3, 2, 1, 0], [1, 0, 2, 3], [0, 1, 2, 3]]


def test_the_last_step_has_read_every_event_twice_and_the_first_the_newest():
    model, whole = made("reference", n_layers=1), batch(rows=1)
    with torch.no_grad():
        before = model(whole)
        for event, moves_first in ((7, True), (3, False), (0, True)):
            other = Batch(items=whole.items.clone(), times=whole.times)
            other.items[0, event] = other.items[0, event] % ITEMS + 1
            moved = (model(other) - before).abs().amax(dim=(0, 2))
            assert moved[-1] > 1e-9
            assert (moved[0] > 1e-9) == moves_first


@pytest.mark.parametrize("preset", SSD4Rec.presets)
def test_the_traced_attention_gives_the_scans_output_but_for_its_skip(preset):
    model, whole = made(preset, n_layers=1), batch()
    layer = model.trace(whole).layers[0]
    mixer = model.layers[0].mixer
    with torch.no_grad():
        x = model.enter(model.embed(whole.items))
        z, mixed, _ = mixer.project_in(x).split(mixer.sizes, dim=-1)
        u, _, _ = mixer._split(mixer.conv(mixed))  # [B, T, H, P]
        o = torch.einsum("bhts,bshp->bthp", torch.from_numpy(layer.mix), u) + mixer.D[:, None] * u
        torch.testing.assert_close(mixer._leave(o, z), mixer(x), rtol=0, atol=1e-10)
        read = torch.from_numpy((layer.read * layer.state).reshape(2, 8, 2 * D, N).sum(-1))
        skip = (mixer.D[:, None] * u).flatten(2) * torch.nn.functional.silu(z)
        wanted = o.flatten(2) * torch.nn.functional.silu(z)
        torch.testing.assert_close(read + skip, wanted, rtol=0, atol=1e-10)
    assert (layer.mix[..., ~np.tri(8, dtype=bool)] == 0).all()
    assert (layer.mix < 0).any()


def test_a_backward_layer_shows_by_event_what_the_reading_from_the_newest_event_holds():
    model, whole = made("reference", n_layers=1), batch()
    forward, backward = model.trace(whole).layers
    assert (forward.name, backward.name) == ("layer 1 · SSD", "layer 1 · SSD backward")
    assert backward.decay is None
    mirrored = Batch(items=whole.items.flip(1), times=whole.times)
    again = model.trace(mirrored).layers[0]
    np.testing.assert_allclose(backward.mix, 0.1 * again.mix[..., ::-1], atol=1e-12)
    np.testing.assert_allclose(backward.value_norm, again.value_norm[..., ::-1], atol=1e-12)
    assert (backward.mix[..., -1, :] != 0).all()
    padded = Batch(items=pad(whole.items, (0, 3)), times=pad(whole.times, (0, 3)))
    np.testing.assert_allclose(model.trace(padded).layers[1].mix[..., :8, :8], backward.mix, atol=1e-12)


def test_training_replaces_ids_by_the_mask_and_nothing_else_does():
    model, items = made("reference", input_mask=0.5), torch.randint(1, ITEMS + 1, (40, 12))
    row_0 = model.item_embedding.weight[0]
    masked = (model.train().embed(items) == row_0).all(dim=-1)
    assert 0.35 < masked.double().mean() < 0.65
    assert not (model.eval().embed(items) == row_0).all(dim=-1).any()
    model.train().embed(items).sum().backward()
    assert (model.item_embedding.weight.grad[0] != 0).all()


def test_the_preset_that_reads_both_ends_refuses_to_stream_and_to_train_on_every_position():
    model = SSD4Rec(make_config(SSD4Rec, "reference", n_items=12, d=8, max_len=12))
    assert not model.causal
    assert any("Not causal" in note for note in model.trace(batch()).notes)
    with pytest.raises(RecblrError, match=r"its newest event on, so .* event by event; take the preset fixed$"):
        model.initial_state(1)
    with pytest.raises(ConfigError, match="objective last"):
        Trainer(model, ring(), TrainConfig(objective="all"))


def test_settings_out_of_range_are_clear_errors():
    for wrong in ({"heads": 3}, {"state": 0}, {"direction": "back"}, {"input_mask": 1.0}, {"input_mask": 0.1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_config(SSD4Rec, n_items=3, **wrong)
