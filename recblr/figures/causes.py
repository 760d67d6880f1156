"""The causes of a simulated log in words: which earlier event decides, and what else it takes."""

from __future__ import annotations

CAUSES: dict[str, str] = {
    "taste": "an item of an aisle that the user likes; no single event decides",
    "sequel": "a camera, then its memory card: the event before decides",
    "echo": "an item, then its refill a few events later: that item decides",
    "recall": "a pass, many events later “Redeem a pass” (the cue), then the reward of that pass: the pass decides",
    "habit": "after the same machine (the cue) the same coffee as the time before: that earlier coffee decides",
    "fork": "an item, any event after a short or a long pause (the cue), then one of two items: the first item decides "
    "which two, the pause which of them",
    "trend": "an item of the aisle in fashion on that date; no event decides",
    "noise": "a click anywhere; nothing decides",
}
"""Cause -> what happens, and which event an explanation should name."""
