import numpy as np
import pytest
import torch

from recblr.data.log import Catalog, InteractionLog
from recblr.data.splits import leave_one_out
from recblr.training.batches import EpochBatches


def log_of(lengths):
    """User u's events are numbered items, so every pair (item, next item) is unique."""
    total = sum(lengths)
    return InteractionLog(
        name="numbered",
        items=np.arange(1, total + 1, dtype=np.int32),
        times=np.arange(total, dtype=np.int64) + 10**9,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        users=np.array([f"u{u}" for u in range(len(lengths))]),
        catalog=Catalog(ids=np.array(["", *[str(n) for n in range(1, total + 1)]])),
    )


LENGTHS = [1, 2, 3, 4, 9, 25, 40, 103]


def epoch(objective, epoch=0, **options):
    log = log_of(LENGTHS)
    settings = {"max_len": 10, "batch_size": 3, "seed": 5, **options}
    return log, EpochBatches(log, leave_one_out(log), objective=objective, epoch=epoch, **settings)


def pairs(batches):
    """(last item read, target) of every trained position."""
    found = []
    for batch in batches:
        at = batch.targets > 0
        found += list(zip(batch.inputs.items[at].tolist(), batch.targets[at].tolist(), strict=True))
    return found


def expected(log):
    ends = leave_one_out(log).train_end
    spans = zip(log.offsets[:-1], ends, strict=True)
    return sorted((int(log.items[k]), int(log.items[k + 1])) for start, end in spans for k in range(start, end - 1))


@pytest.mark.parametrize("objective", ["all", "last"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_training_event_but_the_first_is_a_target_exactly_once(objective, number):
    log, batches = epoch(objective, number)
    assert sorted(pairs(batches)) == expected(log)
    assert batches.n_targets == len(expected(log))


@pytest.mark.parametrize("objective", ["all", "last"])
def test_rows_are_right_padded_consecutive_events_of_at_most_max_len(objective):
    for batch in epoch(objective)[1]:
        items = batch.inputs.items
        assert items.shape[1] <= 10
        assert torch.equal(batch.inputs.mask, torch.arange(items.shape[1]) < batch.inputs.lengths[:, None])
        steps = items[:, 1:] - items[:, :-1]
        assert (steps[items[:, 1:] > 0] == 1).all()
        assert torch.equal(batch.inputs.times[batch.inputs.mask], items[batch.inputs.mask] + 10**9 - 1)


def test_batches_of_short_and_of_long_rows_hold_as_many_targets():
    log = log_of([5] * 400 + [41] * 100 + [101] * 40)
    batches = EpochBatches(log, leave_one_out(log), objective="all", max_len=100, batch_size=8, seed=0, epoch=0)
    held = [int((batch.targets > 0).sum()) for batch in batches]
    usual = batches.n_targets / len(batches)
    assert len({batch.targets.shape[1] for batch in batches}) > 2
    assert all(0.4 * usual < n < 1.8 * usual for n in held)


def test_the_last_objective_reads_the_whole_recent_prefix():
    for batch in epoch("last")[1]:
        trained = (batch.targets > 0).sum(1)
        assert (trained == 1).all()
        for row, length in enumerate(batch.inputs.lengths.tolist()):
            target = int(batch.targets[row, length - 1])
            start = max(s for s in np.concatenate([[0], np.cumsum(LENGTHS)]) if s < target) + 1
            assert batch.inputs.items[row, 0] == max(start, target - 10)


@pytest.mark.parametrize("objective", ["all", "last"])
def test_recency_halves_a_targets_weight_for_every_half_life_before_the_users_last(objective):
    log, batches = epoch(objective, recency=4)
    ends = leave_one_out(log).train_end
    for batch in batches:
        at = batch.targets > 0
        for target, weight in zip(batch.targets[at].tolist(), batch.weights[at].tolist(), strict=True):
            user = int(np.searchsorted(log.offsets, target - 1, side="right")) - 1
            assert weight == pytest.approx(0.5 ** ((ends[user] - target) / 4))
    assert all((batch.weights == 1).all() for batch in epoch(objective)[1])


def test_an_epoch_is_decided_by_seed_and_number_alone():
    first, again, other = (pairs(epoch("all", number)[1]) for number in (1, 1, 2))
    assert first == again
    assert first != other
    assert pairs(epoch("all", 1, seed=6)[1]) != first


def test_cuts_of_long_histories_move_from_epoch_to_epoch():
    starts = {tuple(sorted(epoch("all", number)[1].starts.tolist())) for number in range(6)}
    assert len(starts) > 1


def test_rows_of_a_batch_have_like_lengths():
    rng = np.random.default_rng(0)
    log = log_of(rng.integers(3, 200, 300).tolist())
    batches = EpochBatches(log, leave_one_out(log), objective="all", max_len=200, batch_size=16, seed=0, epoch=0)
    real = sum(int(batch.inputs.mask.sum()) for batch in batches)
    padded = sum(batch.inputs.items.numel() for batch in batches)
    assert real / padded > 0.9
