"""One measurement for the app, in a process of its own: ``python -m bench.live`` with a request as JSON on its input.

    {"job": "shape", "case": {...}, "backends": ["native", "torch"], "device": "cpu", "seconds": 60}
    {"job": "code", "operator": "bdlru", "direction": "forward", "dtype": "float32", "arch": 90, "seconds": 60}

Answers with one JSON object a line: {"said"} for progress, {"rows"}, {"ceiling"}, {"code"}, or {"failed"} and why.
Whoever asks may end the process at any time; after `seconds` it ends itself. `bench.curves` is the same for curves,
apart because it imports every peer.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lrscan.cases import Case
from lrscan.measure import interleaved

from bench.peers.ours import peer
from bench.run import rows_of

try:
    from lrscan import compiled
except ImportError as error:
    compiled, _why_not_compiled = None, str(error)
else:
    _why_not_compiled = ""

MATRIX = {"cpu": 512, "cuda": 8192}
"""Side of the matrices whose product says how fast arithmetic can be."""
SECONDS = 0.6
"""Of timing; a reader waits for the imports and the comparison besides."""

Say = Callable[[dict[str, Any]], None]
Job = Callable[[dict[str, Any], Say], None]


def shape(request: dict[str, Any], say: Say) -> None:
    """The chosen backends at one shape, and how fast arithmetic can be."""
    case, device = Case(**request["case"]), request["device"]
    peers = [peer(backend) for backend in request["backends"]]
    say({"said": "comparing with float64 …"})
    repeats = 3 if "triton-interpret" in request["backends"] else 50
    say(
        {
            "rows": rows_of(
                case, peers, device=device, repeats=repeats, seconds=SECONDS, say=lambda text: say({"said": text})
            )
        }
    )
    say({"ceiling": ceiling(device)})


def code(request: dict[str, Any], say: Say) -> None:
    """PTX and machine code of a shipped kernel, with what it takes of the hardware."""
    if compiled is None:
        raise RuntimeError(f"this lrscan cannot compile its GPU kernels: {_why_not_compiled}")
    say({"said": "compiling …"})
    made = compiled.compile_kernel(request["operator"], request["direction"], request["dtype"], request["arch"])
    say({"code": {**made.row(), "ptx": made.ptx, "sass": made.sass}})


def ceiling(device: str) -> float:
    """Operations a second of a float32 matrix product: more than that no arithmetic reaches."""
    side = MATRIX[device]
    left, right = (torch.ones(side, side, device=device) for _ in range(2))
    timing = interleaved({"product": lambda: left @ right}, device=device, repeats=10, seconds=0.3)["product"]
    return float(2 * side**3 / (timing.best_ms / 1e3))


def answer(jobs: Mapping[str, Job]) -> int:
    """Read a request, run its job, and write what it says; a failure is said and then raised, for the log."""
    request = json.loads(sys.stdin.read())
    signal.alarm(int(request["seconds"]))

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    try:
        jobs[request["job"]](request, say)
    except Exception as failed:
        text = str(failed).strip().partition("\n")[0][:300]
        say({"failed": text or type(failed).__name__})
        raise
    return 0


if __name__ == "__main__":
    sys.exit(answer({"shape": shape, "code": code}))
