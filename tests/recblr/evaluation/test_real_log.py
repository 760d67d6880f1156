"""MovieLens-1M, where the folder of real logs stands beside the project or RECBLR_REAL_DATA names it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from recblr.backbones.base import make_config
from recblr.backbones.markov import Markov
from recblr.data import read_log
from recblr.evaluation import compare, evaluate, protocol

ROOT = Path(__file__).resolve().parents[3]
FILE = Path(os.environ.get("RECBLR_REAL_DATA", ROOT.parent / "shared" / "data")) / "ml-1m" / "ml-1m.inter"


@pytest.mark.real_data
@pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is absent: RECBLR_REAL_DATA names the folder of real logs")
def test_masking_seen_items_lifts_a_markov_chain_on_movielens_and_takes_seconds(
    record_property: Callable[[str, object], None],
) -> None:
    log, _ = read_log(FILE)
    model = Markov(make_config(Markov, n_items=log.catalog.n_items))
    model.fit(log, protocol("recbole").split(log).train_end)
    kept, masked = evaluate(model, log, "recbole"), evaluate(model, log, "lrurec")
    record_property("evaluation of 6,040 users, seconds", round(masked.seconds, 2))
    assert kept.n_users == 6040
    assert kept.metrics["HR@10"] == pytest.approx(0.1912, abs=5e-5)
    assert masked.metrics["HR@10"] == pytest.approx(0.2096, abs=5e-5)
    assert (masked.ranks <= kept.ranks).all()
    assert masked.seconds < 20
    with pytest.raises(ValueError, match="differ in protocol"):
        compare(kept, masked)
