"""Edits inside a recurrence, against runs of other histories that must come to the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, SequentialBackbone
from recblr.errors import ExplainError
from recblr.explain import Variant, ask
from recblr.explain.interventions import Edit, intervene, paste, state_at
from recblr.explain.outcomes import outcomes
from recblr.explain.question import Question

Make = Callable[..., SequentialBackbone]
LINEAR = ("recblr", "tbdlru", "lrurec", "mamba4rec", "ssd4rec", "tim4rec", "mingru")
MIXED = ("gru4rec",)
"""Recurrences whose candidate reads the old state."""
DAYS = 86_400


def _ask(model: SequentialBackbone, items: Sequence[int], contrast: int | None = 11) -> Question:
    times = [10**9 + DAYS * n for n in range(len(items))]
    return ask(model, list(items), times, target=10, contrast=contrast)


def _everywhere(model: SequentialBackbone, **edit: Any) -> list[Edit]:
    return [Edit(layer=layer, **edit) for layer in range(model.config.n_layers)]


ITEMS = (3, 1, 7, 2, 9, 4, 8)


def test_a_state_emptied_everywhere_is_a_history_that_begins_after_it(make: Make) -> None:
    model = make("lrurec")
    found = intervene(_ask(model, ITEMS), _everywhere(model, kind="state", step=3))
    assert found.after.logit == pytest.approx(_ask(model, ITEMS[4:]).logit()[0], abs=1e-4)
    assert found.before.logit == pytest.approx(_ask(model, ITEMS).logit()[0], abs=1e-4)
    assert found.effect == found.after.logit - found.before.logit
    assert found.change == pytest.approx((1, 1))


def test_a_decay_of_zero_is_a_history_that_begins_with_the_event(make: Make) -> None:
    model = make("lrurec", n_layers=1)
    found = intervene(_ask(model, ITEMS), [Edit(kind="decay", layer=0, step=3, value=0.0)])
    assert found.after.logit == pytest.approx(_ask(model, ITEMS[3:]).logit()[0], abs=1e-4)


def test_a_first_event_that_writes_nothing_might_as_well_not_be(make: Make) -> None:
    model = make("lrurec", n_layers=1)
    found = intervene(_ask(model, ITEMS), [Edit(kind="write", layer=0, step=0)])
    assert found.after.logit == pytest.approx(_ask(model, ITEMS[1:]).logit()[0], abs=1e-4)


def test_a_pasted_state_goes_on_as_the_history_it_came_from(make: Make) -> None:
    model, other = make("lrurec"), (5, 12, 6)
    found = intervene(_ask(model, ITEMS), paste(_ask(model, other), at=5))
    assert found.after.logit == pytest.approx(_ask(model, (*other, ITEMS[6])).logit()[0], abs=1e-4)


def test_some_channels_of_a_state_can_be_pasted(make: Make) -> None:
    model = make("lrurec")
    source, question = _ask(model, (5, 12, 6)), _ask(model, ITEMS)
    whole = intervene(question, paste(source, at=2, layers=[1]))
    half = intervene(question, paste(source, at=2, layers=[1], channels=range(16)))
    rest = intervene(question, paste(source, at=2, layers=[1], channels=range(16, 32)))
    assert whole.change[0] ** 2 == pytest.approx(half.change[0] ** 2 + rest.change[0] ** 2, rel=1e-4)


def test_decay_and_write_at_one_event_are_a_state(make: Make) -> None:
    model = make("recblr")
    both = intervene(
        _ask(model, ITEMS),
        [Edit(kind="write", layer=1, step=4), Edit(kind="decay", layer=1, step=4, value=0.0)],
    )
    state = intervene(_ask(model, ITEMS), [Edit(kind="state", layer=1, step=4)])
    assert both.after.logit == pytest.approx(state.after.logit, abs=1e-4)


@pytest.mark.parametrize("name", LINEAR)
def test_an_edited_state_is_read_at_once(make: Make, name: str) -> None:
    """Reading nothing of a state at the last event is the same answer as an empty state there."""
    model = make(name)
    question = _ask(model, ITEMS)
    emptied = intervene(question, _everywhere(model, kind="state", step=-1))
    unread = intervene(question, _everywhere(model, kind="read", step=-1))
    assert abs(emptied.effect) > 1e-4
    assert unread.effect == pytest.approx(emptied.effect, abs=1e-3 * max(1, abs(emptied.effect)))


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_not_read_stays_in_memory(make: Make, name: str) -> None:
    """In the last layer, an event that reads nothing tells nobody later."""
    model = make(name)
    found = intervene(_ask(model, ITEMS), [Edit(kind="read", layer=model.config.n_layers - 1, step=2)])
    assert found.change[0] == pytest.approx(1)
    assert found.effect == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", LINEAR)
def test_a_decay_held_where_the_trace_has_it_changes_nothing_more(make: Make, name: str) -> None:
    """Held at the decay that one channel has anyway, that channel is not touched; held at another, it is."""
    model = make(name)
    question = _ask(model, ITEMS)
    decay = model.trace(question.batch()).layers[0].decay
    assert decay is not None
    wide = model.initial_state(1)["0.h"].shape[1] // decay.shape[-1]
    channel = int(np.abs(decay[0, 3] - 0.5).argmin())
    own = float(decay[0, 3, channel])
    edit = {"kind": "decay", "layer": 0, "step": 3, "channels": tuple(range(channel * wide, (channel + 1) * wide))}
    with pytest.raises(ExplainError, match="nothing was touched"):
        intervene(question, [Edit(**edit, value=own)])
    assert intervene(question, [Edit(**edit, value=1.0)]).change[0] > 1e-6


@pytest.mark.parametrize("name", [*LINEAR, *MIXED])
def test_pasting_a_state_onto_itself_touches_nothing(make: Make, name: str) -> None:
    question = _ask(make(name), ITEMS)
    with pytest.raises(ExplainError, match="nothing was touched"):
        intervene(question, paste(question, 2, at=2))


def test_an_edited_history_that_nobody_may_write_to_is_copied(make: Make) -> None:
    given = Variant(items=ITEMS, times=range(len(ITEMS)))
    assert not given.items.flags.writeable
    question = _ask(make("lrurec"), ITEMS).about(given.items, given.times)
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            intervene(question, [Edit(kind="state", layer=0, step=3)])
    finally:
        torch.set_warn_always(False)


@pytest.mark.parametrize("name", [*LINEAR, *MIXED])
def test_the_run_without_edits_is_the_models_own_answer(make: Make, name: str) -> None:
    model = make(name)
    question = _ask(model, ITEMS)
    found = intervene(question, _everywhere(model, kind="state", step=2))
    scores = question.scores()[0]
    assert found.error < 1e-4 * max(1, float(scores[1:].abs().max()))
    assert found.before.logit == pytest.approx(question.logit()[0], abs=1e-3)
    assert found.before.top == tuple((scores[1:].argsort(descending=True)[:10] + 1).tolist())
    assert found.before.rank == 1 + float((scores > scores[10]).sum())


def test_a_gru_can_be_emptied_for_the_next_event_but_its_gates_cannot_be_held(make: Make) -> None:
    model = make("gru4rec")
    found = intervene(_ask(model, ITEMS), [Edit(kind="state", layer=0, step=3)])
    assert found.after.logit == pytest.approx(_ask(model, ITEMS[4:]).logit()[0], abs=1e-4)
    with pytest.raises(ExplainError, match="gates cannot be held one by one"):
        intervene(_ask(model, ITEMS), [Edit(kind="decay", layer=0, step=3)])
    with pytest.raises(ExplainError, match="choose an earlier one"):
        intervene(_ask(model, ITEMS), [Edit(kind="state", layer=0, step=-1)])


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_backbone_is_edited_or_says_why_not(make: Make, name: str) -> None:
    model = make(name)
    if "0.h" in (model.initial_state(1) if model.causal else {}):
        assert intervene(_ask(model, ITEMS), [Edit(kind="state", layer=0, step=2)]).change[0] > 0
    else:
        with pytest.raises(ExplainError, match=r"carries no state|cannot go event by event"):
            intervene(_ask(model, ITEMS), [Edit(kind="state", layer=0, step=2)])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"kind": "state", "layer": 2, "step": 0}, "layer 2: the model has layers 0 to 1"),
        ({"kind": "state", "layer": 0, "step": 7}, "event 7: the history has events 0 to 6"),
        ({"kind": "state", "layer": 0, "step": 0, "channels": (99,)}, "layer 0 has channels 0 to 31"),
        ({"kind": "state", "layer": 0, "step": 0, "channels": ()}, "layer 0 has channels 0 to 31"),
        ({"kind": "gate", "layer": 0, "step": 0}, "choose decay, write, read or state"),
        ({"kind": "decay", "layer": 0, "step": 0, "value": 1.5}, "a decay lies in 0..1"),
        ({"kind": "write", "layer": 0, "step": 0, "value": float("nan")}, "must be finite"),
        ({"kind": "state", "layer": 0, "step": 0, "value": np.ones(5, dtype=np.float32)}, "for a state 32 numbers"),
        ({"kind": "write", "layer": 0, "step": 3, "value": 1.0}, "nothing was touched: write of every channel"),
    ],
)
def test_an_edit_that_means_nothing_is_refused(make: Make, edit: dict[str, Any], words: str) -> None:
    with pytest.raises(ExplainError, match=words):
        intervene(_ask(make("recblr"), ITEMS), [Edit(**edit)])


def test_seen_items_can_be_left_out_of_ranks_as_in_outcomes(make: Make) -> None:
    question = _ask(make("lrurec"), ITEMS)
    edits = _everywhere(question.model, kind="state", step=3)
    for mask_seen in (False, True):
        found = intervene(question, edits, mask_seen=mask_seen)
        given = Variant(items=question.items, times=question.times)
        plain = outcomes(question, [given], mask_seen=mask_seen)
        assert found.before.rank == plain.rank[0]
        assert found.before.top == tuple(item for item in plain.top[0] if item)
        assert set(found.after.top).isdisjoint(ITEMS) == mask_seen


def test_no_edit_at_all_is_refused(make: Make) -> None:
    with pytest.raises(ExplainError, match="nothing was touched: no edit is given"):
        intervene(_ask(make("recblr"), ITEMS), [])


def test_a_state_of_another_width_does_not_fit(make: Make) -> None:
    edits = paste(_ask(make("recblr", d=8), ITEMS), at=2)
    with pytest.raises(ExplainError, match="states of another model do not fit"):
        intervene(_ask(make("recblr"), ITEMS), edits)


def test_the_state_at_an_event_is_that_of_the_shorter_history(make: Make, history: SimpleNamespace) -> None:
    model = make("tim4rec")
    whole = ask(model, history.items, history.times.tolist(), target=10)
    short = ask(model, history.items[:4], history.times[:4].tolist(), target=10)
    for key, value in state_at(whole, 3).items():
        torch.testing.assert_close(value, state_at(short)[key])


def test_edits_in_threads_leave_the_model_alone_and_each_other(make: Make) -> None:
    model = make("recblr")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    question, other = _ask(model, ITEMS), _ask(model, (5, 12, 6))
    tasks = [
        [Edit(kind="state", layer=0, step=2)],
        [Edit(kind="decay", layer=1, step=3, value=0.0)],
        paste(other, at=4),
        [Edit(kind="write", layer=0, step=5)],
    ]
    alone = [intervene(question, edits).effect for edits in tasks]
    plain = question.logit()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda edits: intervene(question, edits).effect, tasks * 3))
    assert together == alone * 3
    assert len(set(alone)) == 4
    assert (question.logit() == plain).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
