"""What every backbone of the registry must keep; a new one gets these tests by its registry line.

Its own row, parameters at a published size, stands in `PARAMETERS`.
"""

import dataclasses

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, Batch, make_config
from recblr.backbones.base import last_hidden
from recblr.checkpoint import load_run, save_run
from recblr.data.log import Catalog, InteractionLog
from recblr.data.splits import leave_one_out
from recblr.errors import ConfigError, RecblrError
from recblr.explain import ask
from recblr.explain.interventions import state_at
from recblr.explain.memory import lens
from recblr.recommender import load
from recblr.training import TrainConfig
from recblr.training.loop import Trainer
from recblr.training.loss import cross_entropy

V, D, L, LAYERS = 3416, 64, 200, 2
"""Items of ML-1M, width, length of a history, layers: the size that parameters are counted at."""
C, TAPS, HEADS, STATE = 2 * D, 4, 4, 32
"""Channels of a mixer, taps of its convolution; heads of a state space, numbers that each of its channels holds."""
EMBEDDING, NORM, FEED_FORWARD = (V + 1) * D, 2 * D, (D * 4 * D + 4 * D) + (4 * D * D + D)


def stack(mixer):
    """Embedding and norm, then layers of a mixer and a feed-forward part, each with its norm."""
    return EMBEDDING + NORM + LAYERS * (mixer + NORM + FEED_FORWARD + NORM)


def conv(channels):
    return channels * TAPS + channels


def state_space(heads, state, bias):
    """In: two branches, B and C, a step size a head; of a head: decay, step size, skip; then a norm, and out."""
    width = 2 * C + 2 * state + heads
    return (D * width + bias * width) + conv(C + 2 * state) + 3 * heads + C + (C * D + bias * D)


def delta_rule(gated):
    """In: z, queries, keys, values and beta, with the gate a fading; of a gated head: decay and step size."""
    mixed = 2 * HEADS * STATE + C
    return D * (C + mixed + HEADS + gated * HEADS) + conv(mixed) + gated * 2 * HEADS + C // HEADS + C * D


def hstu(places, biases):
    """`biases` of a layer: of distances and of spans of time. u, v, q and k go in, one product comes out."""
    return EMBEDDING + places * D + LAYERS * (biases + D * 4 * D + (D * D + D))


def llama(layers):
    """Without its token embedding; 176 is 8/3 of the width, rounded up to a multiple of 8."""
    return layers * (4 * D * D + 3 * D * 176 + 2 * D) + D


GATED = D * 2 * C + conv(C) + (C * 2 * C + 2 * C) + C * D  # two branches, a convolution, two gates
ATTENTION = 4 * (D * D + D)
SSD = stack(state_space(HEADS, STATE, bias=True))
MAMBA = D * 2 * C + conv(C) + C * (4 + 2 * STATE) + (4 * C + C) + C * STATE + C + C * D  # step sizes of rank 4; A, D
TIME_MAPS = (HEADS * 4 * HEADS + 4 * HEADS) + (4 * HEADS * HEADS + HEADS)
PUBLISHED_TIME_MAPS = 2 * (L * L + L)
GRU4REC = EMBEDDING + 3 * C * (D + C) + (C * D + D)
HLLM = llama(1) + 1024 * D + D + llama(LAYERS) + 1  # 1024 tokens, one that ends a text, the scale of the logits
SPANS = 129  # of time
KEPT = 4 * 4  # PerSRec's segments, tokens after each
PARAMETERS = {
    "recblr": stack(GATED + C),
    "tbdlru": stack(GATED + 2 * C),  # decays as RecBLR's, and weights of time
    "mingru": stack(GATED),  # no decays of its own
    "lrurec": stack(3 * C + 2 * (D * C + C) + 2 * (C * D + D)) + V + 1,  # complex weights are two reals; a bias an item
    "mamba4rec": stack(MAMBA),
    "ssd4rec": {"fixed": SSD, "reference": stack(state_space(2 * HEADS, 2 * STATE, bias=False))},
    "tim4rec": {
        "untimed": SSD,
        # of gaps: gain, bias, one for the first event; a layer: two maps, two convolutions; the last hands nothing on
        "fixed": SSD + 3 * HEADS + LAYERS * (TIME_MAPS + 2 * conv(HEADS)) + (LAYERS - 1) * (HEADS + 1 + 2 * HEADS),
        # the last layer of the published code has one more gate and norm (L + 1 + 2 L), which reach no output
        "reference": SSD + 2 * L + LAYERS * (PUBLISHED_TIME_MAPS + 2 * conv(HEADS)) + (LAYERS - 1) * (L + 1 + 2 * L),
    },
    "sasrec": stack(ATTENTION) + L * D,
    # keys and values of places and of 256 + 1 intervals; a layer: q, k, v and two maps, two norms
    "tisasrec": EMBEDDING + 2 * (L + 257) * D + LAYERS * (5 * (D * D + D) + 2 * NORM) + NORM,
    "hstu": hstu(L, L + SPANS),  # the published code has 2 L - 1 distances in a layer, of which L are reached
    "hllm": HLLM,  # an item has no parameters, its vector is made from its text
    "persrec": {  # the wrapped backbone's, and for each token kept a vector, a position and its bias
        "fixed": hstu(L + KEPT, L + KEPT + SPANS) + KEPT * D,
        "reference": hstu(L + KEPT, 0) + KEPT * D,
        "hllm": HLLM + KEPT * D,  # positions are turned, not learnt
        "sasrec": stack(ATTENTION) + (L + KEPT) * D + KEPT * D,
        "recblr": stack(GATED + C),
    },
    "deltanet": {"fixed": stack(delta_rule(gated=True)), "ungated": stack(delta_rule(gated=False))},
    "gru4rec": {"fixed": GRU4REC + 2 * 3 * C, "reference": GRU4REC},  # of a GRU's three gates, two biases each
    "markov": 0,
    "popularity": 0,
}
"""By preset where they differ, counted from the published codes' layer sizes."""

ITEMS = 12
CASES = [(name, preset) for name, cls in REGISTRY.items() for preset in cls.presets]
LEARNING = [case for case in CASES if REGISTRY[case[0]].learns]


def toy_log(users=40, seed=0):
    """Users who walk around a ring of items, some backwards: the last two events say everything."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 14, users)
    rows = []
    for length in lengths:
        step = rng.choice([1, ITEMS - 1])
        rows.append((rng.integers(ITEMS) + step * np.arange(length)) % ITEMS + 1)
    return InteractionLog(
        name="ring",
        items=np.concatenate(rows).astype(np.int32),
        times=np.concatenate([1_000_000 * (u + 1) + 3600 * np.arange(n) for u, n in enumerate(lengths)]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        users=np.array([f"u{u}" for u in range(users)]),
        catalog=Catalog(ids=np.array(["", *[f"i{n}" for n in range(1, ITEMS + 1)]])),
    )


def model(name, preset, **fields):
    cls = REGISTRY[name]
    small = {"d": 16, "max_len": 24} if cls.learns else {"max_len": 24}
    torch.manual_seed(0)
    built = cls(make_config(cls, preset, n_items=ITEMS, **{**small, **fields})).eval()
    if not cls.learns:
        log = toy_log()
        built.fit(log, leave_one_out(log).train_end)
    return built


def batch(rows=3, steps=9, seed=1):
    g = torch.Generator().manual_seed(seed)
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=g)
    times = torch.randint(1, 5000, (rows, steps), generator=g).cumsum(1) + 10**9
    return Batch(items=items, times=times)


def batch_without_times():
    whole = batch()
    return Batch(items=whole.items, times=torch.zeros_like(whole.times))


CAUSAL = [case for case in CASES if model(*case).causal]
OF_STEPS = {"decay", "write", "input_gate", "read", "state", "entered", "written", "erased", "delta", "out"}
NOT_CAUSAL = [case for case in CASES if case not in CAUSAL]


def test_every_backbone_has_its_row_of_parameters():
    assert set(PARAMETERS) == set(REGISTRY)


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_the_parameter_count_is_the_published_one(name, preset):
    cls = REGISTRY[name]
    published = PARAMETERS[name]
    wanted = published[preset] if isinstance(published, dict) else published
    assert cls(make_config(cls, preset, n_items=V)).n_parameters() == wanted


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_configuration_knows_its_preset(name, preset):
    assert model(name, preset).preset == preset


@pytest.mark.parametrize(("name", "preset"), CAUSAL)
def test_a_future_event_never_moves_a_past_output(name, preset):
    one, other = batch(), batch()
    other.items[:, 6:] = other.items[:, 6:] % ITEMS + 1
    backbone = model(name, preset)
    other.times[:, 6 + backbone.reads_next_time :] += 99_999
    with torch.no_grad():
        before, after = backbone(one), backbone(other)
    torch.testing.assert_close(before[:, :6], after[:, :6], rtol=0, atol=1e-6)
    assert name == "popularity" or not torch.allclose(before[:, 6:], after[:, 6:])


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_padding_changes_no_real_output(name, preset):
    whole = batch()
    padded = Batch(
        items=torch.nn.functional.pad(whole.items, (0, 5)), times=torch.nn.functional.pad(whole.times, (0, 5))
    )
    backbone = model(name, preset)
    with torch.no_grad():
        torch.testing.assert_close(backbone(padded)[:, :9], backbone(whole), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_the_order_of_a_batch_changes_no_output(name, preset):
    whole, backbone, order = batch(rows=4), model(name, preset), torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        shuffled = backbone(Batch(items=whole.items[order], times=whole.times[order]))
        torch.testing.assert_close(shuffled, backbone(whole)[order], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "preset"), CAUSAL)
def test_stepping_event_by_event_gives_the_outputs_of_the_whole(name, preset):
    whole, backbone = batch(), model(name, preset)
    with torch.no_grad():
        state = backbone.initial_state(3)
        for t in range(9):
            wanted = backbone(Batch(items=whole.items[:, : t + 1], times=whole.times[:, : t + 1]))[:, t]
            hidden, state = backbone.step(state, whole.items[:, t], whole.times[:, t])
            torch.testing.assert_close(hidden, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_what_a_class_says_of_its_settings_is_what_the_model_is(name, preset):
    cls, backbone = REGISTRY[name], model(name, preset)
    said = dataclasses.asdict(cls.flags(make_config(cls, preset, n_items=ITEMS)))
    assert said == {flag: getattr(backbone, flag) for flag in said}
    assert (preset in cls.causal_presets()) == backbone.causal
    if preset == next(iter(cls.presets)):
        assert said == {flag: getattr(cls, flag) for flag in said}


@pytest.mark.parametrize(("name", "preset"), NOT_CAUSAL)
def test_a_preset_that_is_not_causal_says_why_and_names_those_that_are_wherever_it_is_refused(name, preset):
    backbone, whole = model(name, preset), batch()
    question = ask(backbone, whole.items[0].tolist(), whole.times[0].tolist(), target=1)
    able = " or ".join(one for one in REGISTRY[name].presets if (name, one) in CAUSAL)
    refusals = {
        "event by event": lambda: backbone.initial_state(3),
        "answer event by event": lambda: backbone.step({}, whole.items[:, 0], whole.times[:, 0]),
        "go event by event": lambda: state_at(question),
        "has seen the events after it": lambda: lens(question),
        "--train.objective last, or": lambda: Trainer(backbone, toy_log(), TrainConfig(objective="all")),
    }
    for words, refused in refusals.items():
        with pytest.raises(RecblrError) as caught:
            refused()
        for part in (f" {preset} is not causal: {backbone.looks_ahead}, so ", words, f"take the preset {able}"):
            assert part in str(caught.value)
    assert backbone.trace(whole).notes


@pytest.mark.parametrize(("name", "preset"), [c for c in CAUSAL if model(*c).recurrent])
def test_a_recurrent_state_keeps_its_size(name, preset):
    backbone, whole = model(name, preset), batch(steps=3)
    state = backbone.initial_state(3)
    sizes = {key: value.shape for key, value in state.items()}
    with torch.no_grad():
        for t in range(3):
            _, state = backbone.step(state, whole.items[:, t], whole.times[:, t])
    assert {key: value.shape for key, value in state.items()} == sizes


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_scores_rank_every_item_and_agree_with_the_output_embedding(name, preset):
    backbone, whole = model(name, preset), batch()
    with torch.no_grad():
        hidden = last_hidden(backbone(whole), whole.lengths)
        scores = backbone.scores(hidden)
    assert scores.shape == (3, ITEMS + 1)
    assert torch.isfinite(scores[:, 1:]).all()
    assert not torch.isnan(scores).any()
    if backbone.learns:
        weight, bias = backbone.output_embedding()
        wanted = hidden @ weight.T + (0 if bias is None else bias)
        torch.testing.assert_close(scores[:, 1:], wanted[:, 1:])


@pytest.mark.parametrize(("name", "preset"), LEARNING)
def test_every_parameter_receives_a_gradient(name, preset):
    backbone, whole = model(name, preset).train(), batch()
    hidden = backbone(whole)
    weight, bias = backbone.output_embedding()
    cross_entropy(hidden[:, :-1].flatten(0, 1), weight, bias, whole.items[:, 1:].flatten()).backward()
    for parameter_name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_trace_is_a_pure_function_with_arrays_of_the_said_shapes(name, preset):
    backbone, whole = model(name, preset), batch()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    first, again = backbone.trace(whole), backbone.trace(whole)
    with torch.no_grad():
        np.testing.assert_allclose(first.hidden, backbone(whole).numpy(), atol=1e-6)
    assert (first.backbone, first.preset, first.causal) == (name, preset, backbone.causal)
    for layer, twin in zip(first.layers, again.layers, strict=True):
        for field in dataclasses.fields(layer):
            value, other = getattr(layer, field.name), getattr(twin, field.name)
            assert np.array_equal(value, other) if isinstance(value, np.ndarray) else value == other, field.name
            if field.name in OF_STEPS:
                assert value is None or value.shape[:2] == (3, 9), field.name
        if layer.decay is not None:
            assert ((layer.decay >= 0) & (layer.decay <= 1)).all()
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not any(module._forward_hooks for module in backbone.modules())


@pytest.mark.parametrize(("name", "preset"), [c for c in CASES if model(*c).recurrent])
def test_the_traced_decay_and_input_rebuild_the_traced_state(name, preset):
    backbone = model(name, preset)
    kept = [layer for layer in backbone.trace(batch()).layers if layer.state is not None]
    carried = [key for key in backbone.initial_state(3) if key.endswith(".h")] if backbone.causal else kept
    assert 0 < len(kept) == len(carried)
    for n, layer in enumerate(kept):
        turn = 1 if layer.phase is None else np.exp(1j * layer.phase)
        state = np.zeros_like(layer.state[:, 0])  # what cannot stream starts from nothing
        if backbone.causal:
            start = backbone.initial_state(3)[f"{n}.h"]
            state = (torch.view_as_complex(start) if layer.phase is not None else start).detach().numpy()
        for t in range(9):
            state = layer.decay[:, t] * turn * state + layer.entered[:, t]
            np.testing.assert_allclose(layer.state[:, t], state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_memory_horizon_lies_inside_the_history(name, preset):
    trace = model(name, preset).trace(batch())
    for n, layer in enumerate(trace.layers):
        shares = layer.shares(0, 8)
        if shares is None:
            continue
        assert shares.sum() == pytest.approx(1)
        horizon = trace.horizon(n, 8)
        assert 1 <= horizon.items <= 9
        assert horizon.share >= 0.9 - 1e-9
        assert horizon.days == pytest.approx(float(trace.times[0, 8] - trace.times[0, 9 - horizon.items]) / 86400)


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_run_folder_gives_back_the_same_scores(name, preset, tmp_path):
    backbone, whole = model(name, preset), batch()
    data = {"name": "ring", "fingerprint": "0" * 12, "n_users": 1, "n_events": 1}
    save_run(tmp_path / "run", backbone, toy_log().catalog, train={}, data=data, metrics={})
    loaded = load_run(tmp_path / "run").model
    assert loaded.config == backbone.config
    with torch.no_grad():
        # torch's GRU takes another path for frozen weights, so the last bits may differ.
        got, wanted = loaded.scores(loaded(whole)), backbone.scores(backbone(whole))
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_history_without_times_is_noted_with_the_answer_as_in_the_trace_where_times_are_read(name, preset, tmp_path):
    backbone = model(name, preset)
    data = {"name": "ring", "fingerprint": "0" * 12, "n_users": 1, "n_events": 1}
    save_run(tmp_path / "run", backbone, toy_log().catalog, train={}, data=data, metrics={})
    opened, history = load(tmp_path / "run"), ["i1", "i2", "i3"]

    def said(notes):
        return [note for note in notes if "has no times" in note]

    answered = said(opened.recommend(history, 3).notes)
    assert answered == said(opened.trace(history).notes) == list(backbone.untimed_notes(batch_without_times()))
    assert len(answered) == backbone.uses_time
    assert not said(opened.recommend(history, 3, times=[10**9, 10**9 + 60, 10**9 + 90]).notes)


@pytest.mark.parametrize("name", REGISTRY)
def test_unknown_settings_and_presets_are_errors_that_list_the_known_ones(name):
    with pytest.raises(ConfigError, match="max_len"):
        make_config(REGISTRY[name], n_items=3, width=3)
    with pytest.raises(ConfigError, match="fixed"):
        make_config(REGISTRY[name], "as-published", n_items=3)
    with pytest.raises(ConfigError, match="max_len is 0"):
        make_config(REGISTRY[name], n_items=3, max_len=0)


def test_a_backbone_says_in_words_how_it_carries_the_past_along() -> None:
    kinds = {name: REGISTRY[name].kind() for name in ("recblr", "gru4rec", "sasrec", "markov")}
    assert kinds == {
        "recblr": "linear recurrence",
        "gru4rec": "recurrence through a nonlinearity",
        "sasrec": "attention",
        "markov": "counting",
    }
