"""Every operator on every backend against the float64 oracle, forward and every gradient; packs, parts and steps."""

import runpy
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lrscan import complex_scan, linear_scan, use_backend

of = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("scan_inputs.py"))))
BACKENDS, FAST, OPERATORS, OVER_TIME, SEQUENTIAL, STEP, TOLERANCE = (
    of.BACKENDS,
    of.FAST,
    of.OPERATORS,
    of.OVER_TIME,
    of.SEQUENTIAL,
    of.STEP,
    of.TOLERANCE,
)
check_all, initial, inputs, oracle, part, run, scan, widest_error = (
    of.check_all,
    of.initial,
    of.inputs,
    of.oracle,
    of.part,
    of.run,
    of.scan,
    of.widest_error,
)

CASES = [
    (1, "plain"), (1, "reset"), (2, "reverse"), (63, "reset"), (64, "plain"), (65, "reverse"), (65, "reset"),
    (200, "plain"), (200, "reverse"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "option"), CASES)
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_float32_stays_close_to_the_oracle_forward_and_backward(backend, operator, steps, option):
    leaves, h0 = inputs(operator, (2, steps), torch.float32), initial(operator, 2, torch.float32)
    reset = torch.rand(2, steps, generator=torch.Generator().manual_seed(3)) < 0.1
    options = {"plain": {}, "reverse": {"reverse": True}, "reset": {"reset": reset}}[option]
    wanted = run(operator, *oracle(leaves, h0), "reference", **options)
    check_all(run(operator, leaves, h0, backend, **options), wanted)


@pytest.mark.parametrize("kind", ["bdlru", "mingru"])
@pytest.mark.parametrize("backend", FAST)
def test_the_output_gate_multiplies_the_state_by_silu_of_z(backend, kind):
    leaves = inputs("gated" if kind == "bdlru" else kind, (2, 9), torch.float32)
    leaves["z"] = inputs("mingru", (2, 9), torch.float32, seed=5)["r"]
    h0 = initial("gated", 2, torch.float32)
    operator = "gated" if kind == "bdlru" else kind
    check_all(run(operator, leaves, h0, backend), run(operator, *oracle(leaves, h0), "reference"))
    z = leaves.pop("z")
    plain = scan(operator, leaves, h0, backend=backend)[0]
    gated = scan(operator, leaves | {"z": z}, h0, backend=backend)[0]
    assert widest_error(gated, torch.nn.functional.silu(z) * plain) < 3e-7


@pytest.mark.parametrize("chunk", [1, 3, 32, 500])
def test_the_length_of_a_chunk_does_not_change_the_result(chunk):
    leaves, h0 = inputs("ssd", (2, 65), torch.float32), initial("ssd", 2, torch.float32)
    reset = torch.rand(2, 65, generator=torch.Generator().manual_seed(3)) < 0.1
    wanted = run("ssd", *oracle(leaves, h0), "reference", reset=reset)
    check_all(run("ssd", leaves, h0, "torch", reset=reset, chunk=chunk), wanted)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_a_pack_gives_the_results_of_its_sequences_one_by_one(backend, operator, reverse):
    bounds = [0, 7, 7, 8, 40]
    leaves, h0 = inputs(operator, (42,), torch.float32), initial(operator, 4, torch.float32)
    options = {"cu_seqlens": torch.tensor(bounds), "reverse": reverse}
    got = run(operator, leaves, h0, backend, **options)
    check_all(got, run(operator, *oracle(leaves, h0), "reference", **options))
    for s, (start, end) in enumerate(pairwise(bounds)):
        if start == end:
            assert torch.equal(got[1][s], h0[s])
            continue
        parts = {name: v[None, start:end] if name in OVER_TIME else v for name, v in leaves.items()}
        one, final = scan(operator, parts, h0[s : s + 1], backend=backend, reverse=reverse)
        if operator in SEQUENTIAL or backend == "native":
            assert torch.equal(one[0], got[0][start:end])
            assert torch.equal(final[0], got[1][s])
        assert widest_error(one[0], got[0][start:end]) < TOLERANCE


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_beyond_the_last_sequence_of_a_pack_are_zero(backend, operator):
    leaves = inputs(operator, (9,), torch.float32)
    h, _ = scan(operator, leaves, cu_seqlens=torch.tensor([0, 4, 6]), backend=backend)
    assert torch.equal(h[6:], torch.zeros_like(h[6:]))
    for gradient in torch.autograd.grad(h.abs().sum(), list(leaves.values())):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("at", [1, 13, 32])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_splitting_a_sequence_anywhere_gives_the_same_bits(backend, operator, at):
    leaves = inputs(operator, (3, 33), torch.float32, channels=17)
    whole, final = scan(operator, leaves, backend=backend)
    first, state = scan(operator, part(leaves, slice(at)), backend=backend)
    rest, last = scan(operator, part(leaves, slice(at, None)), state, backend=backend)
    joined = torch.cat([first, rest], dim=1)
    if operator in SEQUENTIAL or backend == "native":
        assert torch.equal(joined, whole)
        assert torch.equal(last, final)
    assert widest_error(joined, whole) < TOLERANCE


@pytest.mark.parametrize("channels", [1, 17, 128])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_stepping_through_a_sequence_gives_the_bits_of_the_scan(backend, operator, channels):
    leaves = inputs(operator, (3, 12), torch.float32, channels=channels)
    with torch.no_grad(), use_backend(backend):
        state = torch.zeros_like(initial(operator, 3, torch.float32, channels=channels))
        whole, final = scan(operator, leaves)
        for t in range(12):
            step = STEP[operator](state, **part(leaves, t))
            y, state = step if isinstance(step, tuple) else (step, step)
            if operator in SEQUENTIAL or backend == "native":
                assert torch.equal(y, whole[:, t]), t
            assert widest_error(y, whole[:, t]) < TOLERANCE
        assert widest_error(state, final) < TOLERANCE


@pytest.mark.parametrize("operator", SEQUENTIAL)
@pytest.mark.parametrize("backend", FAST)
def test_the_order_of_sequences_in_a_batch_changes_no_bit(backend, operator):
    leaves = inputs(operator, (4, 9), torch.float32)
    order = torch.tensor([2, 0, 3, 1])
    moved = {name: v[order] if name in OVER_TIME else v for name, v in leaves.items()}
    h, last = scan(operator, leaves, backend=backend)
    assert all(map(torch.equal, scan(operator, moved, backend=backend), (h[order], last[order])))


@pytest.mark.parametrize("backend", FAST)
def test_the_scan_is_linear_in_what_enters(backend):
    a, b, other = (
        inputs("linear", (2, 40), torch.float32, seed=seed)[name] for seed, name in ((0, "a"), (0, "b"), (1, "b"))
    )
    both = linear_scan(a, 2 * b - 3 * other, backend=backend)
    apart = 2 * linear_scan(a, b, backend=backend) - 3 * linear_scan(a, other, backend=backend)
    assert widest_error(both, apart) < 3e-6


def test_real_pairs_and_complex_numbers_are_the_same_scan():
    leaves = inputs("complex", (2, 9), torch.float32, channels=4)
    u, log_nu, theta = (v.detach() for v in leaves.values())
    pairs, state = complex_scan(torch.view_as_real(u), log_nu, theta, return_state=True)
    assert torch.equal(torch.view_as_complex(pairs), complex_scan(u, log_nu, theta))
    assert state.shape == (2, 4, 2)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_gradients_agree_with_finite_differences(backend, operator):
    leaves, h0 = inputs(operator, (1, 3), channels=2), initial(operator, 1, torch.float64, channels=2)

    def outputs(*values):
        *given, state = values
        return scan(operator, dict(zip(leaves, given, strict=True)), state, backend=backend)

    assert torch.autograd.gradcheck(outputs, (*leaves.values(), h0), fast_mode=True)


@pytest.mark.parametrize("operator", OPERATORS)
def test_asking_for_a_second_derivative_is_a_clear_error(operator):
    leaves = inputs(operator, (1, 4))
    h, _ = scan(operator, leaves)
    leaf = next(iter(leaves.values()))
    (first,) = torch.autograd.grad((h * h).abs().sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once only"):
        first.abs().sum().backward()
