"""A question about a recommendation, checked: which model, which history, why this item and not that one.

T events, R rows of a batch, d model width, V catalogue rows
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import Batch, SequentialBackbone, last_hidden
from recblr.data.log import Catalog
from recblr.errors import ConfigError, ExplainError, HistoryError
from recblr.evaluation.protocols import protocol
from recblr.explain.attribution import Attribution
from recblr.recommender import History, Recommender

_CELLS = 1200
"""Events that `together` hands to a model at once: more of them leave the caches of a core, and take longer each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Why does `model` give `target` its logit (or its lead over `contrast`) after these events?"""

    model: SequentialBackbone
    """In evaluation mode; shared, and left as it is."""
    items: NDArray[np.int64]
    """[T] internal ids, at most max_len."""
    times: NDArray[np.int64]
    """[T] unix seconds, zero where none were given."""
    target: int
    contrast: int | None = None
    has_times: bool = True
    seen: frozenset[int] = frozenset()
    """Every item of the history, events too old to be read included."""
    notes: tuple[str, ...] = ()
    catalog: Catalog | None = None
    """For messages: external ids instead of internal ones."""

    def __len__(self) -> int:
        return len(self.items)

    def name(self, item: int) -> str:
        """An item as the asker knows it."""
        return str(item) if self.catalog is None else repr(str(self.catalog.ids[item]))

    def batch(self) -> Batch:
        """The history as one row."""
        return Batch(items=torch.tensor(self.items)[None], times=torch.tensor(self.times)[None])

    def difference(self, scores: Float[Tensor, "*R V"]) -> Float[Tensor, "*R"]:
        """What is explained, of rows of logits: the target's, minus the contrast's."""
        chosen = scores[..., self.target]
        return chosen if self.contrast is None else chosen - scores[..., self.contrast]

    def direction(self) -> tuple[Float[Tensor, " d"], float]:
        """(w, b): what is explained is w . hidden + b. For backbones that learn."""
        weights, bias = self.model.output_embedding()
        w, b = weights[self.target], 0.0 if bias is None else float(bias[self.target])
        if self.contrast is not None:
            w, b = w - weights[self.contrast], b - (0.0 if bias is None else float(bias[self.contrast]))
        return w.detach(), b

    def scores(self, batch: Batch | None = None) -> Float[Tensor, "R V"]:
        """Logits after the last event of each row of `batch`, by default of the history itself; no gradient."""
        batch = self.batch() if batch is None else batch
        with torch.no_grad():
            return self.model.scores(last_hidden(self.model(batch), batch.lengths))

    def logit(self, batch: Batch | None = None) -> Float[NDArray[np.float64], " R"]:
        """What is explained, after each row of `batch`."""
        return self.difference(self.scores(batch).double()).numpy()

    def answer(self, **fields: Any) -> Attribution:
        """An Attribution for this question; `notes` follow the question's own."""
        notes = (*self.notes, *fields.pop("notes", ()))
        return Attribution(
            items=self.items,
            times=self.times if self.has_times else None,
            target=self.target,
            contrast=self.contrast,
            notes=notes,
            **fields,
        )

    def about(self, items: NDArray[np.int64], times: NDArray[np.int64]) -> Question:
        """The same question after another history. The notes on this history are dropped.

        What was seen stays seen: an edited history has the same older events, and an item taken out of it was seen.
        """
        return replace(self, items=items, times=times, seen=self.seen | frozenset(items.tolist()), notes=())


def padded(histories: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Batch:
    """Histories (items [T], times [T]) of any lengths as one batch, padded on the right."""
    longest = max(len(items) for items, _ in histories)
    items = np.zeros((len(histories), longest), dtype=np.int64)
    times = np.zeros_like(items)
    for row, (one, moments) in enumerate(histories):
        items[row, : len(one)] = one
        times[row, : len(one)] = moments
    return Batch(items=torch.from_numpy(items), times=torch.from_numpy(times))


def read_out(
    model: SequentialBackbone, batch: Batch, directions: Float[Tensor, "R d"]
) -> Callable[[Float[Tensor, "R T d"]], Float[Tensor, " R"]]:
    """directions . hidden after the last event of each row, as a function of the embeddings alone."""
    mask, times, lengths = batch.mask, batch.times, batch.lengths
    return lambda embeddings: (last_hidden(model.encode(embeddings, mask, times), lengths) * directions).sum(-1)


def together(
    questions: Sequence[Question], answers: Callable[[Sequence[Question]], Sequence[Attribution]]
) -> list[Attribution]:
    """`answers` of questions about one model, asked a few histories of like length at a time; in the order given.

    Raises ExplainError where the questions are about different models.
    """
    if any(one.model is not questions[0].model for one in questions):
        raise ExplainError("questions about different models: explain those of each model together")
    found: dict[int, Attribution] = {}
    order = sorted(range(len(questions)), key=lambda n: -len(questions[n]))
    while order:
        rows = max(1, _CELLS // len(questions[order[0]]))
        asked, order = order[:rows], order[rows:]
        found.update(zip(asked, answers([questions[n] for n in asked]), strict=True))
    return [found[n] for n in range(len(questions))]


def ask(
    subject: Recommender | SequentialBackbone,
    history: Sequence[Any],
    times: Sequence[int] | None = None,
    *,
    target: Any,
    contrast: Any = None,
    mask_seen: bool | None = None,
) -> Question:
    """A checked question. A Recommender is asked in external ids, a model in internal ones.

    `mask_seen`: whether items of the history are taken out of the ranking, so that asking why one is recommended has no
    answer; by default as the protocol of the run has it, and for a model not.
    Raises HistoryError for a history that cannot be read; ExplainError for a target or contrast that is not in the
    catalogue, a target that is the contrast, or one that can never be recommended.
    """
    if isinstance(subject, Recommender):
        question = _of_recommender(subject, history, times, target, contrast)
        masks, why = _masks(subject.run.config) if mask_seen is None else (mask_seen, "as asked")
    else:
        question = _of_model(subject, history, times, target, contrast)
        masks, why = bool(mask_seen), "as asked"
    if question.model.training:
        raise ExplainError("the model is in training mode, where dropout changes every answer: call model.eval() first")
    if question.contrast == question.target:
        raise ExplainError(
            f"target and contrast are both item {question.name(question.target)}: the difference is zero whatever the"
            " history; choose another contrast, or none"
        )
    return _about_seen(question, masks, why)


def _about_seen(question: Question, masks: bool, why: str) -> Question:
    if question.target not in question.seen:
        return question
    name = question.name(question.target)
    if masks:
        raise ExplainError(
            f"item {name} is already in the history, and such items are taken out of the ranking ({why}): it cannot be"
            " recommended; choose another item, or let items of the history compete (mask_seen=False)"
        )
    note = f"item {name} is already in the history; its score is explained as if items of the history may return"
    return replace(question, notes=(*question.notes, note))


def _masks(config: Mapping[str, Any]) -> tuple[bool, str]:
    """(whether the protocol that a run was made under takes seen items out, that protocol in words)."""
    name = dict(config.get("train", {})).get("protocol")
    try:
        masks = protocol(str(name)).mask_seen != "off"
    except ConfigError:
        return False, "no protocol is known"
    return masks, f"by the run's protocol {name}"


def _of_recommender(
    recommender: Recommender, history: Sequence[Any], times: Sequence[int] | None, target: Any, contrast: Any
) -> Question:
    read = recommender.read(history, times)
    catalog = recommender.run.catalog

    def internal(role: str, given: Any) -> int:
        found, unknown = catalog.encode([given])
        if unknown:
            raise ExplainError(
                f"{role} {given!r} is not in the catalogue of {recommender.name!r}: its ids look like"
                f" {str(catalog.ids[1])!r}"
            )
        return int(found[0])

    return Question(
        model=recommender.run.model,
        items=read.items,
        times=read.times,
        target=internal("target", target),
        contrast=None if contrast is None else internal("contrast", contrast),
        has_times=read.has_times,
        seen=frozenset(read.seen.tolist()),
        notes=_left_out(read),
        catalog=catalog,
    )


def _left_out(read: History) -> tuple[str, ...]:
    notes = []
    if read.skipped:
        notes.append(f"ids that the catalogue does not have, skipped: {len(read.skipped)}")
    if read.truncated:
        notes.append(f"older events that the model does not read: {read.truncated}")
    return tuple(notes)


def _of_model(
    model: SequentialBackbone, history: Sequence[Any], times: Sequence[int] | None, target: Any, contrast: Any
) -> Question:
    items = np.asarray(history)
    if items.ndim != 1 or items.dtype.kind not in "iu" or len(items) == 0:
        raise HistoryError("a model is asked with a list of internal item ids, oldest first, at least one")
    last = model.config.n_items
    outside = np.flatnonzero((items < 1) | (items > last))
    if len(outside):
        at = int(outside[0])
        raise HistoryError(f"history[{at}] is {items[at]}: internal ids of this model run from 1 to {last}")
    moments = np.zeros(len(items), dtype=np.int64) if times is None else np.asarray(times, dtype=np.int64)
    if moments.shape != items.shape:
        raise HistoryError(f"{len(items)} events and {len(moments)} times: give one time an event, or none at all")

    def internal(role: str, given: Any) -> int:
        if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 1 <= int(given) <= last:
            raise ExplainError(f"{role} {given!r} is not in the catalogue: internal ids run from 1 to {last}")
        return int(given)

    limit = model.config.max_len
    left_out = len(items) - limit
    return Question(
        model=model,
        items=items[-limit:].astype(np.int64),
        times=moments[-limit:],
        target=internal("target", target),
        contrast=None if contrast is None else internal("contrast", contrast),
        has_times=times is not None,
        seen=frozenset(items.tolist()),
        notes=(f"older events that the model does not read: {left_out}",) if left_out > 0 else (),
    )
