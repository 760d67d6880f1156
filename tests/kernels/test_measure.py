"""Bytes, errors and times of operator calls, and the refusal to time what is wrong."""

import math

import lrscan
import pytest
import torch
from lrscan import measure as measuring
from lrscan.cases import (
    DIRECTIONS,
    HEAD,
    HEADED,
    OPERATORS,
    PARAMETERS,
    STATES,
    Case,
    call,
    inputs,
    lengths,
    minimal_bytes,
)
from lrscan.measure import COPY, WrongResult, check, error, interleaved, measure, oracle, usable

SMALL = {"batch": 3, "time": 17, "channels": 8}
STREAMS = {  # [B, T, D] tensors read and written: forward, backward
    "linear": (3, 5),
    "bdlru": (4, 8),
    "rglru": (4, 8),
    "mingru": (3, 6),
    "hgrn": (3, 6),
    "complex": (2, 3),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_minimal_bytes_are_the_streams_that_must_be_read_and_written(name, dtype):
    if name == "complex" and dtype == "bfloat16":
        pytest.skip("there is no complex bfloat16")
    sizes = {"batch": 64, "time": 200, "channels": 128}
    element = {"float32": 4, "bfloat16": 2}[dtype] * (2 if name == "complex" else 1)
    forward, backward, both = (
        minimal_bytes(Case(operator=name, dtype=dtype, direction=one, **sizes)) for one in DIRECTIONS
    )
    parameters = sum(4 * 128 for _ in PARAMETERS)
    of_streams = [64 * 200 * 128 * element * n for n in STREAMS[name]]
    assert 0 <= forward - of_streams[0] <= parameters
    assert 0 <= backward - of_streams[1] <= 2 * parameters
    assert both == forward + backward


def test_a_shared_input_is_counted_at_its_own_size():
    case = Case(operator="ssd", batch=2, time=10, channels=2 * HEAD, direction="forward")
    events = 2 * 10
    elements = events * (2 * HEAD + 2 + 2 * STATES + 2 * HEAD) + 2  # x, dt, B and C, y, A
    assert minimal_bytes(case) == 4 * elements


def test_a_packed_batch_has_the_fill_that_was_asked_for_and_only_its_own_bytes():
    case = Case(operator="linear", batch=256, time=200, channels=4, direction="forward", fill=0.3)
    drawn = lengths(case)
    assert max(drawn) == 200
    assert min(drawn) >= 1
    assert sum(drawn) / (256 * 200) == pytest.approx(0.3, abs=0.01)
    assert minimal_bytes(case) == 3 * 4 * 4 * sum(drawn)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_agrees_with_float64_on_every_backend_that_runs_it(name):
    sizes = SMALL | ({"channels": HEAD} if name in HEADED else {})
    for fill in (1.0, 0.5):
        case = Case(operator=name, fill=fill, **sizes)
        runs = [backend for backend, why in usable(case).items() if why is None]
        assert "reference" in runs
        for result in measure(case, runs, repeats=1):
            assert result.error < 5e-6
            assert set(result.errors) == {"out", *(f"d {leaf}" for leaf in inputs(case)[0])}


def test_the_oracle_of_a_batch_in_slices_is_that_of_the_whole(monkeypatch):
    case = Case(operator="bdlru", **SMALL)
    leaves, bounds = inputs(case)
    whole = oracle(case, leaves, bounds)
    monkeypatch.setattr(measuring, "SLICE", 17 * 8)
    for name, piece in oracle(case, leaves, bounds).items():
        torch.testing.assert_close(piece, whole[name], rtol=1e-12, atol=1e-14)


def test_a_wrong_result_gets_no_time(monkeypatch):
    def off_by_a_little(case, leaves, bounds=None, backend=None):
        return call(case, leaves, bounds, backend) * (1 + 1e-4 * (backend == "torch"))

    monkeypatch.setattr(measuring, "call", off_by_a_little)
    with pytest.raises(WrongResult, match=r"torch is wrong: .* differs from float64 by 1\.0e-04"):
        measure(Case(operator="linear", **SMALL), ["torch"])
    assert measure(Case(operator="linear", **SMALL), ["reference"], repeats=1)


def test_an_output_that_is_not_a_number_or_has_another_shape_is_an_infinite_error():
    ones = torch.ones(3, dtype=torch.float64)
    assert error(torch.tensor([1.0, float("nan"), 1.0]), ones) == math.inf
    assert error(torch.ones(2), ones) == math.inf
    assert error(torch.tensor([1.0, 1.0, 0.5]), ones) == 0.5
    with pytest.raises(WrongResult):
        check({"out": torch.full((3,), float("inf"))}, {"out": ones}, 1e-3, "somebody")


def test_programs_take_turns_and_the_ratio_to_the_copy_is_of_the_same_round(monkeypatch):
    calls = []
    clock = iter(range(1000))
    monkeypatch.setattr(measuring, "WARM_UPS", 0)
    monkeypatch.setattr(measuring, "_cpu_timer", lambda run: run())

    def timed(name, factor):
        def run():
            calls.append(name)
            return factor * (1 + next(clock) // 2)  # the machine becomes slower round by round

        return run

    found = interleaved({COPY: timed(COPY, 1.0), "ours": timed("ours", 3.0)}, repeats=6, seconds=60.0)
    assert calls == [COPY, "ours"] * 6
    assert found["ours"].to_copy == 3
    assert found["ours"].median_ms == 3 * 3.5
    assert found["ours"].best_ms == 3
    assert found["ours"].low_ms <= found["ours"].median_ms <= found["ours"].high_ms


def test_a_slow_program_is_repeated_as_often_as_the_time_allows_but_not_less_than_asked():
    found = interleaved({"one": lambda: sum(range(1000))}, repeats=1000, least=3, seconds=0.0)
    assert found["one"].repeats == 3
    assert math.isnan(found["one"].to_copy)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_result_states_its_bandwidth_beside_that_of_a_copy(direction):
    (result,) = measure(Case(operator="linear", direction=direction, **SMALL), ["torch"], repeats=3)
    assert result.bytes == minimal_bytes(result.case)
    assert result.gb_per_second == pytest.approx(result.bytes / result.timing.median_ms / 1e6)
    assert result.share_of_copy == pytest.approx(1 / result.timing.to_copy)
    assert result.copy.to_copy == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"operator": "scan"}, "operator must be one of linear"),
        ({"dtype": "int8"}, "dtype must be one of float32"),
        ({"direction": "sideways"}, "direction must be one of forward"),
        ({"time": 0}, "time must be at least 1"),
        ({"fill": 0.0}, "fill must be above 0"),
        ({"operator": "ssd", "channels": 30}, "channels must be a multiple"),
        ({"operator": "complex", "dtype": "bfloat16"}, "bfloat16 has no complex"),
    ],
)
def test_a_case_that_cannot_be_is_refused_by_the_name_of_its_field(fields, said):
    with pytest.raises(ValueError, match=said):
        Case(**fields)


def test_what_cannot_run_says_why(monkeypatch):
    found = usable(Case(operator="linear", **SMALL))
    assert list(found) == list(lrscan.backends())
    assert found["torch"] is None
