"""Run every peer on a case: check, weigh, time; a row each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from lrscan.cases import Case, inputs, minimal_bytes, operations
from lrscan.measure import COPY, WrongResult, check, copy_program, interleaved, oracle

from bench.memory import peak_bytes
from bench.peers.base import LIMITS, OURS_LIMITS, Built, Peer

Row = dict[str, Any]


def rows_of(
    case: Case, peers: Sequence[Peer], *, device: str, repeats: int, seconds: float, say: Callable[[str], None]
) -> list[Row]:
    """One row a peer whose business the case is, after one for the copy; a row has a time or a `reason`."""
    peers = [peer for peer in peers if peer.suits(case)]
    rows = {COPY: row_of(case, COPY, "As many bytes as the call must move, half read and half written.")}
    rows |= {peer.name: row_of(case, peer.name, peer.what, peer.ours) for peer in peers}
    if device.startswith("cuda") and not torch.cuda.is_available():
        return [{**row, "reason": "not measured: there is no CUDA device here"} for row in rows.values()]
    leaves, bounds = inputs(case, device)
    wanted = oracle(case, leaves, bounds)
    programs = {COPY: copy_program(minimal_bytes(case), device)}
    for peer in peers:
        say(f"{peer.name} …")
        try:
            why = peer.refuses(case, device)
            if why is not None:
                rows[peer.name]["reason"] = why
                continue
            built = peer.build(case, leaves, bounds)
            rows[peer.name] |= _checked(case, peer, built, wanted if built.wanted is None else built.wanted)
            rows[peer.name]["peak_bytes"] = peak_bytes(built.timed, device)
            programs[peer.name] = built.timed
        except WrongResult as wrong:
            rows[peer.name]["reason"] = str(wrong)
        except Exception as failed:  # one peer's failure must not end the run of the others
            rows[peer.name]["reason"] = f"failed: {_first_line(failed)}"
    say("timing …")
    timings = interleaved(programs, device=device, repeats=repeats, seconds=seconds)
    for name, timing in timings.items():
        size = minimal_bytes(case)
        rows[name] |= asdict(timing) | {"bytes": size, "gb_per_second": size / timing.median_ms / 1e6}
    return list(rows.values())


def row_of(case: Case, peer: str, what: str, ours: bool = False) -> Row:
    """A row that holds no time yet."""
    return {"peer": peer, "what": what, "ours": ours, **asdict(case), "operations": operations(case), "reason": None}


def _checked(case: Case, peer: Peer, built: Built, wanted: dict[str, torch.Tensor]) -> Row:
    """Errors of a peer; raises WrongResult."""
    limit = (OURS_LIMITS if peer.ours else LIMITS)[case.dtype]
    got = built.results()
    known = {name: one for name, one in wanted.items() if name in got}
    errors = check(got, known, limit, peer.name)
    return {"error": max(errors.values()), "errors": errors}


def _first_line(failed: Exception) -> str:
    return str(failed).strip().partition("\n")[0][:200] or type(failed).__name__
