"""Figures of measured kernels: what they say is what the rows hold."""

from __future__ import annotations

from typing import Any

import pytest

from recblr.figures import machine_code
from recblr.figures.roofline import roofline
from recblr.figures.scaling import scaling
from recblr.figures.speeds import speeds

SASS = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;                 /* 0x00000a00ff017b82 */
                                                                          /* 0x000fe20000000800 */
        /*0010*/                   LDG.E R2, desc[UR4][R2.64] ;           /* 0x0000000402027981 */
        /*0020*/                   LDGSTS.E [R5], desc[UR4][R2.64] ;      /* 0x0000000402027981 */
        /*0030*/                   LDS R3, [R5] ;                         /* 0x0000000402027981 */
        /*0040*/                   FFMA R3, R3, R2, R3 ;                  /* 0x0000000402027981 */
        /*0050*/                   STG.E desc[UR4][R6.64], R3 ;           /* 0x0000000402027981 */
        /*0060*/               @P0 BRA 0x20 ;                             /* 0x0000000402027981 */
        /*0070*/                   STL [R1], R9 ;                         /* 0x0000000402027981 */
        /*0080*/                   BRA 0x80;                              /* 0x0000000402027981 */
"""


def row(peer: str, ms: float, *, time: int = 200, error: float | None = 1e-7, ours: bool = True) -> dict[str, Any]:
    sizes = {"batch": 4, "time": time, "bytes": 12_000_000, "operations": 2_000_000, "repeats": 9, "reason": None}
    spread = {"median_ms": ms, "low_ms": 0.9 * ms, "high_ms": 1.2 * ms, "best_ms": 0.8 * ms}
    ratios = {"to_copy": ms, "gb_per_second": 12 / ms}
    return {"peer": peer, "error": error, "ours": ours, **sizes, **spread, **ratios}


COPY = row("copy", 1.0, error=None, ours=False)
BROKEN = {"peer": "fla", "reason": "fla is wrong: out differs", "time": 200, "batch": 4, "ours": False}


def test_the_speeds_name_the_fastest_its_error_its_spread_and_its_share_of_the_copy() -> None:
    view = speeds([COPY, row("lrscan torch", 4.0), row("lrscan native", 2.0, error=3e-7), BROKEN])
    assert view.answer.startswith("Native takes 2 ms (1.8 to 2.4 in 80 % of 9 calls)")
    assert "differs from float64 by at most 3e-07" in view.answer
    assert "50 % of the bandwidth of a copy" in view.answer
    assert "Next is torch, 2 times as slow." in view.answer
    assert view.figure is not None
    assert list(view.figure.data[0]["y"]) == ["torch", "native"]
    assert view.table.set_index("program")["not timed because"]["fla"] == BROKEN["reason"]


def test_what_was_not_timed_is_not_drawn_and_its_reason_is_said() -> None:
    view = speeds([COPY, BROKEN])
    assert view.figure is None
    assert BROKEN["reason"] in view.answer


def test_the_roof_is_the_copy_up_to_the_ridge_and_the_ceiling_beyond() -> None:
    view = roofline([COPY, row("lrscan native", 2.0)], 1e11)
    assert view.figure is not None
    roof = view.figure.data[0]
    bandwidth = 12_000_000 / 1e-3
    for x, y in zip(roof["x"], roof["y"], strict=True):
        assert y == pytest.approx(min(bandwidth * x, 1e11) / 1e9)
    assert "It is memory" in view.answer
    assert "reaches 50 % of the limit" in view.answer
    assert "It is arithmetic" in roofline([COPY, row("lrscan native", 2.0)], 1e9).answer


def test_curves_are_lines_by_program_and_the_answer_reads_the_largest_size() -> None:
    rows = [row(peer, ms * t, time=t, ours=ours) for t in (50, 100) for peer, ms, ours in ENTRIES]
    view = scaling(rows, "time")
    assert view.figure is not None
    assert [line["name"] for line in view.figure.data] == ["copy", "native", "Hillis-Steele"]
    assert "At T = 100 native is fastest with 1 ms, 8 times as fast as Hillis-Steele" in view.answer
    assert "as T to the power 1." in view.answer
    assert view.figure.layout.xaxis.type == view.figure.layout.yaxis.type == "log"
    assert scaling([BROKEN], "time").figure is None


ENTRIES = (("copy", 0.001, False), ("lrscan native", 0.01, True), ("Hillis-Steele", 0.08, False))


def test_machine_code_is_marked_and_its_loop_is_what_runs_once_an_event() -> None:
    found = machine_code.lines(SASS)
    kinds = [line.kind for line in found]
    assert kinds == ["", "load", "asynchronous load", "", "arithmetic instruction", "store", "", "spill", ""]
    loop = machine_code.main_loop(found)
    assert [line.address for line in loop] == [0x20, 0x30, 0x40, 0x50, 0x60]
    assert machine_code.counted(loop) == "1 asynchronous load, 1 store, 1 arithmetic instruction"
    assert machine_code.main_loop(machine_code.lines("RET ;")) == []


def test_ptx_is_marked_too_and_what_it_holds_cannot_become_markup() -> None:
    found = machine_code.lines("ld.global.b32 %r1, [%rd1];\ncp.async.ca.shared.global [%r2], [%rd2];\n// <b>&</b>\n")
    assert [line.kind for line in found] == ["load", "asynchronous load", ""]
    drawn = machine_code.as_html(found, label='a "kernel"')
    assert "<b>" not in drawn
    assert 'aria-label="a &quot;kernel&quot;"' in drawn
    assert 'tabindex="0"' in drawn
    assert "⇣ cp.async" in drawn
