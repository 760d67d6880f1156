"""Full-ranking metrics under named protocols, with intervals over users."""

from recblr.evaluation.causes import CauseRow, Truth
from recblr.evaluation.evaluate import evaluate, evaluate_every_position
from recblr.evaluation.intervals import Difference, bootstrap_intervals, paired_difference
from recblr.evaluation.protocols import PROTOCOLS, Protocol, protocol
from recblr.evaluation.ranking import metrics_from_ranks, rank_of_target
from recblr.evaluation.result import Evaluation, compare

__all__ = [
    "PROTOCOLS",
    "CauseRow",
    "Difference",
    "Evaluation",
    "Protocol",
    "Truth",
    "bootstrap_intervals",
    "compare",
    "evaluate",
    "evaluate_every_position",
    "metrics_from_ranks",
    "paired_difference",
    "protocol",
    "rank_of_target",
]
