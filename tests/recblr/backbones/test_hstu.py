"""What is particular to HSTU: the published equations, the time of a request, the biases by distance and time."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from recblr.backbones import Batch, make_config
from recblr.backbones.hstu import HSTU
from recblr.errors import ConfigError, HistoryError
from recblr.layers.pointwise_attention import BUCKETS, EDGES, time_bucket

plain = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("plain.py"))))

ITEMS, D, HEADS, LENGTH = 20, 8, 2, 12
YEAR = 365 * 86_400


def made(preset="fixed", max_len=LENGTH, **fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    config = make_config(HSTU, preset, n_items=ITEMS, d=D, heads=HEADS, max_len=max_len, **fields)
    model = HSTU(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.clear_padding_row()
    return model


def batch(steps=9, rows=3, seed=1):
    g = torch.Generator().manual_seed(seed)
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=g)
    return Batch(items=items, times=torch.randint(0, 90_000, (rows, steps), generator=g).cumsum(1) + 10**9)


def outputs(model, whole):
    with torch.no_grad():
        return model(whole)


def published(model, items, times, *, target=True, divisor=None):
    """The published equations for one history, in float64 numpy and loops over events, heads and sources."""
    w = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    n, width = len(items), D // HEADS
    asked = [*times[1:], times[-1]] if target else times
    x = [math.sqrt(D) * w["item_embedding.weight"][v] + w["positions.weight"][t] for t, v in enumerate(items)]
    for layer in range(model.config.n_layers):
        own = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"layers.{layer}.")}
        u, v, q, k = zip(
            *(np.split(plain.silu(own["project_in.weight"] @ plain.norm(one, eps=1e-6)), 4) for one in x), strict=True
        )
        new = []
        for i in range(n):
            read = np.zeros(D)
            for h in range(HEADS):
                part = slice(h * width, (h + 1) * width)
                for j in range(i + 1):
                    bucket = min(math.floor(math.log(max(abs(asked[i] - times[j]), 1)) / 0.301), 128)
                    score = q[i][part] @ k[j][part] + own["position_bias"][i - j] + own["time_bias"][bucket]
                    read[part] += plain.silu(score) / (divisor or i + 1) * v[j][part]
            gated = u[i] * plain.norm(read, eps=1e-6)
            new.append(x[i] + own["project_out.weight"] @ gated + own["project_out.bias"])
        x = new
    hidden = np.stack([one / max(np.linalg.norm(one), 1e-6) for one in x])
    table = w["item_embedding.weight"]
    lengths = np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)
    return hidden, hidden @ (table / lengths).T / 0.05


@pytest.mark.parametrize(("preset", "stated"), [("reference", {"divisor": LENGTH}), ("fixed", {"target": False})])
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, stated):
    """The layers of the public research code (generative-recommenders at 2e81fab, float32, its jagged operators
    replaced by padded ones, a request's moment in the slot after the last event), run with the same weights, gave the
    outputs of the preset reference to 1.6e-7."""
    model, whole = made(preset), batch()
    hidden = outputs(model, whole)
    scores = model.scores(hidden).detach()
    for row in range(3):
        wanted, logits = published(model, whole.items[row].tolist(), whole.times[row].tolist(), **stated)
        np.testing.assert_allclose(hidden[row].numpy(), wanted, atol=1e-6)
        np.testing.assert_allclose(scores[row, :, 1:].numpy(), logits[:, 1:], atol=1e-6)


def test_a_gap_falls_into_the_bucket_that_its_logarithm_says():
    seconds = [*range(3000), *(edge + by for edge in EDGES[1:100] for by in (-1, 0)), 100 * YEAR, 2**62]
    wanted = [min(math.floor(math.log(max(one, 1)) / 0.301), BUCKETS) for one in seconds]
    assert time_bucket(torch.tensor(seconds)).tolist() == wanted


def test_gaps_are_told_apart_to_the_second_at_any_date_and_in_half_precision():
    model = made("fixed")
    items, times = torch.tensor([[3, 4]]), torch.tensor([[1_700_000_000, 1_700_000_001]])
    later = torch.tensor([[1_700_000_000, 1_700_000_002]])  # unix seconds in 32-bit floats lie 128 apart
    assert not torch.equal(
        outputs(model, Batch(items=items, times=times)), outputs(model, Batch(items=items, times=later))
    )
    half = made("fixed").float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        near, far = (half(Batch(items=items, times=one)) for one in (times, later))
    assert torch.isfinite(near).all()
    assert not torch.equal(near, far)


def test_only_the_gaps_count_not_the_date():
    whole = batch()
    for preset in HSTU.presets:
        moved = outputs(made(preset), Batch(items=whole.items, times=whole.times - 10**9 - 5000))
        torch.testing.assert_close(moved, outputs(made(preset), whole), rtol=0, atol=1e-12)


def test_with_the_targets_time_an_output_moves_with_the_next_time_and_with_no_later_one():
    model, whole = made("reference"), batch()
    later = Batch(items=whole.items, times=torch.cat([whole.times[:, :5], whole.times[:, 5:] + YEAR], dim=1))
    moved = (outputs(model, later) - outputs(model, whole)).abs().amax(dim=(0, 2))
    assert (moved[:4] == 0).all()
    assert moved[4] > 1e-3


def test_the_moment_of_a_request_stands_in_for_the_time_of_the_next_event():
    model, whole = made("reference"), batch()
    for t in (0, 4, 7):
        prefix = Batch(items=whole.items[:, : t + 1], times=whole.times[:, : t + 1])
        asked = outputs(model, prefix.asked_at(whole.times[:, t + 1]))
        torch.testing.assert_close(asked[:, t], outputs(model, whole)[:, t], rtol=0, atol=1e-12)
        torch.testing.assert_close(
            outputs(model, prefix.asked_at(prefix.times[:, -1]))[:, t], outputs(model, prefix)[:, t]
        )


def test_a_request_may_follow_a_history_of_full_length_and_rows_of_all_lengths():
    model, whole = made("reference"), batch(steps=LENGTH)
    mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [1], [7]])
    ragged = Batch(items=whole.items * mask, times=whole.times * mask)
    moments = ragged.times.amax(dim=1) + 5 * YEAR
    asked = outputs(model, ragged.asked_at(moments))
    assert asked.shape[1] == LENGTH + 1
    for row, length in enumerate((LENGTH, 1, 7)):
        alone = Batch(items=whole.items[row : row + 1, :length], times=whole.times[row : row + 1, :length])
        wanted = outputs(model, alone.asked_at(moments[row : row + 1]))[0, length - 1]
        torch.testing.assert_close(asked[row, length - 1], wanted, rtol=0, atol=1e-12)
    assert model.trace(ragged.asked_at(moments)).items.shape == (3, LENGTH)


def test_a_request_before_the_last_event_is_an_error_and_the_preset_fixed_reads_none():
    whole = batch()
    with pytest.raises(HistoryError, match="request of row 1"):
        whole.asked_at(whole.times[:, -1] - torch.tensor([0, 1, 0]))
    asked = outputs(made("fixed"), whole.asked_at(whole.times[:, -1] + YEAR))
    torch.testing.assert_close(asked[:, :9], outputs(made("fixed"), whole), rtol=0, atol=1e-12)


def test_a_longer_max_len_changes_no_output_of_the_preset_fixed_and_scales_the_published_attention():
    whole = batch()
    for preset, same in (("fixed", True), ("reference", False)):
        short, long = made(preset), made(preset, max_len=10 * LENGTH)
        for parameter, grown in zip(short.parameters(), long.parameters(), strict=True):
            with torch.no_grad():
                grown.zero_() if grown.shape != parameter.shape else grown.copy_(parameter)
                grown[tuple(slice(size) for size in parameter.shape)] = parameter.detach()
        torch.testing.assert_close(outputs(short, whole), outputs(long, whole), rtol=0, atol=1e-12 if same else 0.5)
        first, other = (model.trace(whole).layers[0].mix for model in (short, long))
        np.testing.assert_allclose(first, other * (1 if same else 10), atol=1e-12)


def test_a_history_without_times_is_read_as_gaps_of_zero_and_the_trace_says_so():
    whole = batch()
    untimed = Batch(items=whole.items, times=torch.zeros_like(whole.times))
    for preset in HSTU.presets:
        model = made(preset)
        level = Batch(items=whole.items, times=torch.full_like(whole.times, 10**9))
        torch.testing.assert_close(outputs(model, untimed), outputs(model, level), rtol=0, atol=1e-12)
        assert any("no times" in note for note in model.trace(untimed).notes)
        assert not any("no times" in note for note in model.trace(whole).notes)


@pytest.mark.parametrize("preset", HSTU.presets)
def test_gaps_that_are_zero_negative_of_years_or_beyond_all_dates_have_an_answer(preset):
    model, items = made(preset), torch.tensor([[3, 4, 5]])

    def answer(*times):
        return outputs(model, Batch(items=items, times=torch.tensor([times])))

    at = 10**9
    torch.testing.assert_close(answer(at, at, at), answer(5, 5, 5), rtol=0, atol=1e-12)
    torch.testing.assert_close(answer(at, at - 700, at), answer(at, at + 700, at), rtol=0, atol=1e-12)  # by its size
    for times in ((at, at + 60 * YEAR, at + 120 * YEAR), (-(2**62), 0, 2**62), (-(2**62), -(2**62), 2**62)):
        assert torch.isfinite(answer(*times)).all()
    assert not torch.equal(answer(at, at + 60, at + 120), answer(at, at + 60 * YEAR, at + 120 * YEAR))


@pytest.mark.parametrize("preset", HSTU.presets)
def test_the_traced_parts_of_the_score_give_the_traced_attention(preset):
    model, whole = made(preset), batch()
    for layer in model.trace(whole).layers:
        score = layer.score_content + layer.score_position + layer.score_time
        n = np.arange(1, 10)[:, None] if preset == "fixed" else LENGTH
        wanted = plain.silu(score) / n * np.tri(9)
        np.testing.assert_allclose(layer.mix, wanted, atol=1e-12)
        assert (layer.mix < 0).any()
        assert layer.read.shape == (3, 9, D)


def test_the_bias_curves_are_read_from_the_trace():
    model, whole = made("fixed"), batch()
    for layer, unit in zip(model.trace(whole).layers, model.layers, strict=True):
        assert layer.position_curve.shape == (3, HEADS, LENGTH)
        np.testing.assert_array_equal(layer.position_curve[1, 1], unit.position_bias.detach().numpy())
        np.testing.assert_array_equal(layer.time_curve[2, 0], unit.time_bias.detach().numpy())
        gap = int(whole.times[0, 7] - whole.times[0, 3])
        place = np.searchsorted(layer.time_edges[0], gap, side="right") - 1
        assert layer.score_time[0, 0, 7, 3] == layer.time_curve[0, 0, place]
        assert layer.score_position[0, 0, 7, 3] == layer.position_curve[0, 0, 4]


def test_padding_between_rows_of_different_lengths_is_no_source():
    model, whole = made("fixed"), batch()
    assert (
        model.trace(Batch(items=pad(whole.items, (0, 2)), times=pad(whole.times, (0, 2)))).layers[0].mix[..., 9:] == 0
    ).all()


def test_a_history_beyond_max_len_and_settings_out_of_range_are_clear_errors():
    model, long = made(), batch(steps=LENGTH + 1)
    with pytest.raises(HistoryError, match="12 positions and was given event 13"):
        model(long)
    state = model.initial_state(3)
    with torch.no_grad():
        for t in range(LENGTH):
            _, state = model.step(state, long.items[:, t], long.times[:, t])
    with pytest.raises(HistoryError, match="given event 13"):
        model.step(state, long.items[:, -1], long.times[:, -1])
    for wrong in ({"heads": 3}, {"query_time": "now"}, {"divide_by": "two"}, {"temperature": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_config(HSTU, n_items=3, **wrong)
