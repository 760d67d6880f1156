"""A shop with planted causes: logs in which every event knows why it happened."""

from recblr.data.simulator.config import CAUSES, DEFAULT_SHARES, SimulatorConfig
from recblr.data.simulator.files import (
    SAMPLES,
    has_truth,
    load_truth,
    read_manifest,
    table_hashes,
    write_all,
    write_sample,
)
from recblr.data.simulator.process import simulate
from recblr.data.simulator.truth import (
    Simulated,
    Truth,
    bayes_ceiling,
    ceiling_by_cause,
    ranking_metrics,
    true_ranks,
)

__all__ = [
    "CAUSES",
    "DEFAULT_SHARES",
    "SAMPLES",
    "Simulated",
    "SimulatorConfig",
    "Truth",
    "bayes_ceiling",
    "ceiling_by_cause",
    "has_truth",
    "load_truth",
    "ranking_metrics",
    "read_manifest",
    "simulate",
    "table_hashes",
    "true_ranks",
    "write_all",
    "write_sample",
]
