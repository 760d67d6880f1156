"""What is particular to SASRec: the published equations, positions from the oldest event, their end."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recblr.backbones import Batch, make_config
from recblr.backbones.sasrec import SASRec
from recblr.errors import ConfigError, HistoryError

HERE = Path(__file__).parent
plain = SimpleNamespace(**runpy.run_path(str(HERE / "plain.py")))
common = SimpleNamespace(**runpy.run_path(str(HERE / "plain_check.py")))
HEADS, LENGTH = 2, 12


def made(preset="fixed", **fields):
    """With weights so large that attention is far from uniform."""
    return common.made(SASRec, preset, std=0.8, **{"heads": HEADS, "max_len": LENGTH, **fields})


def plain_attention(own, x, real):
    """Attention of one sequence, by loops over events, heads and sources; `real` says which slots are no padding."""
    q, k, v = ([plain.linear(own, name, one) for one in x] for name in ("query", "key", "value"))
    width, out = len(x[0]) // HEADS, []
    for i in range(len(x)):
        mixed = np.zeros(len(x[0]))
        for h in range(HEADS):
            part = slice(h * width, (h + 1) * width)
            logits = []
            for j in range(len(x)):
                visible = real[j] and j <= i
                logits.append(q[i][part] @ k[j][part] / math.sqrt(width) + (0 if visible else -10_000))
            powers = [math.exp(one - max(logits)) for one in logits]
            for power, offer in zip(powers, v, strict=True):
                mixed[part] += power / sum(powers) * offer[part]
        out.append(plain.linear(own, "project_out", mixed))
    return out


def stated(model, items, *, padded):
    """Hidden states of one history; `padded`: on the published right padding, which runs through all layers."""
    w = plain.weights(model)
    slots = items + [0] * (LENGTH - len(items) if padded else 0)
    entering = [w["item_embedding.weight"][v] + w["positions.weight"][t] for t, v in enumerate(slots)]
    x = [plain.norm(one, w["norm.weight"], w["norm.bias"]) for one in entering]
    for n in range(model.config.n_layers):
        own = plain.below(w, f"layers.{n}.")
        mixed = plain_attention(plain.below(own, "mixer."), x, [v > 0 for v in slots])
        x = [plain.post_norm(own, before, y, plain.gelu) for before, y in zip(x, mixed, strict=True)]
    return x[: len(items)]


@pytest.mark.parametrize("preset", SASRec.presets)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_preset_equals_a_plain_statement_of_its_equations(preset, n_layers):
    """The public code (RecBole 1.2.1 at 7b02be5, on a CPU, on its right padding), run with the weights that training
    starts from, gave the outputs of the preset reference at every event to 7.2e-7 in float32 and 1.4e-15 in float64,
    with 1 and 2 layers, on histories of 1 event up to max_len 12, 50, 64 and 200."""
    model = made(preset, n_layers=n_layers)
    common.check(model, lambda items: stated(model, items, padded=preset == "reference"))


def test_the_parameters_of_the_published_sizes_counted_by_hand():
    layer = 4 * (64 * 64 + 64) + (64 * 256 + 256) + (256 * 64 + 64) + 2 * 2 * 64
    counts = [SASRec(make_config(SASRec, n_items=3416, n_layers=n)).n_parameters() for n in (1, 2)]
    assert counts == [3417 * 64 + 200 * 64 + 2 * 64 + n * layer for n in (1, 2)]


def test_the_same_item_at_another_place_from_the_oldest_event_on_is_read_otherwise():
    model = made(n_layers=1)
    whole = Batch(items=torch.full((1, 5), 3), times=torch.zeros(1, 5, dtype=torch.int64))
    with torch.no_grad():
        hidden = model(whole)[0]
        model.positions.weight.copy_(model.positions.weight[:1].expand_as(model.positions.weight).clone())
        level = model(whole)[0]
    assert (hidden[1:] - hidden[:1]).abs().amax(dim=1).min() > 1e-2
    assert (level[1:] - level[:1]).abs().max() < 1e-12


def test_a_history_beyond_max_len_and_heads_that_do_not_divide_d_are_clear_errors():
    items = torch.ones(1, LENGTH + 1, dtype=torch.int64)
    with pytest.raises(HistoryError, match="12 positions and was given event 13"):
        made()(Batch(items=items, times=items))
    for heads in (0, 4):
        with pytest.raises(ConfigError, match=f"heads is {heads} and d is 6"):
            make_config(SASRec, n_items=3, d=6, heads=heads)
