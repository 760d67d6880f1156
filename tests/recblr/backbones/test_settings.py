"""What the published backbones are set to and start from: their settings, their initial weights, their dropout.

Each table is complete for the backbones that it names: a preset, a setting, a parameter or a dropout that it lacks
fails a test. A backbone of one's own needs no row here.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest
import torch
from torch.nn.functional import softplus

from recblr.backbones import REGISTRY, Batch, make_config
from recblr.backbones.deltanet import DeltaNet
from recblr.layers import attention, decoder
from recblr.layers.dropout import Dropout


def every(value):
    """The same for every preset."""
    return defaultdict(lambda: value)


# Settings

ML_1M = {"max_len": 200, "d": 64, "n_layers": 2, "dropout": 0.2}
"""Of all backbones alike, those of the compared papers on ML-1M; TiSASRec and HSTU have d = 50 there, SSD4Rec 256."""
BLOCK = {"expand": 2, "conv": 4}
SSD = {**BLOCK, "heads": 4, "state": 32}
SSD4REC = {**SSD, "beta": 0.1, "embedding_norm": True, "pad_class": False}
TIM4REC = {**SSD, "time_dropout": 0.2, "point_gate": False, "pad_class": False}
TIM4REC |= {"conv_init": "uniform", "single_residual": True}
TINY = {"item_llm": "tiny", "user_llm": "tiny", "item_layers": 1, "heads": 2, "vocab": 1024}
TEXT = {"text": "title", "text_tokens": 16, "prompt": "", "pooling": "token"}
NCE = {"negatives": 512, "same_item": 0.99}
FILLED_IN = {"item_architecture": "", "user_architecture": "", "texts": ""}
TRAINED = {"item_weights": "trained", "user_weights": "trained"}
HLLM = {"dropout": 0.1, **TINY, **TRAINED, **TEXT, **NCE, **FILLED_IN}
PERSREC = {"inner_config": {}, "tokens": 4, "segment": None, "segments": 4, "boundary": "next"}
TISASREC = {"heads": 1, "time_span": 256, "unit_seconds": 3600}
GRU4REC = {"n_layers": 1, "dropout": 0.3, "hidden": 128}

SETTINGS = {
    "recblr": {  # the published configuration for ML-1M
        "fixed": {**BLOCK, "decay_init": "uniform", "warm_up": False, "eps": 0.0, "pad_class": False},
        "reference": {**BLOCK, "decay_init": "linspace", "warm_up": True, "eps": 1e-8, "pad_class": True},
    },
    "tbdlru": {"fixed": {**BLOCK, "tau0_seconds": 86_400.0}},
    "lrurec": {
        "fixed": {"r_min": 0.8, "r_max": 0.99, "pad_class": False},
        "reference": {"r_min": 0.8, "r_max": 0.99, "pad_class": True},
    },
    "mamba4rec": {  # published with 1 layer, and run with 2 where TiM4Rec compares with it
        "fixed": {**BLOCK, "state": 32, "dt_init": "native", "single_residual": True, "pad_class": False},
        "reference": {**BLOCK, "state": 32, "dt_init": "overwritten", "single_residual": False, "pad_class": True},
    },
    "ssd4rec": {
        "fixed": {**SSD4REC, "direction": "forward", "input_mask": 0.0},
        "reference": SSD4REC  # with the published heads of 16 channels
        | {"direction": "both", "input_mask": 0.1, "heads": 8, "state": 64, "pad_class": True},
    },
    "tim4rec": {  # the published configuration for ML-1M at d = 64
        "fixed": {**TIM4REC, "time": "causal"},
        "reference": TIM4REC
        | {"time": "published", "conv_init": "kaiming", "single_residual": False, "pad_class": True},
        "untimed": {**TIM4REC, "time": "off"},
    },
    "sasrec": {"fixed": {"heads": 2, "pad_class": False}, "reference": {"heads": 2, "pad_class": True}},
    "tisasrec": {"fixed": {**TISASREC, "unit": "prefix"}, "reference": {**TISASREC, "unit": "published"}},
    "hstu": {
        "fixed": {"heads": 1, "query_time": "last", "divide_by": "visible", "temperature": 0.05},
        "reference": {"heads": 1, "query_time": "target", "divide_by": "max_len", "temperature": 0.05},
    },
    "hllm": {  # the published negatives on Books and limit of sameness; a tiny pair of LLMs
        "fixed": {**HLLM, "objective": "softmax"},
        "reference": {**HLLM, "objective": "nce", "dropout": 0.0},
    },
    "persrec": {  # the published tokens of a segment
        "fixed": {**PERSREC, "inner": "hstu"},
        "reference": {**PERSREC, "inner": "hstu-plain", "boundary": "token"},
        "hllm": {**PERSREC, "inner": "hllm"},
        "sasrec": {**PERSREC, "inner": "sasrec"},
        "recblr": {**PERSREC, "inner": "recblr", "tokens": 0},
    },
    "mingru": {
        "fixed": {**BLOCK, "candidate": "linear", "gate_init": "chrono"},
        "positive": {**BLOCK, "candidate": "positive", "gate_init": "chrono"},
    },
    "deltanet": {
        "fixed": {**BLOCK, "heads": 4, "key": 32, "gated": True},
        "ungated": {**BLOCK, "heads": 4, "key": 32, "gated": False},
    },
    "gru4rec": {  # RecBole's defaults
        "fixed": {**GRU4REC, "biases": "chrono", "pad_class": False},
        "reference": {**GRU4REC, "biases": "none", "pad_class": True},
    },
}
"""Of each preset, all that differs from `ML_1M` or is a backbone's own."""
CASES = [(name, preset) for name in SETTINGS for preset in REGISTRY[name].presets]


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_preset_has_the_stated_settings_and_no_others(name, preset):
    assert asdict(make_config(REGISTRY[name], preset, n_items=7)) == {"n_items": 7, **ML_1M, **SETTINGS[name][preset]}


# Initial weights


@dataclass(frozen=True, kw_only=True)
class Law:
    """How a kind of parameter is drawn: what `standard` makes of it has these moments and lies between these ends."""

    standard: Callable[[torch.Tensor], torch.Tensor]
    mean: float = 0.0
    std: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    def check(self, name, parameter, *, without_padding):
        values = self.standard(parameter.detach().double())
        values = (values[1:] if without_padding else values).flatten()
        n = len(values)  # five standard errors and a rounding are allowed
        assert self.low - 1e-5 <= values.min() <= values.max() <= self.high + 1e-5, name
        assert abs(values.mean() - self.mean) <= 5 * self.std / n**0.5 + 1e-5, name
        assert abs(values.std(correction=0) - self.std) <= 5 * self.std / (2 * n) ** 0.5 + 1e-5, name


def constant(value, of=lambda p: p):
    return Law(standard=lambda p: of(p) - value, low=0, high=0)


def uniform(low, high, of=lambda p: p):
    """`of` the parameter lies evenly between the ends, drawn or spaced."""
    return Law(standard=lambda p: (of(p) - low) / (high - low), mean=0.5, std=12**-0.5, low=0, high=1)


def normal(std):
    return Law(standard=lambda p: p / std, std=1)


def truncated(std):
    """Cut at two standard deviations, which leaves .880 of one."""
    return Law(standard=lambda p: p / std, std=0.8796, low=-2, high=2)


XAVIER_UNIFORM = Law(standard=lambda p: p / (6 / sum(p.shape)) ** 0.5, std=3**-0.5, low=-1, high=1)
XAVIER_NORMAL = Law(standard=lambda p: p / (2 / sum(p.shape)) ** 0.5, std=1)
KAIMING = Law(standard=lambda p: p / (2 / p.numel()) ** 0.5, std=1)
"""By the fan out of a convolution [channels, taps], before a ReLU."""

ITEMS, D, LENGTH = 60, 64, 40
CHRONO = uniform(1, LENGTH - 1, of=lambda p: p.exp())
"""Of a bias under a sigmoid that keeps: memories of 2 to `LENGTH` events."""


def decay(p):
    return torch.exp(-softplus(p))


def chunk(law, n, of):
    """The law of the n-th of so many equal parts."""
    return Law(**{**vars(law), "standard": lambda p: law.standard(p.chunk(of)[n])})


RECBOLE = {  # and torch's own convolutions of 4 taps
    r".*norm\.weight": constant(1),
    r".*norm\.bias": constant(0),
    r".*conv\.(weight|bias)": uniform(-0.5, 0.5),
    r".*\.bias": constant(0),
    r".*\.weight": normal(0.02),
}
STEPS = uniform(math.log(0.001), math.log(0.1), of=lambda p: softplus(p).log())
STATE_SPACE = {
    r".*A_log": uniform(1, 16, of=lambda p: p.exp()),
    r".*dt_bias": STEPS,
    r".*(\.D|norm_weight)": constant(1),
}
MAMBA = {r".*\.A_log": constant(0, of=lambda p: p.exp() - torch.arange(1, p.shape[1] + 1)), r".*\.D": constant(1)}
IDENTITY = (constant(0, of=lambda p: p[:, :-1]), constant(1, of=lambda p: p[:, -1]))
RECBLR = {r".*\.lam": uniform(0.9, 0.999, of=decay), **RECBOLE}
MINGRU = {r".*\.gates\.bias": (chunk(uniform(1, LENGTH - 1, of=lambda p: (-p).exp()), 0, 2), chunk(constant(0), 1, 2))}
GRU = {
    r"item_embedding\.weight": XAVIER_NORMAL,
    r"gru\.weight.*": XAVIER_UNIFORM,
    r"gru\.bias_ih.*": (chunk(constant(0), 0, 3), chunk(CHRONO, 1, 3), chunk(constant(0), 2, 3)),
    r"gru\.bias_hh.*": constant(0),
    r"dense.*": uniform(-(128**-0.5), 128**-0.5),
}
HSTU = {
    r".*item_embedding\.weight": truncated(0.02),
    r".*positions\.weight": truncated(D**-0.5),
    r".*(position|time)_bias": normal(0.02),
    r".*project_in\.weight": normal(0.02),
    r".*project_out\.weight": XAVIER_UNIFORM,
    r".*project_out\.bias": uniform(-(D**-0.5), D**-0.5),
}
LLAMA = {r".*logit_scale": constant(math.log(1 / 0.07)), r".*item_token": normal(0.02), **RECBOLE}
TOKENS = {r"tokens\.weight": truncated(0.02)}

LAWS = {
    "recblr": {
        "fixed": RECBLR,
        "reference": {r".*\.lam": uniform(-2.1972, -6.9068, of=lambda p: p), **RECBOLE},
    },
    "tbdlru": {"fixed": {r".*\.w": uniform(-1, 1, of=lambda p: softplus(p).log10()), **RECBLR}},
    "lrurec": every(
        {
            r".*log_nu": uniform(0.8**2, 0.99**2, of=lambda p: torch.exp(-2 * p.exp())),
            r".*log_theta": uniform(0, 2 * math.pi, of=lambda p: p.exp()),
            r".*log_gamma": uniform(1 - 0.99**2, 1 - 0.8**2, of=lambda p: torch.exp(2 * p)),
            r".*norm\.weight": constant(1),
            r".*norm\.bias": constant(0),
            r".*": truncated(0.02),
        }
    ),
    "mamba4rec": {
        "fixed": {r".*step_size\.weight": uniform(-0.5, 0.5), r".*step_size\.bias": STEPS, **MAMBA, **RECBOLE},
        "reference": {**MAMBA, **RECBOLE},
    },
    "ssd4rec": every({**STATE_SPACE, **RECBOLE}),
    "tim4rec": {
        "fixed": {
            r"gain": uniform(0, 2, of=torch.log2),
            r"bias|first": constant(0),
            r".*branch\.gain": constant(1),
            r".*branch\.(first|second)_conv\.weight": IDENTITY,
            r".*branch\.(first|second)_conv\.bias": constant(0),
            r".*branch\.scale_out\.bias": constant(1),
            **STATE_SPACE,
            **RECBOLE,
        },
        "reference": {r".*conv\.weight": KAIMING, r".*conv\.bias": constant(0), **STATE_SPACE, **RECBOLE},
        "untimed": {**STATE_SPACE, **RECBOLE},
    },
    "sasrec": every(RECBOLE),
    "tisasrec": every(
        {
            r".*norm\.weight": constant(1),
            r".*norm\.bias": constant(0),
            r".*\.bias": uniform(-(D**-0.5), D**-0.5),
            r".*": XAVIER_UNIFORM,
        }
    ),
    "hstu": every(HSTU),
    "hllm": every(LLAMA),
    "persrec": {
        "fixed": {**TOKENS, **HSTU},
        "reference": {**TOKENS, **HSTU, r".*positions\.weight": truncated(0.02)},
        "hllm": {r"tokens\.weight": normal(1), **LLAMA},
        "sasrec": {**TOKENS, **RECBOLE},
        "recblr": RECBLR,
    },
    "mingru": every({**MINGRU, **RECBOLE}),
    "deltanet": every({**STATE_SPACE, **RECBOLE}),
    "gru4rec": every(GRU),
}
"""Of each preset, the law of every parameter: the first pattern that its name matches."""


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_every_parameter_starts_by_its_law(name, preset):
    cls, sizes = REGISTRY[name], {}
    if "heads" in SETTINGS[name][preset]:
        sizes["heads"] = 16  # enough of what there is one a head of
    torch.manual_seed(0)
    model = cls(make_config(cls, preset, n_items=ITEMS, d=D, max_len=LENGTH, n_layers=2, **sizes))
    for parameter_name, parameter in model.named_parameters():
        laws = next(law for pattern, law in LAWS[name][preset].items() if re.fullmatch(pattern, parameter_name))
        no_padding = parameter_name.endswith("item_embedding.weight") and not model.pad_class
        assert not no_padding or not parameter[0].any()
        for law in laws if isinstance(laws, tuple) else (laws,):
            law.check(parameter_name, parameter, without_padding=no_padding)


def test_keys_of_deltanet_have_length_one_however_small_the_weights_are():
    torch.manual_seed(0)
    mixer = DeltaNet(make_config(DeltaNet, n_items=ITEMS)).layers[0].mixer
    with torch.no_grad():
        for parameter in (mixer.conv.weight, mixer.conv.bias):
            parameter.mul_(1e-3)
        record = {}
        mixer(torch.randn(2, 9, 64), record)
    for vectors in (record["keys"], record["queries"]):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 9, 4, 1))


# Dropout

RATE, TIME_RATE = 0.25, 0.5


def stack(embedding=1, inner=True):
    """Places of the layers that the compared backbones share, and how often each is passed."""
    places = {"dropout": embedding}
    for n in (0, 1):
        places |= {f"layers.{n}.dropout": 1, f"layers.{n}.feed_forward.dropout": 1}
        if inner:
            places[f"layers.{n}.feed_forward.inner_dropout"] = 1
    return places


def inside(places):
    """Of a backbone that another one wraps."""
    return {name if name == "attention" else f"inner.{name}": times for name, times in places.items()}


STACK = every(stack())
SASREC = {**stack(inner=False), "attention": 2}
HSTU_LAYERS = {"layers.0.dropout": 1, "layers.1.dropout": 1}
BRANCH = {"layers.0.branch.dropout": 2, "layers.1.branch.dropout": 1}  # scale and gate; the last layer has no gate
LLM = {"dropout": 1, "attention": 2}
INTERVALS = {"dropout": 1 + 4}  # embeddings, and tables of keys and values for places and intervals
for n in (0, 1):
    INTERVALS |= {f"layers.{n}.attention.dropout": 1, f"layers.{n}.dropout": 2}

PLACES = {
    **dict.fromkeys(("recblr", "tbdlru", "lrurec", "mamba4rec", "mingru", "deltanet"), STACK),
    "ssd4rec": {"fixed": stack(), "reference": {"dropout": 1, "layers.0.dropout": 3, "layers.1.dropout": 3}},
    "tim4rec": {
        "fixed": {**stack(), **BRANCH},
        "reference": {**stack(embedding=2), **BRANCH},  # embeddings and gaps
        "untimed": stack(),
    },
    "sasrec": every(SASREC),
    "tisasrec": every(INTERVALS),
    "hstu": every({"dropout": 1, **HSTU_LAYERS}),
    "hllm": every(LLM),
    "persrec": {
        "fixed": inside({"dropout": 1, **HSTU_LAYERS}),
        "reference": inside(HSTU_LAYERS),
        "hllm": inside(LLM),
        "sasrec": inside(SASREC),
        "recblr": inside(stack()),
    },
    "gru4rec": every({"dropout": 1}),
}
"""Of each preset, every dropout that one reading of a history passes, by the module's name, and how often."""


class Spy:
    """Stands in for every dropout: notes (place, rate) of each that would act, and lets only one act, or none."""

    def __init__(self, model, monkeypatch):
        self.names = {part: name for name, part in model.named_modules() if isinstance(part, Dropout)}
        self.acting, self.passed = None, []
        monkeypatch.setattr(Dropout, "forward", lambda part, x: self.drop(part, x))
        for module in (attention, decoder):
            real = module.scaled_dot_product_attention
            monkeypatch.setattr(module, "scaled_dot_product_attention", self.attending(real))

    def acts(self, place, rate):
        self.passed.append((place, rate))
        return len(self.passed) - 1 == self.acting

    def drop(self, part, x):
        if not part.training or part.rate == 0:
            return x
        return x * (torch.rand(x.shape) < 0.5) if self.acts(self.names[part], part.rate) else x

    def attending(self, real):
        def attend(*tensors, dropout_p=0.0, **how):
            acts = dropout_p > 0 and self.acts("attention", dropout_p)
            return real(*tensors, dropout_p=0.5 if acts else 0.0, **how)

        return attend

    def read(self, model, acting=None):
        """Hidden states of a batch, with that dropout alone."""
        self.acting, self.passed = acting, []
        items = torch.arange(1, 17).view(2, 8)
        torch.manual_seed(1)
        with torch.no_grad():
            return model(Batch(items=items, times=1_000_000_000 + 5000 * items**2))


def with_rates(name, preset):
    """A model whose weights are so large that every part counts."""
    cls = REGISTRY[name]
    fields = {"n_items": 20, "d": 16, "max_len": 10, "n_layers": 2, "dropout": RATE}
    if name == "tim4rec":
        fields["time_dropout"] = TIME_RATE
    if name == "ssd4rec":
        fields["input_mask"] = 0.0
    torch.manual_seed(0)
    model = cls(make_config(cls, preset, **fields))
    for parameter_name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter_name.endswith("norm.weight")), std=0.4)
    return model


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_training_passes_each_stated_dropout_at_its_rate_and_evaluation_none(name, preset, monkeypatch):
    model = with_rates(name, preset)
    spy = Spy(model, monkeypatch)
    spy.read(model.eval())
    assert spy.passed == []
    spy.read(model.train())
    rates = {place: TIME_RATE if ".branch." in place else RATE for place in PLACES[name][preset]}
    assert Counter(spy.passed) == {(place, rates[place]): times for place, times in PLACES[name][preset].items()}


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_each_dropout_changes_what_is_read_and_nothing_else_in_training_does(name, preset, monkeypatch):
    model = with_rates(name, preset)
    spy = Spy(model, monkeypatch)
    sure = spy.read(model.eval())
    torch.testing.assert_close(spy.read(model.train()), sure)
    for n, (place, _) in enumerate(list(spy.passed)):
        assert (spy.read(model, acting=n) - sure).abs().max() > 1e-4, place


def test_a_dropout_drops_its_share_and_keeps_the_mean_while_training_and_does_nothing_after():
    torch.manual_seed(0)
    part, x = Dropout(RATE), torch.ones(100_000)
    dropped = part(x)
    assert (dropped == 0).double().mean() == pytest.approx(RATE, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    assert part.eval()(x) is x
