"""Language models of `transformers` as stacks over vectors: those of a folder or the hub, and their refusals."""

import shutil
import socket
import threading
from contextlib import suppress

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers

from recblr.backbones import Batch, make_config
from recblr.backbones.hllm import HLLM
from recblr.checkpoint import load_run, save_run
from recblr.data.log import Catalog, InteractionLog
from recblr.errors import ConfigError
from recblr.explain import explain
from recblr.layers import decoder as decoder_module
from recblr.layers.decoder import Decoder, architecture_of, load_llm, rebuild_llm
from recblr.layers.holding import holding, replaying
from recblr.layers.item_texts import make_tokenizer
from recblr.training import TrainConfig, train

W, VOCAB, LAYERS = 16, 300, 2
LLAMA = {"hidden_size": W, "intermediate_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**LLAMA, vocab_size=VOCAB, num_key_value_heads=2),
    "qwen3": lambda: transformers.Qwen3Config(**LLAMA, vocab_size=VOCAB, num_key_value_heads=2, head_dim=8),
    "mistral": lambda: transformers.MistralConfig(**LLAMA, vocab_size=VOCAB, num_key_value_heads=1),
    "gpt2": lambda: transformers.GPT2Config(
        n_embd=W, n_layer=LAYERS, n_head=2, vocab_size=VOCAB, n_positions=24, bos_token_id=0, eos_token_id=0
    ),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**LLAMA, vocab_size=VOCAB),
    "opt": lambda: transformers.OPTConfig(
        hidden_size=W,
        word_embed_proj_dim=W,
        ffn_dim=24,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        vocab_size=VOCAB,
    ),
}
NOT_CAUSAL = {
    "bert": (lambda: transformers.BertConfig(**LLAMA, vocab_size=VOCAB), "also reads what comes later"),
    "gemma2": (
        lambda: transformers.Gemma2Config(**LLAMA, vocab_size=VOCAB, num_key_value_heads=1, head_dim=8),
        "caps its attention scores",
    ),
    "mamba": (
        lambda: transformers.MambaConfig(hidden_size=W, num_hidden_layers=1, vocab_size=VOCAB, state_size=4),
        "no causal LM whose attention",
    ),
}
TITLES = ["Tripod", "Camera strap", "Flash unit", "Macro lens", "Lens cap", "Tent"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Name -> a folder as a published model has it, its weights drawn at random."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=make_tokenizer(TITLES, VOCAB))
    for name, config in {**CONFIGS, **{name: config for name, (config, _) in NOT_CAUSAL.items()}}.items():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config())
        model.apply(louder)
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return root


def louder(part):
    """Weights large enough that every term counts."""
    for parameter in part.parameters(recurse=False):
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def vectors(steps=6, rows=2):
    return torch.randn(rows, steps, W, generator=torch.Generator().manual_seed(1))


def decoder(folders, name):
    return Decoder(load_llm(str(folders / name), "user_llm"), "user_llm", reads_tokens=False).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_loaded_model_gives_the_outputs_of_transformers(folders, name):
    ours, x = decoder(folders, name), vectors()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folders / name).eval()
    with torch.no_grad():
        wanted = theirs(inputs_embeds=x, output_hidden_states=True).hidden_states[-1]
        torch.testing.assert_close(ours(x), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_loaded_model_reads_on_from_its_keys_and_values(folders, name):
    ours, x = decoder(folders, name), vectors()
    with torch.no_grad():
        whole, past = ours(x), ours.no_past(2)
        for t in range(6):
            out, past = ours.extend(x[:, t : t + 1], past=past)
            torch.testing.assert_close(out[:, 0], whole[:, t], rtol=0, atol=1e-5)
        first, past = ours.extend(x[:, :2])
        rest, _ = ours.extend(x[:, 2:], past=past)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_record_has_the_attention_and_the_output_of_every_layer(folders, name):
    ours, x = decoder(folders, name), vectors()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folders / name, attn_implementation="eager").eval()
    with torch.no_grad():
        out, records = ours.record(x)
        wanted = theirs(inputs_embeds=x, output_attentions=True, output_hidden_states=True)
    torch.testing.assert_close(out, ours(x), rtol=0, atol=1e-5)
    assert len(records) == LAYERS
    for record, attention in zip(records, wanted.attentions, strict=True):
        torch.testing.assert_close(record["mix"], attention, rtol=0, atol=1e-5)
        assert record["value_norm"].shape == record["mix"].shape[:3]
        assert (record["value_norm"] > 0).all()
    torch.testing.assert_close(records[0]["out"], wanted.hidden_states[1], rtol=0, atol=1e-5)
    assert not any(part._forward_hooks for part in ours.modules())


@pytest.mark.parametrize("name", CONFIGS)
def test_a_loaded_model_held_still_is_affine_and_gives_the_same_outputs(folders, name):
    """f(2 x) - f(x) = f(x) - f(0) where all three run with the gates, attention, norms and slopes of x."""
    ours, x = decoder(folders, name), vectors()
    with torch.no_grad(), holding() as constants:
        one = ours(x)
    with torch.no_grad(), replaying(constants):
        two = ours(2 * x)
    with torch.no_grad(), replaying(constants):
        zero = ours(0 * x)
    torch.testing.assert_close(one, ours(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(two - one, one - zero, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(one, zero)


def test_a_loaded_model_whose_layers_fold_rows_and_events_together_is_held_too(folders):
    """OPT's feed-forward layers run over events without their rows."""
    model = made(folders, None, "opt").requires_grad_(False)
    found = explain(model, np.array([1, 2, 3, 4]), np.zeros(4, dtype=np.int64), target=5)
    assert found.exactness == "exact with gates held"
    assert abs(found.values.sum() + found.remainder - found.logit) < 1e-4


@pytest.mark.parametrize("name", CONFIGS)
def test_an_architecture_is_rebuilt_from_its_settings_alone(folders, name):
    model = load_llm(str(folders / name), "user_llm")
    settings = architecture_of(model)
    assert str(folders) not in settings
    again = rebuild_llm(settings, "user_llm")
    again.load_state_dict(model.state_dict())
    x = vectors()
    with torch.no_grad():
        one, other = (Decoder(each, "user_llm", reads_tokens=False).eval()(x) for each in (model, again))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NOT_CAUSAL)
def test_a_model_that_cannot_be_read_so_is_refused_by_name(folders, name):
    with pytest.raises(ConfigError, match=f"user_llm.*{NOT_CAUSAL[name][1]}"):
        decoder(folders, name)


def test_a_hub_name_while_offline_is_an_error_that_names_the_ways_out(offline):
    with pytest.raises(ConfigError, match=r"item_llm 'someone/some-model' is no folder here.*pass its folder.*tiny"):
        HLLM(make_config(HLLM, n_items=6, item_llm="someone/some-model"))


@pytest.fixture
def silent_hub(monkeypatch, tmp_path):
    """A hub that takes every call and never answers, and an empty cache; gives the calls so far."""
    calls, stop = [], threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)

    def take():
        while not stop.is_set():
            with suppress(TimeoutError):
                calls.append(server.accept()[0])

    taker = threading.Thread(target=take)
    taker.start()
    endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoder_module, "_PATIENCE", 0.2)
    yield calls
    stop.set()
    taker.join()
    for call in calls:
        call.close()
    server.close()


def test_a_hub_that_does_not_answer_is_asked_once_and_only_our_error_says_so(silent_hub, capfd):
    with pytest.raises(ConfigError, match=r"user_llm 'someone/some-model' is no folder here.*offline.*pass its folder"):
        HLLM(make_config(HLLM, n_items=6, user_llm="someone/some-model"))
    assert len(silent_hub) == 1
    assert capfd.readouterr() == ("", "")


def test_a_model_that_was_fetched_before_is_read_while_the_hub_does_not_answer(folders, tmp_path, silent_hub, capfd):
    place = tmp_path / "cache" / "models--someone--some-model"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folders / "llama", place / "snapshots" / ("0" * 40))
    model = HLLM(make_config(HLLM, n_items=6, item_llm="someone/some-model"))
    model.read_catalog(catalog())
    assert model.words(1)
    assert len(silent_hub) == 2  # for the weights and for the tokenizer
    assert capfd.readouterr() == ("", "")


def test_a_folder_without_a_model_is_an_error_that_names_it(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"user_llm '.*empty' is a folder without a causal LM"):
        HLLM(make_config(HLLM, n_items=6, user_llm=str(tmp_path / "empty")))


def test_weights_that_would_have_to_be_unpickled_are_refused(folders, tmp_path):
    (tmp_path / "config.json").write_bytes((folders / "llama" / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n.")
    with pytest.raises(ConfigError, match="without a causal LM"):
        load_llm(str(tmp_path), "item_llm")


def test_a_folder_without_a_tokenizer_is_an_error_that_says_so(folders, tmp_path, offline):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folders / "llama" / name).read_bytes())
    model = HLLM(make_config(HLLM, n_items=6, item_llm=str(tmp_path)))
    with pytest.raises(ConfigError, match="put the model's tokenizer files into its folder"):
        model.read_catalog(catalog())


def test_a_history_longer_than_the_model_reads_is_refused_when_it_is_built(folders):
    with pytest.raises(ConfigError, match="max_len is 200, user_llm reads 24 vectors at most"):
        HLLM(make_config(HLLM, n_items=6, user_llm=str(folders / "gpt2")))


# HLLM over loaded models


def catalog():
    return Catalog(ids=np.array(["", *"abcdef"]), titles=np.array(["", *TITLES]))


def made(folders, item, user, **fields):
    torch.manual_seed(0)
    sources = {key: str(folders / name) for key, name in (("item_llm", item), ("user_llm", user)) if name}
    model = HLLM(make_config(HLLM, n_items=6, d=8, max_len=20, vocab=VOCAB, **sources, **fields)).eval()
    model.read_catalog(catalog())
    return model


@pytest.mark.parametrize("weights", ["trained", "frozen"])
@pytest.mark.parametrize(("item", "user"), [("llama", None), (None, "qwen3"), ("gpt2", "mistral")])
def test_a_run_of_loaded_models_opens_where_their_folders_are_gone(folders, tmp_path, offline, item, user, weights):
    model = made(folders, item, user, item_weights=weights, user_weights=weights)
    data = {"name": "shop", "fingerprint": "0" * 12, "n_users": 1, "n_events": 1}
    folder = save_run(tmp_path / "run", model, catalog(), train={}, data=data, metrics={})
    assert str(folders) not in (folder / "config.yaml").read_text()
    items = torch.tensor([[1, 2, 3, 4], [6, 5, 0, 0]])
    batch = Batch(items=items, times=torch.zeros_like(items))
    loaded = load_run(folder).model
    assert loaded.config == model.config
    with torch.no_grad():
        torch.testing.assert_close(loaded.scores(loaded(batch)), model.scores(model(batch)))
        state = loaded.initial_state(2)
        for t in range(2):
            hidden, state = loaded.step(state, items[:, t], batch.times[:, t])
        torch.testing.assert_close(hidden, loaded(batch)[:, 1], rtol=0, atol=1e-5)
    assert loaded.trace(batch).layers[0].mix.shape[-2:] == (4, 4)


def test_the_text_of_a_loaded_model_ends_with_the_item_token(folders):
    """Item vectors of a loaded LLM: its own output after the tokens of the text and the learnt vector."""
    model = made(folders, "qwen3", None)
    llm = transformers.AutoModelForCausalLM.from_pretrained(folders / "qwen3").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "qwen3")
    with torch.no_grad():
        for row, title in enumerate(TITLES, 1):
            tokens = torch.tensor([tokenizer(title)["input_ids"]])
            x = torch.cat([llm.get_input_embeddings()(tokens), model.items.tower.item_token[None, None]], dim=1)
            wanted = llm(inputs_embeds=x, output_hidden_states=True).hidden_states[-1][0, -1]
            torch.testing.assert_close(model.item_table()[row], model.items.out(wanted), rtol=0, atol=1e-5)


def shop():
    """Users who walk through the catalogue in its order."""
    rows = [(start + np.arange(6)) % 6 + 1 for start in range(12)]
    return InteractionLog(
        name="shop",
        items=np.concatenate(rows).astype(np.int32),
        times=np.arange(72),
        offsets=np.arange(0, 73, 6),
        users=np.array([f"u{n}" for n in range(12)]),
        catalog=catalog(),
    )


QUICK = TrainConfig(epochs=2, lr=0.01, protocol="recbole", average=0.0)


@pytest.mark.parametrize(("item", "user"), [("trained", "trained"), ("frozen", "trained"), ("trained", "frozen")])
def test_a_loaded_model_is_trained_or_left_as_it_is(folders, tmp_path, item, user):
    fields = {"d": 8, "max_len": 20, "item_weights": item, "user_weights": user}
    sources = {"item_llm": str(folders / "llama"), "user_llm": str(folders / "qwen3")}
    config = make_config(HLLM, n_items=6, **fields, **sources)
    model = load_run(train("hllm", config, QUICK, shop(), tmp_path / "run")).model
    published = load_llm(sources["user_llm"], "user_llm").state_dict()
    kept = model.user_llm.model.state_dict()
    name = "layers.0.self_attn.q_proj.weight"
    assert torch.equal(kept[name], published[name]) == (user == "frozen")
    if item == "trained":
        weight = load_llm(sources["item_llm"], "item_llm").state_dict()[name]
        assert not torch.equal(model.items.tower.decoder.model.state_dict()[name], weight)
    else:
        made_at_first = made(folders, "llama", None, item_weights="frozen").items.vectors
        torch.testing.assert_close(model.items.vectors, made_at_first)


def test_titles_are_left_out_only_where_no_text_is_kept(tmp_path):
    config = make_config(HLLM, n_items=6, d=8, max_len=20, vocab=VOCAB)
    with pytest.raises(ConfigError, match=r"drop --no-titles.*frozen"):
        train("hllm", config, QUICK, shop(), tmp_path / "run", save_titles=False)
    assert not (tmp_path / "run").exists()
    frozen = make_config(HLLM, n_items=6, d=8, max_len=20, vocab=VOCAB, item_weights="frozen")
    folder = train("hllm", frozen, QUICK, shop(), tmp_path / "run", save_titles=False)
    assert not any(title.encode() in path.read_bytes() for path in folder.iterdir() for title in TITLES)
