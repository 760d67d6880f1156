"""What is particular to time-decay BD-LRU: its equations, gaps of all kinds, half-lives in days, RecBLR inside it."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import Batch, make_config
from recblr.backbones.recblr import RecBLR
from recblr.backbones.tbdlru import DAY, TBDLRU, TimeBDLRU
from recblr.errors import ConfigError

plain = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("plain.py"))))

ITEMS, D = 11, 6
YEAR = 365 * 86_400
GAPS = (0, 1, 60, 3_600, 86_400, 7 * 86_400, YEAR, 30 * YEAR, 2**62)


def made(**fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    model = TBDLRU(make_config(TBDLRU, **{"n_items": ITEMS, "d": D, "max_len": 12, **fields})).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.clear_padding_row()
    return model


def batch(gaps=(0, 60, 0, 90_000, 5, YEAR, 3_600, 3_600), rows=2):
    """The first gap is the time of the first event."""
    items = torch.randint(1, ITEMS + 1, (rows, len(gaps)), generator=torch.Generator().manual_seed(1))
    return Batch(items=items, times=torch.tensor(gaps).cumsum(0).expand(rows, -1) + 10**9)


def plain_mixer(own, x, times, tau0):
    """The block for one history, event by event and channel by channel."""
    inner, taps = own["conv.weight"].shape
    h, entered, out, before = np.zeros(inner), [], [], None
    for one, time in zip(x, times, strict=True):
        gap = 0 if before is None else abs(time - before)
        before = time
        u, z = np.split(own["project_in.weight"] @ one, 2)
        entered.append(u)
        u = own["conv.bias"].copy()
        for back, past in enumerate(reversed(entered[-taps:])):
            u += own["conv.weight"][:, taps - 1 - back] * past
        u = plain.silu(u)
        r, i = np.split(own["gates.weight"] @ u + own["gates.bias"], 2)
        for channel in range(inner):
            lam, w = own["lam"][channel], own["w"][channel]
            count = 1 + math.log1p(math.exp(w)) * math.log1p(gap / tau0)
            decay = math.exp(-math.log1p(math.exp(lam)) * plain.sigmoid(r[channel]) * count)
            h[channel] = decay * h[channel] + math.sqrt(1 - decay**2) * plain.sigmoid(i[channel]) * u[channel]
        out.append(own["project_out.weight"] @ (plain.silu(z) * h))
    return out


def stated(model, items, times):
    """Hidden states [T, d] of one history."""
    w = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    x = [plain.norm(w["item_embedding.weight"][v], w["norm.weight"], w["norm.bias"]) for v in items]
    for layer in range(model.config.n_layers):
        own = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"layers.{layer}.")}
        mixer = {name.removeprefix("mixer."): value for name, value in own.items() if name.startswith("mixer.")}
        new = []
        for before, y in zip(x, plain_mixer(mixer, x, times, model.config.tau0_seconds), strict=True):
            y = plain.norm(y + before, own["norm.weight"], own["norm.bias"])
            inner = own["feed_forward.widen.weight"] @ y + own["feed_forward.widen.bias"]
            fed = own["feed_forward.narrow.weight"] @ plain.silu(inner) + own["feed_forward.narrow.bias"]
            new.append(plain.norm(y + fed, own["feed_forward.norm.weight"], own["feed_forward.norm.bias"]))
        x = new
    return np.stack(x)


@pytest.mark.parametrize("tau0_seconds", [DAY, 600.0])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_it_equals_a_plain_statement_of_its_equations(n_layers, tau0_seconds):
    model, whole = made(n_layers=n_layers, tau0_seconds=tau0_seconds), batch()
    with torch.no_grad():
        hidden = model(whole)
    for row in range(2):
        wanted = stated(model, whole.items[row].tolist(), whole.times[row].tolist())
        np.testing.assert_allclose(hidden[row], wanted, rtol=0, atol=1e-6)


def test_it_has_the_parameters_of_recblr_and_one_weight_of_time_a_channel():
    counts = [
        (TBDLRU(make_config(TBDLRU, n_items=3416, n_layers=n)).n_parameters())
        - RecBLR(make_config(RecBLR, n_items=3416, n_layers=n)).n_parameters()
        for n in (1, 2)
    ]
    assert counts == [128, 256]


def recblr_of(model):
    """RecBLR with the weights that the two share."""
    twin = RecBLR(make_config(RecBLR, n_items=ITEMS, d=model.config.d, max_len=12)).to(model.norm.weight.dtype).eval()
    shared = {name: value for name, value in model.state_dict().items() if not name.endswith("mixer.w")}
    assert len(model.state_dict()) - len(shared) == model.config.n_layers
    twin.load_state_dict(shared)
    return twin


def test_it_is_recblr_once_the_weight_of_time_is_switched_off():
    model, whole = made(), batch()
    with torch.no_grad():
        wanted = recblr_of(model)(whole)
        assert (model(whole) - wanted).abs().max() > 1e-3
        for layer in model.layers:
            layer.mixer.w.fill_(-torch.inf)  # softplus(w) = 0
        torch.testing.assert_close(model(whole), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("moment", [0, 10**9])
def test_without_times_or_at_one_moment_it_is_recblr_and_says_when_there_are_no_times(moment):
    model, whole = made(), batch()
    whole = Batch(items=whole.items, times=torch.full_like(whole.times, moment))
    with torch.no_grad():
        torch.testing.assert_close(model(whole), recblr_of(model)(whole), rtol=0, atol=1e-12)
    trace = model.trace(whole)
    assert any("no times" in note for note in trace.notes) == (moment == 0)
    for layer in trace.layers:
        assert (layer.delta == 1).all()
        assert layer.half_life_days is None if moment == 0 else np.isnan(layer.half_life_days).all()


def mixed_after(gap, dtype=torch.float32, d=8):
    """(decay, write, D), each [H], of the second event of one history after a gap."""
    torch.manual_seed(0)
    model = TBDLRU(make_config(TBDLRU, n_items=ITEMS, d=d, n_layers=1)).to(dtype).eval()
    times = torch.tensor([[10**9, 10**9 + gap]])
    (layer,) = model.trace(Batch(items=torch.tensor([[3, 5]]), times=times)).layers
    return layer.decay[0, 1], layer.write[0, 1], layer.delta[0, 1]


def test_every_channel_forgets_more_and_writes_more_after_a_longer_gap():
    before = mixed_after(GAPS[0], torch.float64)
    for gap in GAPS[1:]:
        after = mixed_after(gap, torch.float64)
        assert (after[0] < before[0]).all(), gap
        assert (after[1] > before[1]).all(), gap
        assert (after[2] > before[2]).all(), gap
        before = after


@pytest.mark.parametrize("gap", GAPS)
def test_any_gap_gives_finite_outputs_and_gradients(gap):
    torch.manual_seed(0)
    model = TBDLRU(make_config(TBDLRU, n_items=ITEMS, d=8))
    hidden = model(batch((0, gap, 5, 3_600)))
    hidden.square().sum().backward()
    assert torch.isfinite(hidden).all()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_a_shut_gate_neither_fades_nor_breaks_the_gradient():
    mixer = TimeBDLRU(make_config(TBDLRU, n_items=ITEMS, d=D))
    with torch.no_grad():
        mixer.gates.bias[: 2 * D] = -500.0
    x = torch.randn(1, 4, D, generator=torch.Generator().manual_seed(0))
    record = {}
    mixer(x, record, torch.ones(1, 4)).sum().backward()
    assert (record["decay"] == 1).all()
    assert all(torch.isfinite(p.grad).all() for p in mixer.parameters())


def test_a_negative_gap_counts_by_its_size_as_one_event_at_a_time_does():
    model, there, back = made(), batch((0, 60, 90_000, 5)), batch((0, 60, -90_000, 5))
    with torch.no_grad():
        hidden = model(back)
        torch.testing.assert_close(hidden, model(there), rtol=0, atol=0)
        state = model.initial_state(2)
        for t in range(4):
            one, state = model.step(state, back.items[:, t], back.times[:, t])
            torch.testing.assert_close(one, hidden[:, t], rtol=0, atol=1e-12)


def test_the_first_event_has_no_gap_whenever_it_came():
    model, one = made(), batch((0,))
    with torch.no_grad():
        first = model(one)
        for moment in (0, -5, 4 * 10**9):
            times = torch.full_like(one.times, moment)
            assert torch.equal(model(Batch(items=one.items, times=times)), first)
            assert torch.equal(model.step(model.initial_state(2), one.items[:, 0], times[:, 0])[0], first[:, 0])
    assert np.isnan(model.trace(one).layers[0].half_life_days).all()


def test_a_second_more_is_seen_at_todays_dates():
    """32-bit floats hold today's unix seconds to the nearest 128."""
    model = made()
    with torch.no_grad():
        assert (model(batch((7 * 10**8, 60)))[:, 1] - model(batch((7 * 10**8, 61)))[:, 1]).abs().max() > 0


def test_half_lives_in_days_are_those_of_the_products_of_the_decays():
    model, whole = made(n_layers=1), batch()
    padded = Batch(
        items=torch.nn.functional.pad(whole.items, (0, 3)), times=torch.nn.functional.pad(whole.times, (0, 3))
    )
    (layer,), (longer,) = model.trace(whole).layers, model.trace(padded).layers
    assert layer.half_life_days.shape == (2, 2 * D)
    np.testing.assert_allclose(longer.half_life_days, layer.half_life_days, rtol=1e-12)
    days = (whole.times[0, -1] - whole.times[0, 0]).item() / 86_400
    left = layer.decay[0, 1:].prod(axis=0)  # of the first event's state at the last
    np.testing.assert_allclose(0.5 ** (days / layer.half_life_days[0]), left, rtol=1e-9)


def test_the_same_events_over_a_longer_time_have_longer_half_lives_in_days_and_shorter_ones_in_steps():
    model = made(n_layers=1)
    (near,), (far,) = (model.trace(batch((0, *[gap] * 7))).layers for gap in (3_600, 86_400))
    assert (far.half_life_days > near.half_life_days).all()
    assert (far.half_life[:, 1:] < near.half_life[:, 1:]).all()


def test_at_the_start_some_channels_hardly_read_the_time_and_some_lose_half_in_a_week():
    torch.manual_seed(0)
    mixer = TimeBDLRU(make_config(TBDLRU, n_items=ITEMS))
    strength = torch.nn.functional.softplus(mixer.w)
    assert strength.min().item() == pytest.approx(0.1, rel=1e-4)
    assert strength.max().item() == pytest.approx(10, rel=1e-4)
    at_once, week = mixed_after(0, d=64)[0], mixed_after(7 * 86_400, d=64)[0]
    assert at_once.min() > 0.9
    assert week.min() < 0.5 < 0.99 < week.max()


def test_settings_out_of_range_are_clear_errors():
    for name, value in (("expand", 0), ("conv", 0), *(("tau0_seconds", one) for one in (0, -1, math.inf, math.nan))):
        with pytest.raises(ConfigError, match=name):
            make_config(TBDLRU, n_items=3, **{name: value})
