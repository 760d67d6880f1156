"""How long a model remembers: from its gates, from an explanation, and from what it can still answer.

    B rows, T time, C channels of a mixer, V catalogue rows, G gaps, L layers, M targets

From a trace: half-lives, the answer to a longer gap, the rank of an item after every step. From an attribution: the
memory horizon. From a log: k95, how many recent events keep 95 % of the hit rate; the dominance of the last item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from recblr.backbones.base import Batch, SequentialBackbone, last_hidden
from recblr.checkpoint import Run
from recblr.data.log import InteractionLog
from recblr.data.splits import Targets
from recblr.errors import ConfigError, DataError, ExplainError, HistoryError
from recblr.evaluation.engine import rank_targets
from recblr.evaluation.protocols import Protocol
from recblr.evaluation.protocols import protocol as named_protocol
from recblr.evaluation.ranking import rank_of_target
from recblr.evaluation.windows import one_window_a_target, to_batch
from recblr.explain.attribution import Attribution
from recblr.explain.question import Question
from recblr.explain.variants import Variant
from recblr.trace import MemoryHorizon, Trace

DAY = 86_400
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
GAPS = tuple(int(one) for one in (0, 60, 3600, 6 * 3600, DAY, 3 * DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY))
"""Seconds: none, a minute, an hour, and so on to a year."""


@dataclass(frozen=True, kw_only=True)
class HalfLives:
    """Half-lives of one layer over one history: time until half of a channel's state is gone."""

    layer: str
    items: Float[NDArray[np.float64], " Q"]
    """Quantiles over channels and steps, in events; infinite where nothing is forgotten."""
    days: Float[NDArray[np.float64], " Q"] | None
    """The same in days, over channels: of the model's own forgetting where its decay reads the time, else events times
    this user's mean gap. None where the history has no times."""
    days_measured: bool
    """Whether the days are the model's own and not events times the mean gap."""
    quantiles: tuple[float, ...] = QUANTILES


def half_lives(trace: Trace, *, row: int = 0) -> tuple[HalfLives, ...]:
    """One for each layer that decays; none for attention."""
    real = trace.items[row] > 0
    times = trace.times[row][real]
    gap = float(times[-1] - times[0]) / DAY / max(len(times) - 1, 1) if trace.has_times and len(times) else 0.0
    found = []
    for layer in trace.layers:
        if layer.half_life is None:
            continue
        items = np.quantile(layer.half_life[row][real].astype(np.float64), QUANTILES, method="inverted_cdf")
        own = layer.half_life_days
        if own is not None and not np.isnan(own[row]).any():
            days: NDArray[np.float64] | None = np.quantile(own[row].astype(np.float64), QUANTILES)
        else:
            days = items * gap if gap > 0 else None
            own = None
        found.append(HalfLives(layer=layer.name, items=items, days=days, days_measured=own is not None))
    return tuple(found)


def horizon(attribution: Attribution, share: float = 0.9) -> MemoryHorizon:
    """The smallest k such that the last k events hold `share` of the sum of sizes of the values.

    Raises ExplainError for a share outside (0, 1], or where the attribution vouches for no shares.
    """
    if not 0 < share <= 1:
        raise ExplainError(f"share is {share}: it must lie above 0 and at most at 1")
    parts = np.abs(attribution.shares())
    if parts.sum() == 0:  # nothing matters: no event has to be remembered
        return MemoryHorizon(items=0, days=None if attribution.times is None else 0.0, share=0.0)
    held = np.cumsum(parts[::-1])
    k = min(int(np.searchsorted(held, share - 1e-9)) + 1, len(parts))
    times = attribution.times
    days = None if times is None else float(times[-1] - times[len(times) - k]) / DAY
    return MemoryHorizon(items=k, days=days, share=float(held[k - 1]))


@dataclass(frozen=True, kw_only=True)
class RecentItems:
    """The hit rate of a model that is shown only the most recent events."""

    k95: int
    """Fewest recent events with 95 % of the hit rate of the whole history."""
    counts: Int[NDArray[np.int64], " N"]
    """Recent events shown, ascending."""
    hit_rate: Float[NDArray[np.float64], " N"]
    """HR@10 of each."""
    whole: float
    """HR@10 of histories of up to max_len events."""
    share: float = 0.95


def recent_items(
    model: SequentialBackbone,
    log: InteractionLog,
    protocol: Protocol,
    targets: Targets,
    *,
    counts: Sequence[int] | None = None,
    share: float = 0.95,
) -> RecentItems:
    """k95 by running the model on cut histories; `log` in the ids of the model.

    By default the counts are powers of two, then those between the last that is too few and the first that is enough,
    by halves. The items that may compete stay those of the protocol. Raises DataError without a target, or where the
    whole history hits nothing; ConfigError for counts below 1.
    """
    if len(targets) == 0:
        raise DataError(f"log {log.name!r}: no target to measure the memory on")
    limit = model.config.max_len
    if counts is not None and (len(counts) == 0 or min(counts) < 1):
        raise ConfigError(f"counts are {tuple(counts)}: give numbers of events from 1 up")
    known: dict[int, float] = {}

    def hit_rate(k: int) -> float:
        if k not in known:
            windows = one_window_a_target(log, targets, k)
            ranks, _ = rank_targets(model, log, protocol, targets, windows)
            known[k] = float((ranks <= 10).mean())
        return known[k]

    whole = hit_rate(limit)
    if whole == 0:
        raise DataError(f"{model.title} hits none of {len(targets)} targets of log {log.name!r}: no memory to measure")
    enough = share * whole - 1e-12
    if counts is not None:
        asked = sorted(min(int(one), limit) for one in counts)
        k95 = next((k for k in asked if hit_rate(k) >= enough), limit)
    else:
        high = 1
        while high < limit and hit_rate(high) < enough:
            high = min(2 * high, limit)
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if hit_rate(middle) >= enough else (middle, high)
        k95 = high
    at = np.array(sorted(known), dtype=np.int64)
    return RecentItems(k95=k95, counts=at, hit_rate=np.array([known[int(k)] for k in at]), whole=whole, share=share)


@dataclass(frozen=True, kw_only=True)
class LastItem:
    """How much of an answer is the last item itself, over M histories."""

    in_top: float
    """HRLI@K: share of the histories whose own last item is among the first K recommendations."""
    k: int
    cosine: Float[NDArray[np.float64], " M"]
    """cos(h_last, E_last): hidden state and output vector of the last item."""


def last_item_dominance(model: SequentialBackbone, batch: Batch, k: int = 10) -> LastItem:
    """Of the histories in `batch`, all items competing, seen ones too.

    Raises ExplainError for a backbone that counts, or k < 1; HistoryError for a row without an event.
    """
    if not model.learns:
        raise ExplainError(f"{model.title} counts: it has no hidden state to compare with an item")
    if k < 1:
        raise ExplainError(f"k is {k}: give a rank of at least 1")
    if len(batch.items) == 0 or int(batch.lengths.min()) < 1:
        raise HistoryError("a history without any event has no last item: give at least one event in each row")
    rows = torch.arange(len(batch.items), device=batch.items.device)
    last = batch.items[rows, batch.lengths - 1]
    with torch.no_grad():
        hidden = last_hidden(model(batch), batch.lengths)
        ranks = rank_of_target(model.scores(hidden).float(), last)
        vectors = model.output_embedding()[0][last]
        cosine = torch.nn.functional.cosine_similarity(hidden.double(), vectors.double(), dim=-1)
    return LastItem(in_top=float((ranks <= k).double().mean()), k=k, cosine=cosine.cpu().numpy())


def needed_by_run(run: Run, log: InteractionLog, users: int) -> tuple[RecentItems, LastItem | None, int]:
    """(`recent_items`, `last_item_dominance`, how many users) on the test targets of so many users, evenly spread.

    By the protocol of the run's training; `log` in the ids of the run. No dominance for a backbone that counts.
    Raises DataError as `recent_items`, ConfigError for fewer than one user.
    """
    if users < 1:
        raise ConfigError(f"users is {users}: at least one, please")
    rule = named_protocol(str(run.config["train"].get("protocol", "lrurec")))
    test = rule.split(log).test
    chosen = np.unique(np.linspace(0, len(test) - 1, min(users, len(test))).round().astype(np.int64))
    targets = Targets(users=test.users[chosen], positions=test.positions[chosen])
    found = recent_items(run.model, log, rule, targets)
    last = None
    if run.model.learns:
        windows = one_window_a_target(log, targets, run.model.config.max_len)
        last = last_item_dominance(run.model, to_batch(log, windows.begin, windows.end, "cpu"))
    return found, last, len(np.unique(targets.users))


@dataclass(frozen=True, kw_only=True)
class GapResponse:
    """What a longer or shorter pause before one event changes."""

    position: int
    """Of the event after the pause."""
    gaps: Int[NDArray[np.int64], " G"]
    """Seconds."""
    decay: Float[NDArray[np.float64], "L G"]
    """Median over channels of the factor on the old state at that event; NaN for layers without a decay."""
    layers: tuple[str, ...]
    logit: Float[NDArray[np.float64], " G"]
    """What the question asks about, after the whole history."""
    rank: Float[NDArray[np.float64], " G"]
    """Of the target among all items, after the whole history; 1 = best."""
    top: Int[NDArray[np.int64], " G"]
    """Internal id of the item ranked first."""
    as_given: int
    """Seconds of the pause in the history."""


def gap_response(question: Question, position: int | None = None, gaps: Sequence[int] = GAPS) -> GapResponse:
    """Change the pause before an event (by default the last), and trace and ask again, all pauses in one batch.

    Raises ExplainError for a backbone that reads no times, HistoryError for a history without times or for a position
    that no pause comes before.
    """
    model = question.model
    if not model.uses_time:
        named = f"{model.title} {model.preset}" if type(model).uses_time else model.title
        raise ExplainError(f"{named} reads no times: a pause changes nothing; choose a time-aware backbone")
    if not question.has_times:
        raise HistoryError("the history has no times: give one time an event")
    if len(question) < 2:
        raise HistoryError("the history has one event, and no pause before it: give at least two events")
    at = len(question) - 1 if position is None else position
    given = Variant(items=question.items, times=question.times)
    variants = [given.change_gap(at, int(gap)) for gap in gaps]
    if not variants:
        raise ExplainError("no gap is given: name at least one, in seconds")
    batch = Batch(
        items=torch.from_numpy(np.stack([one.items for one in variants])),
        times=torch.from_numpy(np.stack([one.times for one in variants])),
    )
    trace, scores = model.trace(batch), question.scores(batch)
    targets = torch.full((len(scores),), question.target)
    medians = [
        np.full(len(variants), np.nan) if layer.decay is None else np.median(layer.decay[:, at], axis=-1)
        for layer in trace.layers
    ]
    return GapResponse(
        position=at,
        gaps=np.array(gaps, dtype=np.int64),
        decay=np.array(medians, dtype=np.float64),
        layers=tuple(layer.name for layer in trace.layers),
        logit=question.difference(scores.double()).numpy(),
        rank=rank_of_target(scores.float(), targets).double().numpy(),
        top=(scores[:, 1:].argmax(1) + 1).numpy(),
        as_given=int(question.times[at] - question.times[at - 1]),
    )


@dataclass(frozen=True, kw_only=True)
class Lens:
    """What the model would recommend after each event, read off each layer."""

    layers: tuple[str, ...]
    """The last is the model's own answer."""
    rank: Float[NDArray[np.float64], "L T"]
    """Of the target; 1 = best."""
    log_prob: Float[NDArray[np.float64], "L T"]
    """Of the target, nats."""
    top: Int[NDArray[np.int64], "L T"]
    """Internal id of the item ranked first."""

    def rows(self) -> list[dict[str, Any]]:
        """The table behind the picture: one row a layer and step."""
        return [
            {
                "layer": layer,
                "step": step,
                "rank": float(self.rank[n, step]),
                "log_prob": float(self.log_prob[n, step]),
                "top": int(self.top[n, step]),
            }
            for n, layer in enumerate(self.layers)
            for step in range(self.rank.shape[1])
        ]


def lens(question: Question) -> Lens:
    """Score the outputs of every layer, and the model's own hidden states, after every event.

    Layers before the last were not trained to be read so: theirs is a view, not an answer. A layer whose output has
    not the width of the hidden states is left out. Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    Raises ExplainError where a step has seen later events.
    """
    model = question.model
    if not model.causal:
        raise ExplainError(model.not_causal("its answer at a step has seen the events after it"))
    trace = model.trace(question.batch())
    width = trace.hidden.shape[-1]
    named = [(one.name, one.out[0]) for one in trace.layers if one.out is not None and one.out.shape[-1] == width]
    named = [*named[:-1], ("answer", trace.hidden[0])] if named else [("answer", trace.hidden[0])]
    hidden = torch.from_numpy(np.stack([values for _, values in named])).flatten(0, 1)  # [L T, d]
    with torch.no_grad():
        scores = model.scores(hidden).float()  # [L T, V]
    targets = torch.full((len(scores),), question.target)
    log_prob = scores[:, question.target].double() - torch.logsumexp(scores[:, 1:].double(), dim=1)
    shape = (len(named), -1)
    return Lens(
        layers=tuple(name for name, _ in named),
        rank=rank_of_target(scores, targets).double().numpy().reshape(shape),
        log_prob=log_prob.numpy().reshape(shape),
        top=(scores[:, 1:].argmax(1) + 1).numpy().reshape(shape),
    )
