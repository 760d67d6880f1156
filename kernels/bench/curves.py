"""Every installed peer along one size, for the app: ``python -m bench.curves``, else as `bench.live`.

{"job": "curves", "case": {...}, "along": "time", "device": "cpu", "seconds": 60}
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from lrscan.cases import Case

from bench.live import Say, answer
from bench.peers.every import PEERS
from bench.run import rows_of

POINTS = {"time": (25, 50, 100, 200, 400, 800, 1600), "batch": (1, 4, 16, 64, 256, 1024)}
"""Sizes of a curve."""
ELEMENTS = {"cpu": 2**21, "cuda": 2**27}
"""Elements B * T * D beyond which a curve ends."""


def curves(request: dict[str, Any], say: Say) -> None:
    """A point at a time; rows of peers that do not run here are left out."""
    base, device, along = Case(**request["case"]), request["device"], request["along"]
    installed = [peer for peer in PEERS if peer.missing(device) is None]
    for size in POINTS[along]:
        case = replace(base, **{along: size})
        if case.batch * case.time * case.channels > ELEMENTS[device]:
            continue
        say({"said": f"{'T' if along == 'time' else 'B'} = {size:,} …"})
        say({"rows": rows_of(case, installed, device=device, repeats=10, seconds=0.6, say=lambda text: None)})


if __name__ == "__main__":
    sys.exit(answer({"curves": curves}))
