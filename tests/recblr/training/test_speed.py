import runpy
from pathlib import Path

import pytest

from recblr.training import speed
from recblr.training.speed import measure

ring = runpy.run_path(str(Path(__file__).parent / "ring.py"))["ring"]


def test_the_restatements_compute_the_same_gradients_and_are_timed():
    result = measure(ring(), steps=1, batch_size=4, max_len=16)
    assert len(result["seconds_per_million_targets"]) == 4
    assert all(seconds > 0 for seconds in result["seconds_per_million_targets"].values())


def test_no_time_is_printed_for_a_wrong_result(monkeypatch):
    right = speed._plain_mixer
    monkeypatch.setattr(speed, "_plain_mixer", lambda mixer, x: 1.01 * right(mixer, x))
    with pytest.raises(AssertionError, match="other gradients"):
        measure(ring(), steps=1, batch_size=4, max_len=16)
