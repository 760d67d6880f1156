"""What learnt tokens take from the events that they stand for, and which later events look at them.

K tokens, T events, H heads
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recblr.figures.events import Events
from recblr.figures.horizon import events_axis
from recblr.figures.view import GUTTER, MARGIN, ROLES, View, cursor, new_figure, nothing, percent, plural
from recblr.trace import LayerTrace, Trace

_MOST = 0.98
"""Share of the cells that the colour range covers, so that a few extreme ones do not bleach all others."""
_CLEAR = "rgba(128, 128, 128, 0)"


def has_tokens(layer: LayerTrace) -> bool:
    """Whether the events of the history were compressed into tokens there."""
    return layer.token_read is not None and layer.token_mix is not None and layer.token_after is not None


def tokens(trace: Trace, layer: int, step: int, events: Events, *, head: int | None = None) -> View:
    """Above: the attention of each token to the events it stands for; below: that of later events to each token.

    Of one head, or their mean. `step` counts from 0.
    """
    record = trace.layers[layer]
    question = "What do the tokens that stand for earlier events keep?"
    if record.token_read is None or record.token_mix is None or record.token_after is None:
        why = "No event of this history is compressed into tokens here: what is read is the events themselves."
        return nothing(question, why)
    reads, used = _of_head(record.token_read, head), _of_head(record.token_mix, head).T  # [K, T] each
    names = _names(record.token_after[0])
    figure = new_figure(
        [_cells(reads, names, events, "y", "takes in"), _cells(used, names, events, "y2", "is looked at by")],
        height=150 + 30 * max(len(names), 4),
        x_title="event",
        y_title="reads",
        x={**events_axis(events), "anchor": "y2"},
        y={"type": "category", "autorange": "reversed", "domain": [0.53, 1.0], "nticks": min(len(names), 16)},
        yaxis2={
            "title": {"text": "is read by"},
            "type": "category",
            "autorange": "reversed",
            "domain": [0.0, 0.47],
            "nticks": min(len(names), 16),
            "zeroline": False,
            "fixedrange": True,
        },
        shapes=[{**cursor(events.first + step), "yref": "paper"}],
        margin={"l": GUTTER + 24, "r": MARGIN, "t": 8, "b": 40},
    )
    answer = _answer(record, reads, names, step, events, head)
    return View(question=question, answer=answer, figure=figure, table=_table(reads, used, names, events))


def _of_head(array: NDArray[np.floating], head: int | None) -> NDArray[np.float64]:
    values = array[0].mean(axis=0) if head is None else array[0, head]
    return np.asarray(values, dtype=np.float64)


def _names(after: NDArray[np.int64]) -> list[str]:
    """Such as "32 · 2", the second token after event 32 of those that were read."""
    places = [int((after[:n] == one).sum()) + 1 for n, one in enumerate(after)]
    return [f"{one} · {place}" for one, place in zip(after.tolist(), places, strict=True)]


def _cells(values: NDArray[np.float64], names: list[str], events: Events, axis: str, word: str) -> dict[str, Any]:
    seen = values != 0  # a token reads the events of its segment alone, and is read by later ones
    signed = bool((values < 0).any())
    high = float(np.quantile(np.abs(values[seen]), _MOST)) if seen.any() else 1.0
    ends = [(0.5, _CLEAR), (1.0, ROLES["positive"])] if signed else [(0.0, _CLEAR), (1.0, ROLES["attention"])]
    return {
        "type": "heatmap",
        "z": np.where(seen, values, np.nan),
        "x": events.numbers,
        "y": names,
        "yaxis": axis,
        "zmin": -high if signed else 0,
        "zmax": high,
        "colorscale": [(0.0, ROLES["negative"]), *ends] if signed else ends,
        "showscale": False,
        "hoverongaps": False,
        "customdata": np.broadcast_to(np.array(events.titles, dtype=object), values.shape),
        "hovertemplate": f"token %{{y}} {word} event %{{x}}, %{{customdata}}: %{{z:.3~g}}<extra></extra>",
    }


def _answer(
    record: LayerTrace, reads: NDArray[np.float64], names: list[str], step: int, events: Events, head: int | None
) -> str:
    after = np.asarray(record.token_after)[0]
    before = int((after <= step).sum())  # tokens that the step can look at
    told = f"{plural(len(names), 'token')} {'stands' if len(names) == 1 else 'stand'} for the first "
    told += f"{plural(int(after.max()), 'event')} that were read"
    token, event = np.unravel_index(int(np.abs(reads).argmax()), reads.shape)
    told += f". Most of all, token {names[int(token)]} takes in event {events.first + int(event)} "
    told += f"(“{events.titles[int(event)]}”)"
    if record.token_mix is None or record.mix is None or not before:
        return f"{told}. Event {events.first + step} comes before the first of them."
    tokens = np.abs(_of_head(np.abs(record.token_mix), head)[step]).sum()
    own = np.abs(_of_head(np.abs(record.mix), head)[step]).sum()
    share = float(tokens / (tokens + own)) if tokens + own > 0 else 0.0
    return f"{told}. Event {events.first + step} gives the tokens {percent(share)} of its attention, by size of weight."


def _table(reads: NDArray[np.float64], used: NDArray[np.float64], names: list[str], events: Events) -> pd.DataFrame:
    count = len(names)
    return pd.DataFrame(
        {
            "token": np.repeat(names, len(events)),
            "event": np.tile(events.numbers, count),
            "title": np.tile(np.array(events.titles, dtype=object), count),
            "token reads event": reads.ravel(),
            "event reads token": used.ravel(),
        }
    )
