"""The shipped kernels, compiled here for GPUs that are elsewhere."""

import json

import pytest

pytest.importorskip("triton", reason="THE KERNELS ARE NOT COMPILED: the package triton is not installed")

from lrscan import compiled

SHIPPED = compiled.shipped()
ON_H100 = [
    k for k in SHIPPED if k.features == "full" and k.dtype != "bfloat16" and k.direction in ("forward", "backward")
]
TIGHTEST = [
    ("bdlru + silu", "backward", "float32"),
    ("selective", "backward", "float32"),
    ("ssd, 128 states", "backward", "bfloat16"),
    ("delta, keys of 128", "backward", "float32"),
]
"""The kernels that need the most registers: those of the other architectures that a test can afford."""

STREAMS = {
    ("linear", "forward"): 2, ("linear", "backward"): 3, ("bdlru", "forward"): 3, ("bdlru", "backward"): 5,
    ("mingru", "forward"): 2, ("hgrn", "backward"): 4, ("complex", "forward"): 1, ("complex", "backward"): 2,
}  # fmt: skip
"""Tensors that a time step reads."""


def name(kernel):
    return f"{kernel.operator} {kernel.direction} {kernel.dtype} {kernel.features}"


def keeps_to_registers(kernel):
    return kernel.spills == kernel.stack == 0 and kernel.registers <= 255


@pytest.mark.slow
@pytest.mark.parametrize("key", ON_H100, ids=name)
def test_a_kernel_with_every_feature_keeps_to_its_registers_on_sm_90(key):
    kernel = compiled.compile_kernel(key.operator, key.direction, key.dtype, 90, key.features)
    assert keeps_to_registers(kernel), kernel.row()
    assert ".target sm_90" in kernel.ptx
    assert "EXIT" in kernel.sass


@pytest.mark.slow
@pytest.mark.parametrize("arch", [80, 86, 89, 100])
@pytest.mark.parametrize("key", TIGHTEST, ids=" ".join)
def test_the_kernels_that_need_most_registers_keep_to_them_everywhere(key, arch):
    kernel = compiled.compile_kernel(*key, arch, "full")
    assert keeps_to_registers(kernel), kernel.row()
    assert f".target sm_{arch}" in kernel.ptx


@pytest.mark.parametrize(("key", "streams"), STREAMS.items(), ids=[" ".join(k) for k in STREAMS])
def test_every_load_of_a_time_step_is_wide_and_starts_steps_ahead(key, streams):
    dtype = "complex64" if key[0] == "complex" else "float32"
    kernel = compiled.compile_kernel(*key, dtype, 80)
    assert kernel.async_loads >= streams * kernel.stages
    assert kernel.vector_loads >= kernel.async_loads


def test_each_operator_ships_both_directions_plain_and_with_every_feature():
    found = {(k.operator, k.direction, k.features) for k in SHIPPED}
    operators = {k.operator for k in SHIPPED}
    assert {"linear", "bdlru", "mingru", "hgrn", "complex", "selective", "ssd", "delta"} <= operators
    for operator in operators:
        for direction in ("forward", "backward"):
            assert {(operator, direction, f) for f in compiled.FEATURES} <= found
    assert {d for o, d, _ in found if o == "linear"} == {"forward", "backward", "summary", "adjoint summary"}


def test_what_is_not_shipped_is_named():
    with pytest.raises(ValueError, match="shipped"):
        compiled.compile_kernel("linear", "sideways", "float32", 90)
    with pytest.raises(ValueError, match="arch 75"):
        compiled.compile_kernel("linear", "forward", "float32", 75)
    with pytest.raises(SystemExit):
        compiled.main(["--arch", "80,75"])


def test_the_command_prints_a_table_and_writes_it_as_json(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(compiled, "shipped", lambda: SHIPPED[:1])
    assert compiled.main(["--arch", "80", "--json", str(tmp_path / "kernels.json")]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["operator", "direction"]
    assert row.split()[:2] == ["linear", "forward"]
    record = json.loads((tmp_path / "kernels.json").read_text())
    assert record["kernels"][0]["spills"] == 0
    assert "ptx" not in record["kernels"][0]
