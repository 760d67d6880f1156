"""The benchmark: every peer is right or says why it has no time, and bars are what their rows say."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lrscan.cases import Case, inputs
from lrscan.measure import COPY, oracle

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
sys.path.append(str(KERNELS))  # as `cd kernels && python -m bench` has it

from bench import bars, curves, record  # noqa: E402
from bench import live as live_jobs  # noqa: E402
from bench.__main__ import bar_line, line  # noqa: E402
from bench.memory import peak_bytes  # noqa: E402
from bench.peers.base import Peer, of_torch  # noqa: E402
from bench.peers.every import PEERS  # noqa: E402
from bench.peers.torch_scans import doubling, time_loop  # noqa: E402
from bench.run import rows_of  # noqa: E402
from bench.sets import ANCHOR, CPU_SHAPES, cases  # noqa: E402

SMALL = Case(operator="linear", batch=2, time=13, channels=6)


def rows(case, peers=PEERS, **options):
    return rows_of(case, peers, device="cpu", repeats=1, seconds=0.0, say=lambda text: None, **options)


@pytest.mark.parametrize("operator", ["linear", "bdlru"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_peer_that_runs_here_agrees_with_float64_and_every_other_says_why(operator, dtype):
    found = {row["peer"]: row for row in rows(replace(SMALL, operator=operator, dtype=dtype))}
    expected = {"linear": {"Hillis-Steele", "time loop", "torch associative_scan"}, "bdlru": {"RecBLR's path"}}
    for name in (COPY, "lrscan torch", *expected[operator]):
        assert found[name]["reason"] is None, found[name]["reason"]
        assert found[name]["median_ms"] > 0
    for row in found.values():
        assert ("median_ms" in row) == (row["reason"] is None)
        if row["reason"] is None and row["peer"] != COPY:
            assert row["error"] < {"float32": 1e-5, "bfloat16": 5e-2}[dtype]
            assert {"out"} < set(row["errors"])


def test_a_peer_that_is_wrong_or_fails_gets_its_reason_and_no_time():
    def wrong(given):
        return time_loop(given) * 1.01

    def failing(given):
        raise RuntimeError("no room\nfor this")

    odd = [
        Peer(name=name, what="", operators=frozenset({"linear"}), build=lambda c, x, b, f=f: of_torch(c, x, f))
        for name, f in (("wrong", wrong), ("failing", failing), ("loop", time_loop))
    ]
    found = {row["peer"]: row for row in rows(SMALL, odd)}
    assert "wrong is wrong: " in found["wrong"]["reason"]
    assert found["failing"]["reason"] == "failed: no room"
    assert all("median_ms" not in found[name] for name in ("wrong", "failing"))
    assert found["loop"]["median_ms"] > 0
    assert "not timed" in line(found["wrong"])
    assert "ms" in line(found["loop"])


def test_a_padded_twin_computes_what_the_packed_batch_does():
    case = Case(operator="bdlru", batch=5, time=20, channels=6, fill=0.4)
    found = {row["peer"]: row for row in rows(case)}
    assert set(found) >= {COPY, "lrscan torch", "lrscan torch, padded"}
    assert found["lrscan torch, padded"]["error"] < 5e-6
    assert not any(row["peer"] in {"RecBLR's path", "time loop"} for row in found.values())


def test_a_loop_in_python_is_not_asked_for_a_million_steps():
    loop = next(peer for peer in PEERS if peer.name == "time loop")
    assert "loop over 1,000,000 steps" in loop.refuses(replace(SMALL, time=1_000_000), "cpu")
    assert loop.refuses(SMALL, "cpu") is None


def test_without_a_gpu_its_rows_are_not_measured_and_its_inputs_are_not_made(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = rows_of(cases("gpu", quick=False)[-1], PEERS, device="cuda", repeats=1, seconds=0, say=print)
    assert found
    assert {row["reason"] for row in found} == {"not measured: there is no CUDA device here"}


def test_doubling_along_any_axis_is_the_loop():
    leaves, _ = inputs(replace(SMALL, dtype="float64", direction="forward"))
    wanted = time_loop(leaves)
    torch.testing.assert_close(doubling(leaves["a"], leaves["b"], dim=1), wanted)
    rows_first = doubling(leaves["a"].mT.contiguous(), leaves["b"].mT.contiguous(), dim=2).mT
    torch.testing.assert_close(rows_first, wanted)
    torch.testing.assert_close(wanted, oracle(replace(SMALL, dtype="float64"), leaves, None)["out"])


def test_the_row_kernel_of_the_published_path_is_right_in_the_interpreter():
    pytest.importorskip("triton")
    program = (
        "import torch, bench.peers.row_scan as r\n"
        "from bench.peers.torch_scans import doubling\n"
        "a, b, h = torch.rand(3, 16), torch.randn(3, 16), torch.empty(3, 16)\n"
        "r._rows[(3,)](a, b, h, T=16, REVERSE=False)\n"
        "assert torch.allclose(h, doubling(a, b, dim=1), atol=1e-5)\n"
        "r._rows[(3,)](a, b, h, T=16, REVERSE=True)\n"
        "assert torch.allclose(h, r.scan_rows(a, b, reverse=True), atol=1e-5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=KERNELS, capture_output=True, text=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_peak_memory_of_a_call_is_what_it_holds_at_once():
    size = 64 * 2**20
    peak = peak_bytes(lambda: torch.ones(size, dtype=torch.uint8), "cpu")
    if peak is None:
        pytest.skip("this system does not count the peak")
    assert size * 0.95 < peak < size * 1.5


def timed(peer, operator, shape, direction, ms, **fields):
    b, t, d = shape
    sizes = {"batch": b, "time": t, "channels": d, "dtype": "float32", "fill": 1.0}
    kept = {"operator": operator, "direction": direction, "median_ms": ms, "to_copy": ms, "ours": True, "error": 1e-7}
    return {"peer": peer, **sizes, **kept, **fields}


def test_a_bar_is_the_worst_of_its_shapes_and_not_measured_where_a_row_is_missing():
    small, large = CPU_SHAPES
    found = [
        timed("lrscan native", "linear", small, "forward", 1.0),
        timed("lrscan native", "linear", large, "forward", 1.3),
        timed("lrscan native", "linear", small, "both", 1.0),
    ]
    judged = {bar["goal"]: bar for bar in bars.judge("cpu", found) if bar["device"] == "cpu"}
    forward = judged["native scan forward: times a copy"]
    assert (forward["measured"], forward["holds"]) == (1.3, False)
    assert judged["native scan forward+backward: times a copy"]["measured"] is None
    assert judged["native scan forward+backward: times a copy"]["holds"] is None
    assert "MISSED" in bar_line(forward)
    assert "not measured" in bar_line(judged["native scan forward+backward: times a copy"])


def test_a_gpu_bar_compares_with_the_fastest_of_its_peers_and_a_cpu_run_says_nothing_of_it():
    found = [
        timed("lrscan triton", "linear", ANCHOR, "both", 1.0),
        timed("accelerated-scan warp", "linear", ANCHOR, "both", 3.0),
        timed("accelerated-scan scalar", "linear", ANCHOR, "both", 2.0),
    ]
    goal = next(bar.goal for bar in bars.BARS if "from [B, T, D]" in bar.goal)
    by_goal = {bar["goal"]: bar for bar in bars.judge("gpu", found) if bar["device"] == "gpu"}
    assert (by_goal[goal]["measured"], by_goal[goal]["holds"]) == (2.0, True)
    assert all(bar["measured"] is None for bar in bars.judge("cpu", found) if bar["device"] == "gpu")


def test_a_record_names_device_versions_commit_and_date_and_replaces_the_one_before(tmp_path):
    made = record.record_of("cpu", "cpu", [], bars.judge("cpu", []))
    assert made["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert made["date"].endswith("UTC")
    assert made["commit"]
    assert made["device"]
    path = record.write(made, tmp_path)
    assert record.write({**made, "rows": [{"peer": COPY}]}, tmp_path) == path
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert json.loads(path.read_text())["rows"] == [{"peer": COPY}]


def live(module, **request):
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=KERNELS, capture_output=True, text=True,
        input=json.dumps({"device": "cpu", "seconds": 100, **request}),
    )  # fmt: skip
    return [json.loads(text) for text in done.stdout.splitlines()], done


def test_a_live_run_says_what_it_does_and_gives_rows_and_the_ceiling():
    said, done = live("bench.live", job="shape", case={"batch": 2, "time": 5, "channels": 4}, backends=["torch"])
    assert done.returncode == 0, done.stderr
    (found,) = (one["rows"] for one in said if "rows" in one)
    assert [row["peer"] for row in found] == [COPY, "lrscan torch"]
    assert all(row["reason"] is None for row in found)
    assert said[-1]["ceiling"] > 1e6
    assert any("said" in one for one in said)


def test_a_live_run_of_nonsense_fails_with_its_reason():
    said, done = live("bench.live", job="shape", case={"operator": "nonsense"}, backends=["torch"])
    assert done.returncode != 0
    assert "operator must be one of" in said[-1]["failed"]


def test_curves_come_a_point_at_a_time_of_the_peers_that_are_here(monkeypatch):
    monkeypatch.setitem(curves.POINTS, "time", (3, 5, 10**9))
    said = []
    sizes = {"operator": "linear", "batch": 2, "time": 200, "channels": 4, "direction": "forward"}
    curves.curves({"case": sizes, "along": "time", "device": "cpu"}, said.append)
    points = [one["rows"] for one in said if "rows" in one]
    assert [{row["time"] for row in rows_at} for rows_at in points] == [{3}, {5}]
    assert {"copy", "lrscan torch", "time loop"} <= {row["peer"] for row in points[0]}
    assert not any("not installed" in str(row["reason"]) for row in points[0])


def test_the_code_of_a_kernel_comes_with_what_it_takes_of_the_hardware():
    if live_jobs.compiled is None:
        pytest.skip("Triton is not here")
    said = []
    request = {"operator": "linear", "direction": "forward", "dtype": "float32", "arch": 90}
    live_jobs.code(request, said.append)
    made = said[-1]["code"]
    assert made["spills"] == 0
    assert made["registers"] > 0
    assert "LDGSTS" in made["sass"]
    assert ".target sm_90" in made["ptx"]
    with pytest.raises(ValueError):
        live_jobs.code({**request, "operator": "nonsense"}, said.append)


def test_the_quick_run_prints_rows_and_bars_and_records_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--set", "gpu", "--quick", "--json"],
        cwd=KERNELS,
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "not measured: there is no CUDA device here" in done.stdout
    assert "A quick run is not recorded." in done.stdout
    assert done.stdout.count("not measured /") == len(bars.BARS)
