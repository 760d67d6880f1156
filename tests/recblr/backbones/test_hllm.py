"""What is particular to HLLM: texts in place of ids, two language models, the published loss, vectors made once."""

import copy
import math
import subprocess
import sys
from dataclasses import replace
from types import MethodType

import numpy as np
import pytest
import torch

from recblr.backbones import Batch, make_config
from recblr.backbones import hllm as module
from recblr.backbones.hllm import HLLM
from recblr.backbones.hllm_config import HLLMConfig
from recblr.checkpoint import load_run, save_run
from recblr.data.log import Catalog
from recblr.errors import CheckpointError, ConfigError, DataError
from recblr.layers.segments import Segments

TITLES = ["Tripod", "Camera strap", "Flash unit", "Macro lens", "Lens cap", "Tent", "Camp stove", "Head torch", "Map"]
ITEMS, D, HEADS = len(TITLES), 16, 2
DATA = {"name": "shop", "fingerprint": "0" * 12, "n_users": 1, "n_events": 1}


def catalog(titles=TITLES, **columns):
    ids = np.array(["", *[f"i{n:03}" for n in range(1, ITEMS + 1)]])
    texts = {name: np.array(["", *column]) for name, column in columns.items()}
    return Catalog(ids=ids, titles=None if titles is None else np.array(["", *titles]), columns=texts)


def made(preset="fixed", read=True, std=None, **fields):
    """A small model that has read its catalogue; with `std`, weights large enough that every term counts."""
    torch.manual_seed(0)
    config = make_config(
        HLLM, preset, **{"n_items": ITEMS, "d": D, "heads": HEADS, "max_len": 12, "vocab": 300, **fields}
    )
    model = HLLM(config).eval()
    if std is not None:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=std)
        torch.nn.init.constant_(model.logit_scale, 1.5)
    if read:
        model.read_catalog(catalog())
    return model


def batch(steps=7, rows=3, seed=1):
    g = torch.Generator().manual_seed(seed)
    items = torch.randint(1, ITEMS + 1, (rows, steps), generator=g)
    return Batch(items=items, times=torch.zeros_like(items))


# The published equations, in float64 numpy and loops over layers, heads, readers and sources


def plain_norm(x, weight):
    return weight * x / math.sqrt(np.mean(x * x) + 1e-6)


def plain_turned(x, position):
    """Rotary positions: channels c and c + half turn together by position / 10000^(c / half)."""
    half, out = len(x) // 2, np.empty_like(x)
    for c in range(half):
        angle = position / 10000 ** (c / half)
        out[c] = x[c] * math.cos(angle) - x[c + half] * math.sin(angle)
        out[c + half] = x[c + half] * math.cos(angle) + x[c] * math.sin(angle)
    return out


def plain_llama(weights, vectors, layers):
    """Llama over vectors [T][w]: norm, causal attention with rotary positions, norm, SiLU-gated feed-forward."""
    width = D // HEADS
    x = [np.asarray(one, dtype=np.float64) for one in vectors]
    for layer in range(layers):
        w = {name.split(f"layers.{layer}.")[1]: v for name, v in weights.items() if f"layers.{layer}." in name}
        normed = [plain_norm(one, w["input_layernorm.weight"]) for one in x]
        q, k, v = ([w[f"self_attn.{part}_proj.weight"] @ one for one in normed] for part in "qkv")
        for t in range(len(x)):
            read = np.zeros(D)
            for h in range(HEADS):
                part = slice(h * width, (h + 1) * width)
                query = plain_turned(q[t][part], t)
                logits = [query @ plain_turned(k[s][part], s) / math.sqrt(width) for s in range(t + 1)]
                shares = np.exp(np.array(logits) - max(logits))
                for s, share in enumerate(shares / shares.sum()):
                    read[part] += share * v[s][part]
            x[t] = x[t] + w["self_attn.o_proj.weight"] @ read
            inner = plain_norm(x[t], w["post_attention_layernorm.weight"])
            gate = w["mlp.gate_proj.weight"] @ inner
            x[t] = x[t] + w["mlp.down_proj.weight"] @ (gate / (1 + np.exp(-gate)) * (w["mlp.up_proj.weight"] @ inner))
    return [plain_norm(one, weights["norm.weight"]) for one in x]


def stated(model, items):
    """(hidden [T, d], scores [T, V - 1]) of one history."""
    w = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def llm(prefix):
        return {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}

    vectors = []
    for row in w["items.tokens"].astype(int)[1:]:
        text = [w["items.tower.embedding.weight"][token - 1] for token in row if token > 0]
        if model.config.pooling == "token":
            text = [*text, w["items.tower.item_token"]]
        out = plain_llama(llm("items.tower.decoder.model."), text, model.config.item_layers)
        vectors.append(out[-1] if model.config.pooling == "token" else np.mean(out, axis=0))
    hidden = plain_llama(llm("user_llm.model."), [vectors[item - 1] for item in items], model.config.n_layers)
    hidden = np.stack([one / np.linalg.norm(one) for one in hidden])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return hidden, math.exp(w["logit_scale"]) * hidden @ (np.stack(vectors) / lengths).T


@pytest.mark.parametrize("pooling", ["token", "mean"])
@pytest.mark.parametrize("preset", HLLM.presets)
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, pooling):
    """The public code (bytedance/HLLM at 2deed17, float32, its own Llama without flash attention, one text a call,
    histories padded on the left as it does), run with the weights of the preset reference, gave item vectors to 2.0e-7,
    hidden states to 1.5e-7 and scores to 4.8e-7; its NCE of 3.3609157 against the same drawn items, to 4.8e-7."""
    model, whole = made(preset, std=0.3, pooling=pooling, item_layers=2).double(), batch()
    with torch.no_grad():
        hidden = model(whole)
        scores = model.scores(hidden)
    for row in range(3):
        wanted, logits = stated(model, whole.items[row].tolist())
        np.testing.assert_allclose(hidden[row].numpy(), wanted, rtol=0, atol=1e-6)
        np.testing.assert_allclose(scores[row, :, 1:].numpy(), logits, rtol=0, atol=1e-5)


def test_the_reference_loss_is_the_published_one():
    """Cosines over a learnt temperature, against drawn items whose cosine to the target is at most .99."""
    model, whole = made("reference", std=0.3, negatives=20), batch()
    model.items.tokens[3] = model.items.tokens[4]  # a twin, which must not stand against the other
    targets, weights = whole.items.flatten(), torch.rand(21, generator=torch.Generator().manual_seed(2))
    hidden = model(whole).flatten(0, 1)
    torch.manual_seed(5)
    loss = model.own_loss(hidden, targets, weights)
    torch.manual_seed(5)
    drawn = torch.randint(1, ITEMS + 1, (20,)).tolist()
    table = model.item_table().detach().double().numpy()
    unit = table[1:] / np.linalg.norm(table[1:], axis=1, keepdims=True)
    total, left_out = 0.0, 0
    for h, y, weight in zip(hidden.detach().double().numpy(), targets.tolist(), weights.tolist(), strict=True):
        against = [item for item in drawn if unit[y - 1] @ unit[item - 1] <= 0.99]
        left_out += len(drawn) - len(against) - drawn.count(y)
        logits = math.exp(1.5) * np.array([h @ unit[item - 1] for item in (y, *against)])
        total += weight * (np.log(np.exp(logits).sum()) - logits[0])
    assert left_out > 0
    assert float(loss.detach()) == pytest.approx(total / float(weights.sum()), abs=1e-5)
    assert made("fixed").own_loss(hidden, targets, weights) is None


def test_the_reference_loss_learns_where_every_negative_is_left_out():
    model, whole = made("reference").train(), batch()
    model.items.tokens[1:] = model.items.tokens[1]
    loss = model.own_loss(model(whole).flatten(0, 1), whole.items.flatten(), torch.ones(21))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)


def test_the_temperature_stays_within_its_published_bounds():
    model = made().train()
    for value, wanted in ((9.0, 100.0), (-3.0, 1.0)):
        torch.nn.init.constant_(model.logit_scale, value)
        lengths = model.output_embedding()[0][1:].norm(dim=1)
        torch.testing.assert_close(lengths, torch.full((ITEMS,), wanted))
    lengths.sum().backward()
    assert model.logit_scale.grad != 0


def test_of_a_large_catalogue_only_the_items_of_a_step_are_read(monkeypatch):
    model, whole = made("reference", negatives=2).train(), batch(steps=2, rows=1)

    def loss():
        torch.manual_seed(3)
        return model.own_loss(model(whole).flatten(0, 1), whole.items.flatten(), torch.ones(2))

    wanted, read = loss(), reads(model)
    monkeypatch.setattr(module, "_ALL_AT_ONCE", 5)
    torch.testing.assert_close(loss(), wanted)
    assert 0 < max(read) < ITEMS


# Vectors made once


def reads(model):
    """Rows of each reading of texts from now on."""
    rows, tower = [], model.items.tower
    plain = type(tower).forward

    def counted(self, tokens):
        rows.append(len(tokens))
        return plain(self, tokens)

    tower.forward = MethodType(counted, tower)
    return rows


def test_the_texts_are_read_once_a_training_step():
    model, whole = made().train(), batch()
    read, optimizer = reads(model), torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    tables = []
    for _ in range(3):
        hidden = model(whole)
        weight, _ = model.output_embedding()
        (hidden.flatten(0, 1) @ weight.T).square().mean().backward()
        tables.append(weight.detach())
        optimizer.step()
        optimizer.zero_grad()
    assert read == [ITEMS] * 3
    assert not torch.allclose(tables[0], tables[1])
    assert not torch.allclose(tables[1], tables[2])


def test_the_texts_are_read_once_for_any_number_of_answers():
    model, whole = made().requires_grad_(False), batch()
    read = reads(model)
    for _ in range(3):
        model.scores(model(whole))
        model.trace(whole)
    assert read == [ITEMS]


@pytest.mark.parametrize("change", ["weights", "step", "load", "type", "mode", "texts"])
def test_kept_vectors_are_made_anew_after_a_change_of(change):
    model, other = made(), made(std=0.1)
    with torch.no_grad():
        before = model.item_table()
        if change == "weights":
            model.items.tower.item_token.add_(1)
        if change == "step":  # a fused optimizer leaves no mark on the weights it changes
            with torch.enable_grad():
                model(batch()).sum().backward()
            torch.optim.AdamW(model.parameters(), lr=0.1, fused=True).step()
        if change == "load":
            model.load_state_dict(other.state_dict())
        if change == "type":
            model.double()
        if change == "mode":
            model.train().eval()
        if change == "texts":
            model.read_catalog(catalog(TITLES[::-1]))
        after = model.item_table()
    assert after is not before
    assert (change in ("type", "mode")) == torch.allclose(after.float(), before, atol=1e-5)


def test_vectors_made_without_gradients_may_meet_them_later():
    model, whole = made().requires_grad_(False), batch()
    with torch.inference_mode():
        model.scores(model(whole))
    embeddings = model.embed(whole.items).clone().requires_grad_()
    hidden = model.encode(embeddings, whole.mask, whole.times)
    model.scores(hidden)[:, -1, 1].sum().backward()
    assert embeddings.grad.abs().amax(dim=(0, 2)).min() > 0


def test_a_model_can_be_copied_in_the_middle_of_a_step():
    model, whole = made().train(), batch()
    model(whole)
    twin = copy.deepcopy(model).eval()
    torch.testing.assert_close(twin(whole), model.eval()(whole))


# Texts


def test_an_item_is_its_text_and_not_its_number():
    """The same titles in another order: the vectors move with them."""
    model = made(std=0.1)
    before = model.item_table()[1:]
    model.read_catalog(catalog(TITLES[::-1]))
    torch.testing.assert_close(model.item_table()[1:], before.flip(0))


def test_a_text_outside_the_catalogue_has_a_vector_too():
    model = made(std=0.1)
    torch.testing.assert_close(model.text_vectors(TITLES), model.item_table()[1:])
    new = model.text_vectors(["Tripod", "A thing nobody named: ☂"])
    assert torch.isfinite(new).all()
    assert not torch.allclose(new[0], new[1])


def test_the_words_of_an_item_are_those_of_its_text():
    model = made(text_tokens=3, vocab=600)
    assert "".join(model.words(2)) == "Camerastrap"
    assert model.words(1) == ["Tripod"]
    assert made(read=False).words(1) == []


def test_columns_are_named_where_several_make_the_text():
    aisles = ["cameras"] * 5 + ["camping"] * 4
    model = made(read=False, text="title, aisle", text_tokens=40, prompt="An item:")
    model.read_catalog(catalog(aisle=aisles))
    alone = made(read=False, text_tokens=40, prompt="An item:")
    alone.read_catalog(catalog([f"title: {t}, aisle: {a}" for t, a in zip(TITLES, aisles, strict=True)]))
    assert model.config.texts == alone.config.texts
    assert torch.equal(model.items.tokens, alone.items.tokens)


def test_an_item_without_a_title_is_read_by_its_id():
    model = made(read=False)
    model.read_catalog(catalog(["", *TITLES[1:]]))
    assert "".join(model.words(1)) == "i001"


def test_a_catalogue_without_texts_is_an_error_that_says_what_it_has():
    with pytest.raises(ConfigError, match=r"no 'title'.*it has ids alone.*--model.text id"):
        made(read=False).read_catalog(catalog(None))
    with pytest.raises(ConfigError, match=r"no 'title'.*it has aisle"):
        made(read=False).read_catalog(catalog(None, aisle=["a"] * ITEMS))
    with pytest.raises(ConfigError, match=r"no 'plot'.*it has title"):
        made(read=False, text="plot").read_catalog(catalog())
    with pytest.raises(DataError, match=r"no item has a text"):
        made(read=False).read_catalog(catalog([""] * ITEMS))
    with pytest.raises(ConfigError, match="names no column"):
        made(read=False, text=" ,").read_catalog(catalog())
    with pytest.raises(ConfigError, match="9 items, n_items is 5"):
        made(read=False, n_items=5).read_catalog(catalog())


def test_ids_are_read_as_words_only_where_asked_for():
    model = made(read=False, text="id")
    model.read_catalog(catalog(None))
    assert "".join(model.words(3)) == "i003"


def test_a_trace_says_which_texts_stand_for_the_items():
    numbers, plain = made(read=False).trace(batch()), made().trace(batch())
    assert any("read no catalogue" in note for note in numbers.notes)
    assert not any("catalogue" in note or "tie" in note for note in plain.notes)
    short = made(text_tokens=3)
    full = sum(len(short.words(item)) == 3 for item in range(1, ITEMS + 1))
    assert any(f"end after 3 tokens: {full} of them" in note for note in short.trace(batch()).notes)
    twins = made(read=False)
    twins.read_catalog(catalog([*TITLES[:-2], "Map", "Map"]))
    assert any("tie: 2 of them" in note for note in twins.trace(batch()).notes)


def test_the_same_texts_make_the_same_tokenizer():
    assert torch.equal(made().items.tokenizer, made().items.tokenizer)


# Runs


def run_of(model, folder):
    return save_run(folder, model, catalog(), train={}, data=DATA, metrics={})


def test_a_run_folder_holds_the_texts_that_were_read(tmp_path):
    model = made(std=0.1)
    loaded = load_run(run_of(model, tmp_path / "run")).model
    assert loaded.config == model.config
    assert loaded.words(4) == model.words(4)
    torch.testing.assert_close(loaded.text_vectors(["Tent"]), model.text_vectors(["Tent"]))


def test_tokens_that_the_weights_lack_are_refused(tmp_path):
    model = made()
    model.items.tokens[1, 0] = 301
    with pytest.raises(CheckpointError, match="do not fit the item LLM"):
        load_run(run_of(model, tmp_path / "run"))


def test_of_a_frozen_item_model_a_run_keeps_the_vectors_alone(tmp_path):
    model, whole = made(item_weights="frozen"), batch()
    assert not model.keeps_texts
    assert {name for name in model.state_dict() if name.startswith("items.")} == {"items.vectors", "items.tokenizer"}
    assert not any(name.startswith("items.") for name, _ in model.named_parameters())
    assert len(model.items.tokenizer) == 0
    before = model.item_table()
    model.read_catalog(catalog(TITLES[::-1]))
    torch.testing.assert_close(model.item_table()[1:], before[1:].flip(0))
    loaded = load_run(run_of(model, tmp_path / "run")).model
    with torch.no_grad():
        torch.testing.assert_close(loaded.scores(loaded(whole)), model.scores(model(whole)))
    with pytest.raises(ConfigError, match="keeps only the vectors"):
        loaded.read_catalog(catalog())


def test_a_frozen_user_model_is_not_trained():
    model = made(user_weights="frozen")
    assert {name.split(".")[0] for name, one in model.named_parameters() if one.requires_grad} == {
        "items",
        "logit_scale",
    }


# Positions of a caller's own


@pytest.mark.parametrize("cut", [3, 7])
def test_reading_in_pieces_under_a_plain_mask_is_reading_at_once(cut):
    model, whole = made(std=0.1), batch()
    plain = Segments(events=100, tokens=1, count=1)
    embeddings, state, pieces = model.embed(whole.items), model.held_slots(3), []
    for begin, end in ((0, cut), (cut, 7)):
        if begin < end:
            slots = plain.read(torch.arange(begin, end), torch.arange(begin))
            piece, state = model.read_slots(state, embeddings[:, begin:end], whole.times[:, begin:end], slots)
            pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(whole), rtol=0, atol=1e-5)
    assert all(value.shape[:2] == (3, 7) for value in state.values())


def test_a_source_that_the_mask_hides_moves_nothing():
    model, whole = made(std=0.1), batch(steps=6)
    layout = Segments(events=2, tokens=1, count=1)  # slots: 2 events, a token, 3 events
    slots = layout.read(torch.arange(6), torch.arange(0))
    embeddings = model.embed(whole.items)
    moved = embeddings.clone()
    moved[:, 4] += 1
    records = [{} for _ in range(model.config.n_layers)]
    one, _ = model.read_slots(model.held_slots(3), embeddings, whole.times, slots, records)
    other, _ = model.read_slots(model.held_slots(3), moved, whole.times, slots)
    torch.testing.assert_close(one[:, :4], other[:, :4], rtol=0, atol=1e-6)
    assert not torch.allclose(one[:, 4], other[:, 4])
    for record in records:
        assert (record["mix"][:, :, ~slots.visible] == 0).all()
        assert record["out"].shape == (3, 6, D)


# The package


def test_parameters_are_counted_without_building():
    for fields in ({}, {"pooling": "mean"}, {"item_weights": "frozen"}, {"n_layers": 3, "item_layers": 2, "d": 24}):
        model = made(**fields)
        assert HLLM.count_parameters(model.config) == model.n_parameters()


def test_without_the_package_the_error_names_the_command_and_counting_goes_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    config = HLLMConfig(n_items=ITEMS)
    with pytest.raises(ConfigError, match='pip install "transformers'):
        HLLM(config)
    assert HLLM.count_parameters(config) == 216_641


def test_the_registry_is_read_without_importing_the_package():
    code = "import sys, recblr.backbones as b; b.backbone('hllm'); sys.exit('transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"heads": 3}, "d / heads must be whole and even"),
        ({"d": 6, "heads": 2}, "d / heads must be whole and even"),
        ({"vocab": 256}, "vocab is 256: it must be at least 257"),
        ({"text_tokens": 0}, "text_tokens is 0"),
        ({"same_item": 0.0}, "same_item is 0.0"),
        ({"item_llm": " "}, "item_llm is empty"),
    ],
)
def test_a_setting_out_of_range_is_an_error_that_says_the_range(fields, said):
    with pytest.raises(ConfigError, match=said):
        replace(HLLMConfig(n_items=ITEMS), **fields)
