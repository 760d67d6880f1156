"""What is particular to TiM4Rec: the published time branch, its causal form, and what gaps do to the memory."""

import math
import runpy
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import Batch, make_config
from recblr.backbones.tim4rec import TiM4Rec
from recblr.errors import ConfigError, HistoryError
from recblr.layers.time_branch import published_gaps
from recblr.training import TrainConfig, Trainer

HERE = Path(__file__).parent
plain = SimpleNamespace(**runpy.run_path(str(HERE / "plain.py")))
ring = runpy.run_path(str(HERE.parent / "training/ring.py"))["ring"]
ITEMS, D, N, LENGTH = 11, 6, 3, 10
YEAR = 365 * 86_400
SMALL = {"n_items": ITEMS, "d": D, "heads": 2, "state": N, "max_len": LENGTH}


def made(preset="fixed", **fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    model = TiM4Rec(make_config(TiM4Rec, preset, **{**SMALL, **fields})).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.clear_padding_row()
    return model


def batch(steps=8, rows=2):
    g = torch.Generator().manual_seed(1)
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=g)
    return Batch(items=items, times=torch.randint(0, 90_000, (rows, steps), generator=g).cumsum(1) + 10**9)


def outputs(model, whole):
    with torch.no_grad():
        return model(whole)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def twice_convolved(own, steps, activation):
    """act(conv2(act(conv1(.)))) over a list of [H]."""
    for name in ("first_conv", "second_conv"):
        weight, bias = own[f"{name}.weight"], own[f"{name}.bias"]
        steps = [activation(plain.causal_conv(steps[: t + 1], weight, bias)) for t in range(len(steps))]
    return steps


def published_branch(own, signal, activation):
    """(q, signal of the next layer), each [H, L], the maps acting on the sequence of each head."""
    scale = [plain.linear(own, "scale_out", plain.silu(plain.linear(own, "scale_in", one))) for one in signal]
    steps = twice_convolved(own, list((signal * np.stack(scale)).T), activation)
    q, new = np.stack(steps).T, None
    if "norm.weight" in own:
        rho = [sigmoid(plain.linear(own, "gate", one)) for one in signal]
        new = np.stack(
            [plain.norm(r * t + (1 - r) * one, own["norm.weight"], own["norm.bias"])
             for r, t, one in zip(rho, signal, q, strict=True)]
        )  # fmt: skip
    return q, new


def causal_branch(own, signal, activation):
    """As `published_branch` but [T, H], the maps acting on the heads of each event."""
    scale = [plain.linear(own, "scale_out", plain.silu(plain.linear(own, "scale_in", one))) for one in signal]
    q, new = np.stack(twice_convolved(own, list(signal * np.stack(scale)), activation)), None
    if "gain" in own:
        rho = np.stack([sigmoid(plain.linear(own, "gate", one)) for one in signal])
        new = own["gain"] * (rho * signal + (1 - rho) * q) + own["bias"]
    return q, new


def stated(model, items, times):
    """Hidden states [T, d] of one history."""
    w, config = plain.weights(model), model.config
    activation = plain.silu if config.time == "published" and config.heads % 8 == 0 else plain.hardswish
    x = [plain.norm(w["item_embedding.weight"][v], w["norm.weight"], w["norm.bias"]) for v in items]
    dated = [*times, *[0] * (LENGTH - len(times))] if config.time == "published" else list(times)
    gaps = [0, *(b - a for a, b in pairwise(dated))]
    signal = None
    if config.time == "published":
        scaled = plain.norm(np.array(gaps, float), w["time_norm.weight"], w["time_norm.bias"])
        signal = np.stack([scaled] * config.heads)
    elif config.time == "causal":
        logs = [math.log(1 + abs(gap)) / math.log(86_401) for gap in gaps[1:]]
        signal = np.stack([w["first"], *(w["gain"] * one + w["bias"] for one in logs)])
    for n in range(config.n_layers):
        own = plain.below(w, f"layers.{n}.")
        how = {"state": N, "activation": activation, "eps": 1e-12}
        if config.time == "published":
            q, signal = published_branch(plain.below(own, "branch."), signal, activation)
            how["adjust"] = lambda t, delta, q=q: delta * q[:, t]
        elif config.time == "causal":
            q, signal = causal_branch(plain.below(own, "branch."), signal, activation)
            how["adjust"] = lambda t, delta, q=q: delta + q[t]
        mixed = plain.ssd(plain.below(own, "mixer."), x, **how)
        residual = config.n_layers > 1 or config.single_residual
        pairs = zip(x, mixed, strict=True)
        x = [plain.post_norm(own, one, y, plain.hardswish, residual=residual) for one, y in pairs]
    return np.stack(x)


@pytest.mark.parametrize("steps", [1, 8, LENGTH])
@pytest.mark.parametrize("fields", [{}, {"point_gate": True}, {"n_layers": 1, "d": 8, "heads": 8}])
@pytest.mark.parametrize("preset", TiM4Rec.presets)
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, fields, steps):
    """The public code (TiM4Rec at 8d4a6ce, float32, its two GPU kernels replaced by loops), run with the same weights,
    gave the outputs of the preset reference to 8.4e-7, on padded histories with 2 and 4 heads."""
    model, whole = made(preset, **fields), batch(steps)
    hidden = outputs(model, whole)
    scores = model.scores(hidden).detach()
    for row in range(2):
        wanted = stated(model, whole.items[row].tolist(), whole.times[row].tolist())
        np.testing.assert_allclose(hidden[row], wanted, atol=1e-6)
        logits = wanted @ model.item_embedding.weight.detach().numpy().T
        np.testing.assert_allclose(scores[row, :, 1:], logits[:, 1:], atol=1e-6)


def test_the_published_parameter_counts_but_for_the_last_layers_signal_that_reaches_nothing():
    for n_items, length, timed, untimed in ((3416, 200, 508_818, 346_336), (7111, 50, 593_498, 582_816)):
        unreached = (length + 1) + 2 * length  # gate and norm
        counts = [
            TiM4Rec(make_config(TiM4Rec, preset, n_items=n_items, max_len=length)).n_parameters()
            for preset in ("reference", "untimed")
        ]
        assert counts == [timed - unreached, untimed]


def test_published_gaps_start_at_zero_and_fall_to_1970_where_padding_begins():
    times, mask = torch.tensor([[100, 160, 150, 7]]), torch.tensor([[True, True, True, False]])
    assert published_gaps(times, mask, 6).tolist() == [[0, 60, -10, -150, 0, 0]]


def test_a_later_gap_moves_past_decays_only_as_published():
    whole = batch()
    later = Batch(items=whole.items, times=whole.times.clone())
    later.times[:, 7:] += YEAR
    for preset, moves in (("fixed", False), ("reference", True), ("untimed", False)):
        model = made(preset)
        change = (outputs(model, later) - outputs(model, whole)).abs().amax(dim=(0, 2))
        assert (change[:7] > 1e-9).all() == moves
        assert (change[7] > 1e-9) == (preset != "untimed")
        assert model.causal == (not moves)
        trace = model.trace(whole)
        assert trace.causal == model.causal
        assert any("Not causal" in note for note in trace.notes) == moves


def test_the_published_preset_refuses_to_train_on_every_position():
    model = TiM4Rec(make_config(TiM4Rec, "reference", **{**SMALL, "n_items": 12}))
    with pytest.raises(ConfigError, match="objective last"):
        Trainer(model, ring(), TrainConfig(objective="all"))


def test_before_training_a_longer_gap_forgets_faster_and_writes_more_at_every_head():
    torch.manual_seed(0)
    model = TiM4Rec(make_config(TiM4Rec, n_items=ITEMS, d=16)).eval()
    gaps = [0, 1, 60, 3600, 86_400, 30 * 86_400, YEAR, 20 * YEAR]
    times = torch.tensor([[10**9, 10**9, 10**9 + gap] for gap in gaps])
    items = torch.tensor([[3, 4, 5]] * len(gaps))
    for layer in model.trace(Batch(items=items, times=times)).layers:
        assert (np.diff(layer.half_life[:, 2], axis=0) < 0).all()
        assert (np.diff(layer.delta[:, 2], axis=0) > 0).all()
        assert (np.diff(layer.write[:, 2], axis=0) > 0).all()
        assert (layer.decay[:, :2] == layer.decay[:1, :2]).all()


def test_the_traced_step_size_includes_the_time():
    model, whole = made(n_layers=1), batch()
    (layer,) = model.trace(whole).layers
    unit = model.layers[0]
    with torch.no_grad():
        x = model.enter(model.embed(whole.items))
        delta = unit.mixer.project_in(x).split(unit.mixer.sizes, dim=-1)[2]
        q, _ = unit.branch(model.signal(whole.times, whole.mask))
        wanted = torch.nn.functional.softplus(delta + q + unit.mixer.dt_bias)
    per_head = layer.delta.reshape(2, 8, 2, -1)
    np.testing.assert_allclose(per_head, np.broadcast_to(wanted.numpy()[..., None], per_head.shape), atol=1e-12)
    rate = np.exp(unit.mixer.A_log.detach().numpy())[:, None]
    np.testing.assert_allclose(layer.decay.reshape(per_head.shape), np.exp(-rate * per_head), atol=1e-12)


def test_a_history_without_times_is_read_as_gaps_of_zero_and_the_trace_says_so():
    whole = batch(LENGTH)  # of full length, so that the published branch meets no padding
    untimed = Batch(items=whole.items, times=torch.zeros_like(whole.times))
    level = Batch(items=whole.items, times=torch.full_like(whole.times, 10**9))
    for preset in ("fixed", "reference"):
        model = made(preset)
        torch.testing.assert_close(outputs(model, untimed), outputs(model, level), rtol=0, atol=1e-12)
        assert any("no times" in note for note in model.trace(untimed).notes)
        assert not any("no times" in note for note in model.trace(whole).notes)
    torch.testing.assert_close(outputs(made("untimed"), untimed), outputs(made("untimed"), whole), rtol=0, atol=0)


@pytest.mark.parametrize("preset", ["fixed", "reference"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_gaps_that_are_zero_negative_of_years_or_beyond_all_dates_have_an_answer(preset, precision):
    model, items = made(preset).to(precision), torch.tensor([[3, 4, 5]])

    def answer(*times):
        return outputs(model, Batch(items=items, times=torch.tensor([times])))

    at = 10**9
    for times in ((at, at, at), (at, at + 60 * YEAR, at + 120 * YEAR), (-(2**62), 0, 2**62), (-(2**62), 1, 1)):
        assert torch.isfinite(answer(*times)).all()
    assert torch.isfinite(answer(at, at - 700, at)).all()
    if preset == "fixed":  # by its size
        torch.testing.assert_close(answer(at, at - 700, at), answer(at, at + 700, at), rtol=0, atol=0)
        torch.testing.assert_close(answer(at, at, at), answer(5, 5, 5), rtol=0, atol=0)
        assert not torch.equal(answer(at, at + 1, at + 2), answer(at, at + 2, at + 3))  # to the second
        assert not torch.equal(answer(at, at, at + YEAR), answer(at, at, at + 2 * YEAR))


def test_in_a_short_history_the_published_norm_tells_real_gaps_apart_a_hundred_times_less_and_the_trace_says_so():
    torch.manual_seed(0)
    model = TiM4Rec(make_config(TiM4Rec, "reference", **{**SMALL, "max_len": 50})).eval()
    g = torch.Generator().manual_seed(1)
    times = 10**9 + torch.randint(0, 10**6, (1, 50), generator=g).cumsum(1)
    spread = {}
    for length in (30, 50):
        mask = torch.arange(50).unsqueeze(0) < length
        with torch.no_grad():
            spread[length] = float(model.signal(times, mask)[0, 0, 1:length].std())
    assert spread[30] < spread[50] / 100
    assert any("dwarfs" in note for note in model.trace(batch()).notes)
    assert not any("dwarfs" in note for note in made("reference").trace(batch(LENGTH)).notes)


@pytest.mark.parametrize("preset", TiM4Rec.presets)
def test_it_trains_in_half_precision(preset):
    model, whole = made(preset).float().train(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        model(whole).float().sum().backward()
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)


def test_a_history_beyond_max_len_is_an_error_only_as_published_and_settings_are_checked():
    long = batch(LENGTH + 1)
    with pytest.raises(HistoryError, match="10 places and was given event 11"):
        made("reference")(long)
    assert outputs(made("fixed"), long).shape == (2, LENGTH + 1, D)
    for wrong in ({"heads": 3}, {"time": "on"}, {"time_dropout": 1.0}, {"conv_init": "none"}, {"conv": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_config(TiM4Rec, n_items=3, **wrong)
