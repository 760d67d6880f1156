"""A backbone beside a plain statement of its equations, on histories of several lengths, for several tests."""

import numpy as np
import torch

from recblr.backbones import Batch, make_config

ITEMS, LENGTHS = 11, (9, 5, 1)


def made(cls, preset="fixed", *, kept=(), std=0.5, **fields):
    """A model in float64 with weights large enough that every term counts; `kept` ends the names of those that stay."""
    torch.manual_seed(0)
    model = cls(make_config(cls, preset, **{"n_items": ITEMS, "d": 6, "max_len": 12, **fields})).double().eval()
    for name, parameter in model.named_parameters():
        if not name.endswith(tuple(kept)):
            torch.nn.init.normal_(parameter, mean=float(name.endswith("norm.weight")), std=std)
    model.clear_padding_row()
    return model


def ragged(lengths=LENGTHS):
    """One batch of histories of these lengths, padded on the right."""
    items = torch.randint(1, ITEMS + 1, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(1))
    items[torch.arange(max(lengths)) >= torch.tensor(lengths).unsqueeze(1)] = 0
    return Batch(items=items, times=torch.zeros_like(items))


def check(model, stated):
    """Hidden states and scores of every item are those of `stated(items)`: [T, d] for the events of one history."""
    whole = ragged()
    with torch.no_grad():
        hidden = model(whole)
        scores = model.scores(hidden).numpy()
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    for row, length in enumerate(LENGTHS):
        wanted = np.stack(stated(whole.items[row, :length].tolist()))
        np.testing.assert_allclose(hidden[row, :length].numpy(), wanted, rtol=0, atol=1e-6)
        logits = wanted @ w["item_embedding.weight"].T + w.get("item_bias", 0)
        if model.preset != "reference":
            logits[:, 0] = -np.inf  # padding is an item of the softmax only as published
        np.testing.assert_allclose(scores[row, :length], logits, rtol=0, atol=1e-6)
