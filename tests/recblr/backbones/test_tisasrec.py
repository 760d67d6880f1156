"""What is particular to TiSASRec: the published equations and padding, units of time, the parts of the score."""

import math
import runpy
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from recblr.backbones import Batch, make_config
from recblr.backbones.tisasrec import TiSASRec
from recblr.errors import ConfigError, HistoryError
from recblr.training import TrainConfig, Trainer

plain = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("plain.py"))))

ITEMS, D, HEADS, LENGTH, SPAN = 20, 8, 2, 12, 16
YEAR = 365 * 86_400
ring = runpy.run_path(str(Path(__file__).parents[1] / "training/ring.py"))["ring"]


def made(preset="fixed", **fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    sizes = {"n_items": ITEMS, "d": D, "heads": HEADS, "max_len": LENGTH, "time_span": SPAN}
    model = TiSASRec(make_config(TiSASRec, preset, **{**sizes, **fields})).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    model.clear_padding_row()
    return model


def batch(steps=9, rows=3, seed=1, widest=400):
    g = torch.Generator().manual_seed(seed)
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=g)
    return Batch(items=items, times=torch.randint(40, widest, (rows, steps), generator=g).cumsum(1) + 10**9)


def outputs(model, whole):
    with torch.no_grad():
        return model(whole)


def units_of_the_whole(times):
    """Published: (moments in units, counted from 1), by the smallest gap above zero of the whole sequence."""
    gaps = {b - a for a, b in pairwise(times) if b != a}
    unit = min(gaps) if gaps else 1
    return [int(round((one - min(times)) / unit) + 1) for one in times]


def causal_interval(times, i, j):
    """Units between events i and j, by the smallest gap above zero up to i."""
    gaps = [b - a for a, b in pairwise(times[: i + 1]) if b != a]
    return math.floor((times[i] - times[j]) / (min(gaps) if gaps else 1) + 0.5)


def stated(model, items, times, *, padded):
    """The published blocks for one history, in float64 numpy and loops over slots, heads and sources.

    `padded`: on the published left padding, which events attend to; otherwise without padding, in units of the prefix.
    """
    w = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    missing = LENGTH - len(items) if padded else 0
    slots = [0] * missing + items
    moments = [0] * missing + units_of_the_whole(times)
    width = D // HEADS
    x = [math.sqrt(D) * w["item_embedding.weight"][v] if v else np.zeros(D) for v in slots]
    for n in range(model.config.n_layers):
        own = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"layers.{n}.")}

        def linear(name, one, own=own):
            return own[f"{name}.weight"] @ one + own[f"{name}.bias"]

        readers = [plain.norm(one, own["query_norm.weight"], own["query_norm.bias"], 1e-8) for one in x]
        q = [linear("attention.query", one) for one in readers]
        k, v = ([linear(f"attention.{name}", one) for one in x] for name in ("key", "value"))
        new = []
        for i in range(len(slots)):
            mixed = np.zeros(D)
            for h in range(HEADS):
                part = slice(h * width, (h + 1) * width)
                scores, offers = [], []
                for j in range(i + 1):
                    gap = abs(moments[i] - moments[j]) if padded else causal_interval(times, i, j)
                    r = min(gap, SPAN)
                    key = k[j] + w["place_keys.weight"][j] + w["time_keys.weight"][r]
                    scores.append(q[i][part] @ key[part] / math.sqrt(width))
                    offers.append((v[j] + w["place_values.weight"][j] + w["time_values.weight"][r])[part])
                weights = np.exp(np.array(scores) - max(scores))
                for weight, offer in zip(weights / weights.sum(), offers, strict=True):
                    mixed[part] += weight * offer
            y = plain.norm(readers[i] + mixed, own["norm.weight"], own["norm.bias"], 1e-8)
            y = y + linear("narrow", np.maximum(linear("widen", y), 0))
            new.append(y if slots[i] else np.zeros(D))
        x = new
    hidden = np.stack([plain.norm(one, w["norm.weight"], w["norm.bias"], 1e-8) for one in x[missing:]])
    return hidden, hidden @ w["item_embedding.weight"].T


@pytest.mark.parametrize("steps", [1, 2, 9, LENGTH])
@pytest.mark.parametrize("preset", TiSASRec.presets)
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, steps):
    """The public port to PyTorch (pmixer/TiSASRec.pytorch at b18341f, float32), run with the same weights, gave the
    outputs of the preset reference to 1.2e-7."""
    model, whole = made(preset), batch(steps)
    hidden = outputs(model, whole)
    scores = model.scores(hidden).detach()
    for row in range(3):
        wanted, logits = stated(
            model, whole.items[row].tolist(), whole.times[row].tolist(), padded=preset == "reference"
        )
        np.testing.assert_allclose(hidden[row].numpy(), wanted, atol=1e-6)
        np.testing.assert_allclose(scores[row, :, 1:].numpy(), logits[:, 1:], atol=1e-6)


def test_the_unit_is_the_smallest_gap_so_far_or_of_the_whole_or_the_one_given():
    times = torch.tensor([[0, 0, 600, 660, 4260, 4261, 0]])
    mask = torch.tensor([[True] * 6 + [False]])
    assert made("fixed").units(times, mask)[0, :6].tolist() == [1, 1, 600, 60, 60, 1]
    assert made("reference").units(times, mask)[0, :6].tolist() == [1] * 6
    assert made("fixed", unit="seconds", unit_seconds=86_400).units(times, mask)[0].tolist() == [86_400] * 7


def test_a_small_gap_to_come_moves_past_outputs_only_as_published():
    whole = batch()
    sudden = Batch(items=whole.items, times=whole.times.clone())
    sudden.times[:, 8] = sudden.times[:, 7] + 1
    for preset, moves in (("fixed", False), ("reference", True)):
        model = made(preset)
        difference = (outputs(model, sudden) - outputs(model, whole))[:, :7].abs().max()
        assert (difference > 1e-3) == moves
        assert model.causal == (not moves)
        assert model.trace(whole).causal == model.causal


def test_events_attend_to_padding_only_as_published():
    whole = batch()
    for layer in made("reference").trace(whole).layers:
        assert (layer.mix.sum(axis=-1) < 1 - 1e-3).all()
    for layer in made("fixed").trace(whole).layers:
        np.testing.assert_allclose(layer.mix.sum(axis=-1), 1, atol=1e-12)
    assert any("attend to padding" in note for note in made("reference").trace(whole).notes)


def test_the_published_preset_refuses_to_train_on_every_position():
    model = TiSASRec(make_config(TiSASRec, "reference", n_items=12, d=D, max_len=LENGTH))
    with pytest.raises(ConfigError, match="objective last"):
        Trainer(model, ring(), TrainConfig(objective="all"))


@pytest.mark.parametrize("preset", TiSASRec.presets)
def test_the_parts_of_the_score_are_exact_and_give_the_attention(preset):
    model, whole = made(preset), batch(LENGTH)  # of full length, so that there is no padding to attend to
    for layer in model.trace(whole).layers:
        score = layer.score_content + layer.score_position + layer.score_time
        weights = np.exp(score - score.max(axis=-1, keepdims=True)) * np.tri(LENGTH)
        np.testing.assert_allclose(layer.mix, weights / weights.sum(axis=-1, keepdims=True), atol=1e-12)
        for part in (layer.score_content, layer.score_position, layer.score_time):
            assert np.abs(part[..., np.tri(LENGTH, dtype=bool)]).min() > 0
            assert (part[..., ~np.tri(LENGTH, dtype=bool)] == 0).all()


@pytest.mark.parametrize("preset", TiSASRec.presets)
def test_a_traced_row_is_the_same_with_shorter_and_longer_rows_beside_it(preset):
    model, whole = made(preset), batch(5, rows=1)
    longer = batch(LENGTH, rows=1, seed=2)
    both = Batch(
        items=torch.cat([pad(whole.items, (0, LENGTH - 5)), longer.items]),
        times=torch.cat([pad(whole.times, (0, LENGTH - 5)), longer.times]),
    )
    for alone, beside in zip(model.trace(whole).layers, model.trace(both).layers, strict=True):
        for name in ("mix", "score_time", "score_content"):
            np.testing.assert_allclose(getattr(beside, name)[:1, :, :5, :5], getattr(alone, name), atol=1e-12)
        np.testing.assert_allclose(beside.value_norm[:1, :, :5], alone.value_norm, atol=1e-12)
        np.testing.assert_allclose(beside.out[:1, :5], alone.out, atol=1e-12)
        np.testing.assert_allclose(beside.time_curve[:1], alone.time_curve, atol=1e-12)


def test_the_time_curve_is_the_mean_of_what_intervals_add_and_its_edges_are_seconds():
    model, whole = made("fixed", n_layers=1), batch()
    (layer,) = model.trace(whole).layers
    block = model.layers[0]
    with torch.no_grad():
        x = math.sqrt(D) * model.embed(whole.items[:1])
        q = block.attention.query(block.query_norm(x))[0].view(9, HEADS, -1).mean(dim=0)  # [H, P]
        keys = model.time_keys.weight.view(SPAN + 1, HEADS, -1)
        wanted = torch.einsum("hp,rhp->hr", q, keys) / math.sqrt(D // HEADS)
    np.testing.assert_allclose(layer.time_curve[0], wanted.numpy(), atol=1e-12)
    smallest = int(whole.times[0].diff().min())
    np.testing.assert_allclose(layer.time_edges[0], [0, *(smallest * (r - 0.5) for r in range(1, SPAN + 1))])


def test_no_table_is_spread_over_pairs_of_events():
    steps, d = 60, 64
    model = TiSASRec(make_config(TiSASRec, n_items=ITEMS, d=d, max_len=steps, time_span=20))
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda one: one):
        model(batch(steps)).sum().backward()
    assert max(sizes) <= 3 * steps * max(steps, d)
    assert 3 * steps * max(steps, d) < 3 * steps * steps * d / 50


@pytest.mark.parametrize("preset", TiSASRec.presets)
def test_it_trains_in_half_precision_with_intervals_told_apart_to_the_second(preset):
    model, items = made(preset).float().train(), torch.tensor([[3, 4, 5]])
    times = torch.tensor([[1_700_000_000, 1_700_000_001, 1_700_000_003]])
    later = torch.tensor([[1_700_000_000, 1_700_000_001, 1_700_000_005]])  # 32-bit floats lie 128 s apart
    with torch.autocast("cpu", torch.bfloat16):
        model(Batch(items=items, times=times)).float().sum().backward()
        model.eval()
        near, far = (outputs(model, Batch(items=items, times=one)) for one in (times, later))
    assert torch.isfinite(near).all()
    assert not torch.equal(near, far)
    assert all(torch.isfinite(one.grad).all() for one in model.parameters())


def test_a_history_without_times_is_read_as_intervals_of_zero_and_the_trace_says_so():
    whole = batch()
    untimed = Batch(items=whole.items, times=torch.zeros_like(whole.times))
    for preset in TiSASRec.presets:
        model = made(preset)
        level = Batch(items=whole.items, times=torch.full_like(whole.times, 10**9))
        torch.testing.assert_close(outputs(model, untimed), outputs(model, level), rtol=0, atol=1e-12)
        assert any("no times" in note for note in model.trace(untimed).notes)
        assert not any("no times" in note for note in model.trace(whole).notes)


@pytest.mark.parametrize("fields", [{"preset": "fixed"}, {"preset": "reference"}, {"unit": "seconds"}])
def test_gaps_that_are_zero_negative_of_years_or_beyond_all_dates_have_an_answer(fields):
    model, items = made(**fields), torch.tensor([[3, 4, 5]])

    def answer(*times):
        return outputs(model, Batch(items=items, times=torch.tensor([times])))

    at = 10**9
    torch.testing.assert_close(answer(at, at, at), answer(5, 5, 5), rtol=0, atol=1e-12)
    for times in ((at, at - 700, at), (at, at + 60 * YEAR, at + 120 * YEAR), (-(2**62), 0, 2**62), (-(2**62), 1, 1)):
        assert torch.isfinite(answer(*times)).all()
    if model.causal:
        torch.testing.assert_close(answer(at, at - 700, at), answer(at, at + 700, at), rtol=0, atol=1e-12)
    # One second makes the unit one second, so that an hour and a century are both the longest interval.
    hour, century = answer(at, at + 1, at + 3600), answer(at, at + 1, at + 100 * YEAR)
    assert torch.equal(hour[:, 2], century[:, 2]) == (model.config.unit != "seconds")


def test_the_trace_tells_how_many_pairs_lie_beyond_the_longest_interval():
    times = torch.tensor([[0, 10, 20, 20 + 10 * SPAN]]) + 10**9
    trace = made("fixed").trace(Batch(items=torch.tensor([[1, 2, 3, 4]]), times=times))
    assert any(note.startswith("50% of the pairs") for note in trace.notes)  # those of the last event: 3 of 6


def test_a_history_beyond_max_len_and_settings_out_of_range_are_clear_errors():
    long = batch(LENGTH + 1)
    for preset in TiSASRec.presets:
        with pytest.raises(HistoryError, match="12 places and was given event 13"):
            made(preset)(long)
    model = made("fixed")
    state = model.initial_state(3)
    with torch.no_grad():
        for t in range(LENGTH):
            _, state = model.step(state, long.items[:, t], long.times[:, t])
    with pytest.raises(HistoryError, match="given event 13"):
        model.step(state, long.items[:, -1], long.times[:, -1])
    for wrong in ({"heads": 3}, {"time_span": 0}, {"unit": "days"}, {"unit_seconds": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_config(TiSASRec, n_items=3, **wrong)
