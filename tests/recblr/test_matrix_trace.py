"""Traces of matrix states are kept by their factors and written out on request."""

import dataclasses

import numpy as np
import pytest
import torch

from recblr.backbones import Batch, backbone, make_config
from recblr.matrix_trace import Factors, MatrixLayerTrace
from recblr.trace import LayerTrace

MOST = 5_000_000
"""Bytes of a layer at 200 events and d = 64."""


def arrays(rows=2, steps=6, heads=3, width=4, keys=5):
    rng = np.random.default_rng(0)
    return {
        "decay": rng.uniform(0.5, 1, (rows, steps, heads, 1, 1)),
        "write": rng.uniform(0, 1, (rows, steps, heads, 1, 1)),
        "values": rng.normal(size=(rows, steps, heads, width, 1)),
        "keys": rng.normal(size=(rows, steps, 1, 1, keys)),
        "gate": rng.normal(size=(rows, steps, heads, width, 1)),
        "queries": rng.normal(size=(rows, steps, 1, 1, keys)),
    }


def test_fields_are_written_out_of_the_factors_one_channel_for_each_number():
    given = arrays()
    layer = MatrixLayerTrace(name="one", factors=Factors(**given), out=np.zeros((2, 6, 8)))
    held = np.zeros((2, 3, 4, 5))
    for t in range(6):
        entered = given["values"][:, t] * given["keys"][:, t]
        held = given["decay"][:, t] * held + entered
        np.testing.assert_allclose(layer.entered[:, t], entered.reshape(2, -1))
        np.testing.assert_allclose(layer.state[:, t], held.reshape(2, -1))
        np.testing.assert_array_equal(layer.read[:, t], (given["gate"] * given["queries"])[:, t].reshape(2, -1))
    for name in ("decay", "write"):
        wanted = np.repeat(given[name][..., 0, 0], 20, axis=-1)
        np.testing.assert_array_equal(getattr(layer, name), wanted)
    assert layer.half_life.shape == (2, 6, 60)
    plain = LayerTrace(name="one", decay=layer.decay, entered=layer.entered)
    for row, step in ((0, 0), (0, 3), (1, 5)):
        np.testing.assert_allclose(layer.shares(row, step), plain.shares(row, step))
    assert layer.delta is None
    assert layer.mix is None
    assert layer.out.shape == (2, 6, 8)


def test_other_layers_keep_their_fields_as_they_are():
    assert LayerTrace(name="one").state is None
    state = np.ones((1, 2, 3))
    assert LayerTrace(name="one", state=state).state is state


def size(layer):
    """Bytes of what a trace keeps."""
    kept = dict(vars(layer))
    factors = kept.pop("factors", None)
    kept |= {} if factors is None else {f.name: getattr(factors, f.name) for f in dataclasses.fields(factors)}
    return sum(value.nbytes for value in kept.values() if isinstance(value, np.ndarray))


@pytest.mark.parametrize("name", ["ssd4rec", "tim4rec", "mamba4rec", "deltanet"])
def test_a_layer_of_a_long_history_stays_below_five_megabytes(name):
    cls = backbone(name)
    torch.manual_seed(0)
    model = cls(make_config(cls, n_items=50)).eval()
    items = torch.randint(1, 51, (1, 200), generator=torch.Generator().manual_seed(1))
    trace = model.trace(Batch(items=items, times=torch.arange(200).unsqueeze(0) * 3600 + 10**9))
    for layer in trace.layers:
        assert layer.state.shape == (1, 200, 4096)
        assert size(layer) < MOST
