"""The causes in words are those of the simulator."""

from recblr.data.simulator import CAUSES as SIMULATED
from recblr.figures.causes import CAUSES


def test_every_cause_of_the_simulator_is_told_in_words_and_no_other() -> None:
    assert set(CAUSES) == set(SIMULATED)
    for cause in ("taste", "trend", "noise"):
        assert "decides" in CAUSES[cause]
        assert "no" in CAUSES[cause]
