"""What is particular to PerSRec: the mask, the published equations, the cached pass, the two losses at a boundary."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from recblr.backbones import Batch, make_config
from recblr.backbones.persrec import RECURRENT, PerSRec
from recblr.checkpoint import load_run, save_run
from recblr.data.log import Catalog, InteractionLog
from recblr.errors import ConfigError, ExplainError, HistoryError
from recblr.explain import ask
from recblr.explain.memory import gap_response
from recblr.layers.segments import Segments
from recblr.training import TrainConfig, Trainer

plain = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("plain.py"))))

ITEMS, D, HEADS, LENGTH = 20, 8, 2, 12
SEGMENT, TOKENS = 3, 2
OVER_ATTENTION = ("fixed", "reference", "hllm", "sasrec")


def made(preset="fixed", max_len=LENGTH, **fields):
    """A model in float64 with weights large enough that every term counts."""
    torch.manual_seed(0)
    settings = {"segment": SEGMENT, "tokens": TOKENS, "segments": 3}
    if preset != "recblr":
        settings["inner_config"] = {"heads": HEADS}
    config = make_config(PerSRec, preset, n_items=ITEMS, d=D, max_len=max_len, **{**settings, **fields})
    model = PerSRec(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    if preset != "hllm":
        model.inner.clear_padding_row()
    return model


def batch(steps=LENGTH, rows=3, seed=1):
    g = torch.Generator().manual_seed(seed)
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=g)
    return Batch(items=items, times=torch.randint(0, 90_000, (rows, steps), generator=g).cumsum(1) + 10**9)


def part(whole, first, last):
    return Batch(items=whole.items[:, first:last], times=whole.times[:, first:last])


def outputs(model, whole):
    with torch.no_grad():
        return model(whole)


# Layout and mask


def test_who_sees_whom_is_this_table():
    """Two segments of two events and a token each, then two recent events: e0 e1 t0 e2 e3 t1 e4 e5."""
    layout = Segments(events=2, tokens=1, count=2)
    table = """
        x . . . . . . .
        x x . . . . . .
        x x x . . . . .
        . . x x . . . .
        . . x x x . . .
        . . x x x x . .
        . . x . . x x .
        . . x . . x x x
    """
    wanted = [[mark == "x" for mark in line.split()] for line in table.split("\n") if line.strip()]
    slots = torch.arange(layout.n_slots(6))
    assert layout.visible(slots, slots).tolist() == wanted
    assert layout.visible(slots[5:6], slots[[2, 5]]).tolist() == [[True, True]]


@pytest.mark.parametrize(("n", "k", "j"), [(1, 1, 1), (2, 3, 2), (3, 2, 4), (5, 1, 1), (4, 4, 3)])
def test_slots_are_those_of_a_sequence_that_is_laid_out_by_hand(n, k, j):
    layout = Segments(events=n, tokens=k, count=j)
    for total in range(1, n * j + 4):
        laid, tokens = [], 0
        for event in range(total):
            laid.append(("event", event, min(event // n, j)))
            if (event + 1) % n == 0 and (event + 1) // n <= j:
                laid += [("token", tokens + i, event // n) for i in range(k)]
                tokens += k
        slots = torch.arange(layout.n_slots(total))
        parts = (layout.is_token(slots), layout.token(slots), layout.event(slots), layout.segment(slots))
        found = [
            ("token", token, segment) if is_token else ("event", event, segment)
            for is_token, token, event, segment in zip(*(one.tolist() for one in parts), strict=True)
        ]
        assert found == laid
        events = [slot for slot, (kind, _, _) in enumerate(laid) if kind == "event"]
        assert layout.of_event(torch.arange(total)).tolist() == events
        for closed in range(layout.closed(total)):
            mine = [slot for slot, one in enumerate(laid) if one[0] == "token" and one[2] == closed]
            assert layout.of_tokens(closed).tolist() == mine


# The published equations


def laid_out(items, times):
    """[(row of items and then tokens, time, segment, whether a token)] of one history."""
    slots = []
    for t, (item, time) in enumerate(zip(items, times, strict=True)):
        slots.append((item, time, min(t // SEGMENT, 3), False))
        done = (t + 1) // SEGMENT
        if (t + 1) % SEGMENT == 0 and done <= 3:
            first = ITEMS + 1 + (done - 1) * TOKENS
            slots += [(first + i, time, done - 1, True) for i in range(TOKENS)]
    return slots


def slot_by_slot(model, items, times, *, biased, divisor=None):
    """One history in float64 numpy and loops over slots, heads and sources."""
    w = {name.removeprefix("inner."): value.detach().numpy() for name, value in model.state_dict().items()}
    vectors = np.concatenate([w["item_embedding.weight"], w["tokens.weight"]])
    slots, width = laid_out(items, times), D // HEADS
    scale = math.sqrt(D) if biased else 1.0
    x = [scale * vectors[row] + w["positions.weight"][i] for i, (row, *_) in enumerate(slots)]
    for layer in range(model.config.n_layers):
        own = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"layers.{layer}.")}
        u, v, q, k = zip(
            *(np.split(plain.silu(own["project_in.weight"] @ plain.norm(one, eps=1e-6)), 4) for one in x), strict=True
        )
        new = []
        for i, (_, time, segment, _) in enumerate(slots):
            seen = [j for j in range(i + 1) if slots[j][3] or slots[j][2] == segment]
            read = np.zeros(D)
            for h in range(HEADS):
                here = slice(h * width, (h + 1) * width)
                for j in seen:
                    score = q[i][here] @ k[j][here]
                    if biased:
                        bucket = min(math.floor(math.log(max(abs(time - slots[j][1]), 1)) / 0.301), 128)
                        score += own["position_bias"][i - j] + own["time_bias"][bucket]
                    read[here] += plain.silu(score) / (divisor or len(seen)) * v[j][here]
            new.append(x[i] + own["project_out.weight"] @ (u[i] * plain.norm(read, eps=1e-6)) + own["project_out.bias"])
        x = new
    hidden = np.stack([one / max(np.linalg.norm(one), 1e-6) for one, slot in zip(x, slots, strict=True) if not slot[3]])
    table = w["item_embedding.weight"]
    lengths = np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)
    return hidden, hidden @ (table / lengths).T / 0.05


@pytest.mark.parametrize(
    ("preset", "stated"),
    [("reference", {"biased": False, "divisor": LENGTH + 3 * TOKENS}), ("fixed", {"biased": True})],
)
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, stated):
    """PersonalizedHSTU of the public code (facebookresearch/PerSRec at 7525e6b, on a CPU, float32), given the same
    weights and full histories, gave the scores of the preset reference, which reach 20, to 2e-6: over one segment and
    over two."""
    model, whole = made(preset), batch()
    hidden = outputs(model, whole)
    scores = model.scores(hidden).detach()
    for row in range(3):
        wanted, logits = slot_by_slot(model, whole.items[row].tolist(), whole.times[row].tolist(), **stated)
        np.testing.assert_allclose(hidden[row].numpy(), wanted, atol=1e-6)
        np.testing.assert_allclose(scores[row, :, 1:].numpy(), logits[:, 1:], atol=1e-6)


# Compressing


@pytest.mark.parametrize("preset", OVER_ATTENTION)
@pytest.mark.parametrize(("segment", "segments", "tokens"), [(3, 1, 2), (3, 3, 2), (2, 5, 1), (1, 11, 3), (11, 1, 4)])
def test_the_cached_pass_equals_the_whole_pass_wherever_the_history_is_cut(preset, segment, segments, tokens):
    model, whole = made(preset, segment=segment, segments=segments, tokens=tokens), batch()
    wanted = outputs(model, whole)
    with torch.no_grad():
        for cut in range(1, LENGTH):
            got = model.read_on(model.compress(part(whole, 0, cut)), part(whole, cut, LENGTH))
            torch.testing.assert_close(got, wanted[:, cut:], rtol=0, atol=1e-9)


@pytest.mark.parametrize("preset", OVER_ATTENTION)
def test_the_cached_pass_equals_the_whole_pass_in_single_precision(preset):
    torch.manual_seed(0)
    config = make_config(PerSRec, preset, n_items=ITEMS, d=16, max_len=40, segment=9, segments=4)
    model, whole = PerSRec(config).eval(), batch(steps=40)
    with torch.no_grad():
        got = model.read_on(model.compress(part(whole, 0, 30)), part(whole, 30, 40))
        torch.testing.assert_close(got, model(whole)[:, 30:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", OVER_ATTENTION)
def test_compressed_segments_are_kept_as_their_tokens_alone_and_never_looked_at_again(preset, monkeypatch):
    model, whole = made(preset), batch()
    wanted = outputs(model, whole)
    cut = 2 * SEGMENT
    state = model.compress(part(whole, 0, cut))
    held = {key: value for key, value in state.items() if key != "position"}
    assert all(value.shape[:2] == (3, 2 * TOKENS) for value in held.values())
    assert sum(key.endswith((".keys", ".values")) for key in held) == 2 * model.config.n_layers
    asked, embed = [], model.inner.embed
    monkeypatch.setattr(model.inner, "embed", lambda items: asked.append(items) or embed(items))
    with torch.no_grad():
        got = model.read_on(state, part(whole, cut, LENGTH))
    torch.testing.assert_close(got, wanted[:, cut:], rtol=0, atol=1e-9)
    assert torch.equal(torch.cat(asked, dim=1), whole.items[:, cut:])


def test_an_old_event_reaches_a_later_segment_through_the_tokens_from_the_second_layer_on():
    whole = batch()
    other = Batch(items=whole.items.clone(), times=whole.times)
    other.items[:, 1] = other.items[:, 1] % ITEMS + 1
    for layers, reaches in ((2, True), (1, False)):
        model = made("reference", n_layers=layers)
        moved = (outputs(model, other) - outputs(model, whole)).abs().amax(dim=(0, 2))
        assert (moved[1:SEGMENT] > 1e-6).all()
        assert ((moved[SEGMENT:] > 1e-6) == reaches).all()


def test_tokens_are_the_same_vectors_for_all_and_their_keys_and_values_are_each_users_own():
    model, whole = made("fixed"), batch()
    state = model.compress(part(whole, 0, SEGMENT))
    assert torch.equal(state["0.keys"][0], state["0.keys"][1])
    assert not torch.allclose(state["1.keys"][0], state["1.keys"][1])
    with torch.no_grad():
        assert model.readout(whole).shape == (3, 3, TOKENS, D)


# What is trained


def plain_log_probability(model, hidden, aim, *, further=None):
    """Log-probability of class `aim` among the items, and among a further vector where one is a class."""
    weight, _ = model.output_embedding()
    classes = weight[1:] if further is None else torch.cat([weight[1:], further[None]])
    return log_softmax(classes @ hidden, dim=0)[aim]


def test_with_next_the_last_event_and_the_last_token_of_a_segment_name_the_first_event_of_the_next():
    model, whole = made("fixed"), batch()
    answers = model.answers(whole, torch.ones_like(whole.mask))
    assert answers.further is None
    assert answers.step.tolist() == [*range(LENGTH), 2, 5, 8]
    torch.testing.assert_close(answers.hidden[:, :LENGTH], outputs(model, whole))
    torch.testing.assert_close(answers.hidden[:, LENGTH:], model.readout(whole)[:, :, -1])


def test_as_published_the_last_event_of_a_segment_is_trained_towards_the_first_token():
    model, whole = made("reference"), batch()
    wanted = torch.ones_like(whole.mask)
    wanted[1, 4:] = False
    answers = model.answers(whole, wanted)
    assert answers.step.tolist() == [0, 1, 3, 4, 6, 7, 9, 10, 11]
    hidden = outputs(model, whole)
    torch.testing.assert_close(answers.hidden, hidden[:, answers.step])
    tokens = model.tokens.weight[::TOKENS]
    tokens = tokens / tokens.norm(dim=1, keepdim=True) / 0.05
    plainly = [
        -plain_log_probability(model, hidden[row, end], ITEMS, further=tokens[segment])
        for row in range(3)
        for segment, end in enumerate((2, 5, 8))
        if wanted[row, end]
    ]
    assert len(plainly) == 7
    torch.testing.assert_close(answers.further, torch.stack(plainly))


@pytest.mark.parametrize("boundary", ["next", "token"])
def test_the_loss_of_a_batch_is_the_mean_over_what_is_trained(boundary):
    g = np.random.default_rng(0)
    lengths = np.array([9, 4, 13, 7])
    log = InteractionLog(
        name="small",
        items=g.integers(1, ITEMS + 1, lengths.sum()).astype(np.int32),
        times=np.arange(lengths.sum()) * 60,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        users=np.array([f"u{u}" for u in range(4)]),
        catalog=Catalog(ids=np.array(["", *[f"i{n}" for n in range(1, ITEMS + 1)]])),
    )
    model = made("fixed", boundary=boundary, dropout=0.0).float()
    trainer = Trainer(model, log, TrainConfig(protocol="recbole", batch_size=4, device="cpu"))
    batch = next(iter(trainer._epoch(0)))
    tokens = model.tokens.weight[::TOKENS]
    tokens = tokens / tokens.norm(dim=1, keepdim=True) / 0.05
    with torch.no_grad():
        hidden, read, losses = model(batch.inputs), model.readout(batch.inputs), []
        for row, step in (batch.targets > 0).nonzero().tolist():
            aim, ends = int(batch.targets[row, step]) - 1, (step + 1) % SEGMENT == 0 and step < 3 * SEGMENT
            if ends and boundary == "token":
                first = tokens[step // SEGMENT]
                losses.append(-plain_log_probability(model, hidden[row, step], ITEMS, further=first))
                continue
            losses.append(-plain_log_probability(model, hidden[row, step], aim))
            if ends:
                losses.append(-plain_log_probability(model, read[row, step // SEGMENT, -1], aim))
        torch.testing.assert_close(trainer.loss(batch), torch.stack(losses).mean(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("preset", OVER_ATTENTION)
def test_every_token_of_a_complete_segment_receives_a_gradient(preset):
    model, whole = made(preset), batch(steps=2 * SEGMENT + 1)
    answers = model.answers(whole, torch.ones_like(whole.mask))
    weight, _ = model.output_embedding()
    log_softmax(answers.hidden @ weight[1:].T, dim=-1)[..., 0].sum().backward()
    size = model.tokens.weight.grad.abs().amax(dim=1)
    assert (size[: 2 * TOKENS] > 0).all()
    assert (size[2 * TOKENS :] == 0).all()


# Bad and small input


@pytest.mark.parametrize("preset", OVER_ATTENTION)
def test_a_history_no_longer_than_a_segment_is_read_as_the_wrapped_backbone_reads_it(preset):
    model, whole = made(preset), batch(steps=SEGMENT)
    for steps in range(1, SEGMENT + 1):
        short = part(whole, 0, steps)
        torch.testing.assert_close(outputs(model, short), outputs(model.inner, short), rtol=0, atol=1e-12)
        trace = model.trace(short)
        assert any("nothing is compressed" in note for note in trace.notes)
    assert not any("nothing is compressed" in note for note in model.trace(batch()).notes)
    state = model.compress(part(whole, 0, 2))
    assert state["0.keys"].shape[1] == 2
    assert model.readout(part(whole, 0, 2)).shape == (3, 0, TOKENS, D)


def test_rows_of_all_lengths_are_answered_as_if_alone():
    model, whole = made("fixed"), batch(rows=4)
    lengths = torch.tensor([[LENGTH], [1], [SEGMENT], [7]])
    mask = torch.arange(LENGTH) < lengths
    ragged = Batch(items=whole.items * mask, times=whole.times * mask)
    together = outputs(model, ragged)
    for row, length in enumerate(lengths[:, 0].tolist()):
        alone = outputs(
            model, Batch(items=whole.items[row : row + 1, :length], times=whole.times[row : row + 1, :length])
        )
        torch.testing.assert_close(together[row, :length], alone[0], rtol=0, atol=1e-12)
    with pytest.raises(HistoryError, match="one length"):
        model.compress(ragged)


def test_a_history_beyond_max_len_is_a_clear_error():
    model, long = made(), batch(steps=LENGTH + 1)
    for given in (model, model.trace, model.compress, model.readout):
        with pytest.raises(HistoryError, match="12 positions and was given event 13"):
            given(long)
    state = model.compress(part(long, 0, LENGTH))
    with pytest.raises(HistoryError, match="given event 13"):
        model.step(state, long.items[:, -1], long.times[:, -1])


def test_settings_that_cannot_be_are_errors_that_name_them():
    wrong = (
        ({"inner": "bert"}, "inner is 'bert': choose one of hstu"),
        ({"inner_config": {"width": 3}}, "hstu has no setting 'width'"),
        ({"inner_config": {"d": 3}}, "inner_config sets d"),
        ({"inner_config": {"heads": 7}}, "heads is 7"),
        ({"tokens": 0}, "over hstu it must be at least 1"),
        ({"inner": "recblr", "tokens": -1}, "over recblr it must be at least 0"),
        ({"inner": "recblr", "boundary": "token"}, "choose next"),
        ({"boundary": "last"}, "boundary"),
        ({"segments": 0}, "segments is 0"),
        ({"segment": 50}, "leave a recent event of max_len 200"),
        ({"segment": 0}, "segment is 0"),
    )
    for fields, message in wrong:
        with pytest.raises(ConfigError, match=message):
            make_config(PerSRec, n_items=3, **fields)
    for fields in (
        {"inner_config": {"query_time": "target"}},
        {"inner": "ssd4rec", "inner_config": {"both_ends": True}},
    ):
        with pytest.raises(ConfigError):
            PerSRec(make_config(PerSRec, n_items=3, **fields))


@pytest.mark.parametrize(
    ("preset", "kind", "recurrent", "uses_time"),
    [
        ("fixed", "attention", False, True),
        ("reference", "attention", False, False),
        ("hllm", "attention", False, False),
        ("sasrec", "attention", False, False),
        ("recblr", "linear recurrence", True, False),
    ],
)
def test_it_is_of_the_kind_of_what_it_wraps_and_reads_times_where_that_does(preset, kind, recurrent, uses_time):
    model, whole = made(preset).float(), batch()
    assert (model.recurrent, model.uses_time, model.kind(model.config)) == (recurrent, uses_time, kind)
    assert PerSRec.kind() == "attention"
    question = ask(model, whole.items[0].tolist(), whole.times[0].tolist(), target=1)
    if uses_time:
        assert len(set(gap_response(question, gaps=(0, 10**6)).logit)) == 2
    else:
        with pytest.raises(ExplainError, match=f"PerSRec {model.preset} reads no times"):
            gap_response(question)


def test_over_a_recurrence_it_is_of_that_kind_and_reads_times_with_it():
    kinds = {
        inner: PerSRec.kind(make_config(PerSRec, "recblr", n_items=3, inner=inner)) for inner in ("tim4rec", "gru4rec")
    }
    assert kinds == {"tim4rec": "linear recurrence", "gru4rec": "recurrence through a nonlinearity"}
    for settings, reads in (({}, True), ({"time": "off"}, False)):
        config = make_config(PerSRec, "recblr", n_items=3, inner="tim4rec", inner_config=settings)
        assert PerSRec.flags(config).uses_time == reads


def test_over_the_published_copy_of_hstu_the_trace_speaks_of_no_time_bias():
    notes = " ".join(made("reference").trace(batch()).notes)
    assert "Nothing biases the attention" in notes
    untimed = Batch(items=batch().items, times=torch.zeros_like(batch().times))
    assert "time bias" not in " ".join(made("reference").trace(untimed).notes)
    assert "Nothing biases" not in " ".join(made("fixed").trace(batch()).notes)


# Over recurrent backbones


@pytest.mark.parametrize("inner", sorted(RECURRENT))
@pytest.mark.parametrize("tokens", [0, TOKENS])
def test_over_a_recurrence_the_state_is_carried_exactly_and_no_event_sees_a_token(inner, tokens):
    torch.manual_seed(0)
    config = make_config(
        PerSRec, "recblr", n_items=ITEMS, d=D, max_len=LENGTH, inner=inner, tokens=tokens, segment=SEGMENT, segments=3
    )
    model, whole = PerSRec(config).eval(), batch()
    wanted = outputs(model.inner, whole)
    torch.testing.assert_close(outputs(model, whole), wanted, rtol=0, atol=0)
    with torch.no_grad():
        state = model.compress(part(whole, 0, 7))
        assert {key: value.shape for key, value in state.items()} == {
            key: value.shape for key, value in model.inner.initial_state(3).items()
        }
        got = model.read_on(state, part(whole, 7, LENGTH))
        torch.testing.assert_close(got, wanted[:, 7:], rtol=1e-5, atol=1e-5)
        read = model.readout(whole)
        if tokens:  # so that the backbone can be stepped over tokens, by ids after those of the items
            rows = torch.cat([model.inner.item_embedding.weight, model.tokens.weight])
            model.inner.item_embedding = torch.nn.Embedding.from_pretrained(rows)
        for segment in range(read.shape[1]):
            end = (segment + 1) * SEGMENT
            state = model.compress(part(whole, 0, end))
            for token in range(tokens):
                row = torch.full((3,), ITEMS + 1 + segment * TOKENS + token)
                hidden, state = model.inner.step(state, row, whole.times[:, end - 1])
                torch.testing.assert_close(read[:, segment, token], hidden, rtol=1e-5, atol=1e-5)
    answers = model.answers(whole, torch.ones_like(whole.mask))
    assert answers.step.tolist() == [*range(LENGTH), *((2, 5, 8) if tokens else ())]


# Over HLLM


def test_over_a_language_model_of_ones_own_a_run_keeps_what_it_read_and_traces_all_of_its_layers(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    llm = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=32, **shape))
    llm.save_pretrained(tmp_path / "llm")
    titles = np.array(["", *[f"Stone {n} of the ring" for n in range(1, ITEMS + 1)]])
    catalog = Catalog(ids=np.array(["", *[f"i{n}" for n in range(1, ITEMS + 1)]]), titles=titles)
    settings = {"inner_config": {"user_llm": str(tmp_path / "llm")}, "segment": SEGMENT, "segments": 3}
    model = PerSRec(make_config(PerSRec, "hllm", n_items=ITEMS, d=D, max_len=LENGTH, **settings)).eval()
    model.read_catalog(catalog)
    assert model.keeps_texts
    filled = model.config.inner_config
    assert filled["user_llm"] == "llm"
    assert filled["texts"]
    data = {"name": "ring", "fingerprint": "0" * 12, "n_users": 1, "n_events": 1}
    save_run(tmp_path / "run", model, catalog, train={}, data=data, metrics={})
    (tmp_path / "llm").rename(tmp_path / "gone")
    loaded, whole = load_run(tmp_path / "run").model, batch()
    assert loaded.config == model.config
    torch.testing.assert_close(outputs(loaded, whole), outputs(model, whole), rtol=0, atol=1e-6)
    with torch.no_grad():
        got = loaded.read_on(loaded.compress(part(whole, 0, 7)), part(whole, 7, LENGTH))
        torch.testing.assert_close(got, outputs(model, whole)[:, 7:], rtol=0, atol=1e-5)
    assert len(loaded.trace(whole).layers) == 3


# The trace


@pytest.mark.parametrize("preset", OVER_ATTENTION)
def test_the_trace_tells_what_events_read_of_the_tokens_and_tokens_of_the_events(preset):
    model, whole = made(preset), batch()
    trace = model.trace(whole)
    segment = np.minimum(np.arange(LENGTH) // SEGMENT, 3)
    after = np.repeat([3, 6, 9], TOKENS)
    for layer in trace.layers:
        assert layer.mix.shape == (3, HEADS, LENGTH, LENGTH)
        assert (layer.mix[..., segment[:, None] != segment] == 0).all()
        assert layer.token_mix.shape == (3, HEADS, LENGTH, 3 * TOKENS)
        assert layer.token_read.shape == (3, HEADS, 3 * TOKENS, LENGTH)
        assert (layer.token_after == after).all()
        earlier = after <= np.arange(LENGTH)[:, None]
        assert (layer.token_mix[..., ~earlier] == 0).all()
        assert (layer.token_mix[..., earlier] != 0).all()
        mine = segment[after - 1][:, None] == segment
        assert (layer.token_read[..., ~mine] == 0).all()
        assert (layer.token_read[..., mine] != 0).all()
        if layer.offered is not None:
            np.testing.assert_allclose(layer.mix @ layer.offered + layer.skipped, layer.received, atol=1e-12)
        if preset in ("hllm", "sasrec"):
            np.testing.assert_allclose(layer.mix.sum(-1) + layer.token_mix.sum(-1), 1, atol=1e-12)
            assert (layer.token_read.sum(-1) < 1).all()
    assert (trace.layers[0].score_time is None) == (preset != "fixed")


def test_a_log_without_times_is_read_as_gaps_of_zero_and_the_trace_says_so():
    model, whole = made("fixed"), batch()
    untimed = Batch(items=whole.items, times=torch.zeros_like(whole.times))
    level = Batch(items=whole.items, times=torch.full_like(whole.times, 10**9))
    torch.testing.assert_close(outputs(model, untimed), outputs(model, level), rtol=0, atol=1e-12)
    assert any("no times" in note for note in model.trace(untimed).notes)


def test_over_a_recurrence_the_trace_is_that_of_the_wrapped_backbone():
    model, whole = made("recblr"), batch()
    trace, inner = model.trace(whole), model.inner.trace(whole)
    assert (trace.backbone, trace.preset) == ("persrec", "custom")  # two tokens to read the state out
    for layer, same in zip(trace.layers, inner.layers, strict=True):
        np.testing.assert_array_equal(layer.state, same.state)
    assert any("carried on as it is" in note for note in trace.notes)
