from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recblr.backbones.base import Batch, SequentialBackbone, last_hidden, make_config
from recblr.backbones.markov import Markov
from recblr.backbones.popularity import Popularity
from recblr.data.log import Catalog, InteractionLog
from recblr.errors import CheckpointError, ConfigError, DataError, RecblrError
from recblr.evaluation import evaluate

BASELINES = pytest.mark.parametrize("cls", [Popularity, Markov])


def make_log(histories: Sequence[Sequence[int]], n_items: int = 5) -> InteractionLog:
    items = np.array([item for history in histories for item in history], dtype=np.int32)
    return InteractionLog(
        name="toy",
        items=items,
        times=np.arange(len(items), dtype=np.int64),
        offsets=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        users=np.array([f"u{user}" for user in range(len(histories))]),
        catalog=Catalog(ids=np.array(["", *(f"i{item}" for item in range(1, n_items + 1))])),
    )


LOG = make_log([[1, 2, 3, 2], [2, 3, 1], [4, 2], []])


def fitted(cls: type[Popularity], log: InteractionLog = LOG, **fields: float) -> Popularity:
    return cls(make_config(cls, n_items=log.catalog.n_items, **fields)).fit(log, log.offsets[1:])


def batch_of(*histories: Sequence[int]) -> Batch:
    width = max(map(len, histories))
    items = torch.tensor([[*history, *[0] * (width - len(history))] for history in histories])
    return Batch(items=items, times=torch.zeros_like(items))


def after(model: SequentialBackbone, *histories: Sequence[int]) -> torch.Tensor:
    batch = batch_of(*histories)
    return model.scores(last_hidden(model(batch), batch.lengths))


def test_popularity_orders_items_by_how_often_they_occur() -> None:
    scores = after(fitted(Popularity), [1])[0]
    assert LOG.items.tolist().count(2) == 4
    assert scores[1:].exp().tolist() == pytest.approx([3 / 14, 5 / 14, 3 / 14, 2 / 14, 1 / 14])
    assert scores[0] == -torch.inf


def test_popularity_reads_no_history() -> None:
    scores = after(fitted(Popularity), [1], [5, 5, 5], [3, 2])
    assert (scores == scores[0]).all()


@BASELINES
def test_only_the_training_part_is_counted(cls: type[Popularity]) -> None:
    log = make_log([[1, 2, 5], [3, 1, 5]])
    cut = cls(make_config(cls, n_items=5)).fit(log, log.offsets[1:] - 1)
    short = fitted(cls, make_log([[1, 2], [3, 1]]))
    assert torch.equal(after(cut, [1], [2], [3]), after(short, [1], [2], [3]))


@BASELINES
def test_fitting_again_forgets_what_was_counted_before(cls: type[Popularity]) -> None:
    again = fitted(cls, make_log([[5, 4, 5, 4]])).fit(LOG, LOG.offsets[1:])
    assert torch.equal(after(again, [1], [4]), after(fitted(cls), [1], [4]))


@BASELINES
def test_before_fitting_all_items_are_level(cls: type[Popularity]) -> None:
    scores = after(cls(make_config(cls, n_items=5)), [1, 2])
    assert scores[0, 1:].exp().tolist() == pytest.approx([0.2] * 5)


@BASELINES
def test_scores_are_log_probabilities(cls: type[Popularity]) -> None:
    assert after(fitted(cls), [1], [2], [5], [4, 3]).exp().sum(dim=1).tolist() == pytest.approx([1] * 4)


def test_a_markov_chain_solves_a_deterministic_chain() -> None:
    following = {1: 4, 4: 2, 2: 5, 5: 3, 3: 1}
    histories = []
    for start in range(1, 6):
        history = [start]
        while len(history) < 12:
            history.append(following[history[-1]])
        histories.append(history)
    log = make_log(histories)
    model = Markov(make_config(Markov, n_items=5)).fit(log, log.offsets[1:] - 2)
    assert evaluate(model, log, "recbole").ranks.tolist() == [1] * 5


def test_markov_probabilities_equal_those_counted_by_hand() -> None:
    model = fitted(Markov, backoff=0.5)
    share = torch.tensor([3, 5, 3, 2, 1]) / 14
    pairs = {1: [0, 1, 0, 0, 0], 2: [0, 0, 2, 0, 0], 3: [1, 1, 0, 0, 0], 4: [0, 1, 0, 0, 0], 5: [0] * 5}
    for item, counts in pairs.items():
        expected = (torch.tensor(counts) + 0.5 * share) / (sum(counts) + 0.5)
        assert after(model, [item])[0, 1:].exp().tolist() == pytest.approx(expected.tolist())


def test_popularity_orders_what_never_followed_the_last_item() -> None:
    scores = after(fitted(Markov), [1], [5])
    assert scores[0, 1:].argsort(descending=True, stable=True).tolist() == [1, 0, 2, 3, 4]
    assert torch.allclose(scores[1], after(fitted(Popularity), [5])[0])  # nothing ever followed 5


def test_a_markov_chain_links_no_two_users() -> None:
    scores = after(fitted(Markov, make_log([[1, 2], [3, 4]])), [2])
    assert torch.allclose(scores, after(fitted(Popularity, make_log([[1, 2], [3, 4]])), [2]))


@BASELINES
@pytest.mark.parametrize("d", [1, 7])
def test_one_step_at_a_time_equals_the_whole_sequence(cls: type[Popularity], d: int) -> None:
    model = fitted(cls, d=d)
    batch = batch_of([1, 2, 3], [4, 5, 1])
    whole, state = model(batch), model.initial_state(2)
    assert whole.shape == (2, 3, d)
    for step in range(3):
        hidden, state = model.step(state, batch.items[:, step], batch.times[:, step])
        assert torch.equal(hidden, whole[:, step])


def test_a_step_on_padding_leaves_the_state() -> None:
    model = fitted(Markov)
    _, state = model.step(model.initial_state(2), torch.tensor([3, 0]), torch.zeros(2, dtype=torch.int64))
    hidden, state = model.step(state, torch.tensor([0, 0]), torch.zeros(2, dtype=torch.int64))
    assert hidden[:, 0].tolist() == [3, 0]
    assert torch.allclose(model.scores(hidden)[1], after(fitted(Popularity), [1])[0])  # no event yet: popularity


def test_popularity_offers_its_scores_as_a_bias_and_markov_says_it_cannot() -> None:
    model = fitted(Popularity, d=3)
    weights, bias = model.output_embedding()
    hidden = model(batch_of([1, 2]))
    assert bias is not None
    assert torch.equal(hidden @ weights.T + bias, model.scores(hidden))
    with pytest.raises(RecblrError, match="looked up"):
        fitted(Markov).output_embedding()


def test_the_trace_of_a_markov_chain_is_one_event_deep() -> None:
    trace = fitted(Markov).trace(batch_of([1, 2, 3], [4, 5]))
    horizon = trace.horizon(0, 2)
    assert horizon is not None
    assert horizon.items == 1
    assert trace.items.tolist() == [[1, 2, 3], [4, 5, 0]]
    assert trace.hidden.shape == (2, 3, 1)
    assert "last item" in trace.notes[0]


def test_the_trace_of_popularity_has_no_layer_and_says_why() -> None:
    trace = fitted(Popularity).trace(batch_of([1, 2, 3]))
    assert trace.layers == ()
    assert "reads no history" in trace.notes[0]


@BASELINES
def test_a_saved_baseline_comes_back_as_it_was(cls: type[Popularity], tmp_path: Path) -> None:
    model = fitted(cls)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = cls(model.config)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    histories = [1], [2], [3], [4], [5]
    assert torch.equal(after(again, *histories), after(model, *histories))
    assert again.n_parameters() == 0


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("followers", 0, 6), ("followers", 0, 0), ("starts", -1, 99), ("starts", 1, 4), ("pair_counts", 0, 0)],
)
def test_damaged_pair_tables_are_refused(name: str, place: int, value: int) -> None:
    model = fitted(Markov)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state[name][place] = value
    with pytest.raises(CheckpointError, match="pair tables"):
        Markov(model.config).load_state_dict(state)


@BASELINES
def test_a_log_that_does_not_fit_is_refused(cls: type[Popularity]) -> None:
    with pytest.raises(ConfigError, match="has 3 items, log 'toy' 5"):
        cls(make_config(cls, n_items=3)).fit(LOG, LOG.offsets[1:])
    with pytest.raises(DataError, match="nothing to count"):
        cls(make_config(cls, n_items=5)).fit(LOG, LOG.offsets[:-1])


@pytest.mark.parametrize("backoff", [0.0, -1.0, float("inf"), float("nan")])
def test_a_back_off_weight_out_of_range_is_refused(backoff: float) -> None:
    with pytest.raises(ConfigError, match="backoff"):
        make_config(Markov, n_items=5, backoff=backoff)
