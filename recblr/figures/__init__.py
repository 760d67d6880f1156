"""Pure functions from a trace or a table to a figure with its question, its answer and its numbers.

    events = describe(trace.items[0], trace.times[0], catalog)
    view = memory(trace, layer=0, step=len(events) - 1, events=events)
    view.answer; view.figure; view.table

`recblr.figures.trajectory` imports scikit-learn and is imported by those who draw it.
"""

from recblr.figures.agreement import horizons, jaccard, overlap, rbo, true_ranks
from recblr.figures.by_cause import against_state, by_cause
from recblr.figures.channel import channel_parts
from recblr.figures.compression import compression
from recblr.figures.deletion_curve import deletion_curve
from recblr.figures.events import Events, describe
from recblr.figures.faithful import faithful
from recblr.figures.golden_triangle import golden_triangle
from recblr.figures.half_life import lives
from recblr.figures.heat_map import heat
from recblr.figures.horizon import horizon_sentence, memory
from recblr.figures.lens import since_when
from recblr.figures.method_agreement import method_agreement
from recblr.figures.movement import movement
from recblr.figures.pause import pauses
from recblr.figures.recent import needed
from recblr.figures.removals import removals
from recblr.figures.scoreboard import scoreboard
from recblr.figures.size import norms
from recblr.figures.tokens import has_tokens, tokens
from recblr.figures.view import View
from recblr.figures.waterfall import explained_events, profile, waterfall

__all__ = [
    "Events",
    "View",
    "against_state",
    "by_cause",
    "channel_parts",
    "compression",
    "deletion_curve",
    "describe",
    "explained_events",
    "faithful",
    "golden_triangle",
    "has_tokens",
    "heat",
    "horizon_sentence",
    "horizons",
    "jaccard",
    "lives",
    "memory",
    "method_agreement",
    "movement",
    "needed",
    "norms",
    "overlap",
    "pauses",
    "profile",
    "rbo",
    "removals",
    "scoreboard",
    "since_when",
    "tokens",
    "true_ranks",
    "waterfall",
]
