"""The operators at their limits: long memories, saturated gates, NaN, half precision, odd layouts, wrong arguments."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lrscan import complex_scan, delta_scan, gated_scan, linear_scan, selective_scan, ssd_scan, use_backend

of = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("scan_inputs.py"))))
BACKENDS, FAST, OPERATORS, OVER_TIME, TOLERANCE = of.BACKENDS, of.FAST, of.OPERATORS, of.OVER_TIME, of.TOLERANCE
initial, inputs, run, scan, widest_error = of.initial, of.inputs, of.run, of.scan, of.widest_error


@pytest.mark.parametrize("decay", [0.9, 0.999, 1 - 1e-5, 1.0])
@pytest.mark.parametrize("backend", FAST)
def test_a_long_memory_stays_accurate_over_65536_steps(backend, decay):
    g = torch.Generator().manual_seed(0)
    b = torch.randn(1, 65536, 2, generator=g)
    a = torch.full_like(b, decay)
    with torch.no_grad():
        h = linear_scan(a, b, backend=backend)
        wanted = linear_scan(a.double(), b.double(), backend="torch")
    # Rounding errors add up like a random walk over the memory 1 / (1 - decay).
    assert widest_error(h, wanted) < (1e-5 if decay > 0.9999 else 5e-6)


@pytest.mark.parametrize("r", [-12.0, -8.0, -4.0, 0.0, 4.0, 12.0])
@pytest.mark.parametrize("backend", FAST)
def test_the_write_strength_and_its_gradient_are_exact_to_a_millionth(backend, r):
    def beta(dtype):
        leaf = torch.full((1, 1, 64), r, dtype=dtype, requires_grad=True)
        lam = torch.linspace(-6.9068, -2.1972, 64).to(dtype)  # the same float32 numbers in both
        x, i = torch.ones(1, 1, 64, dtype=dtype), torch.full((1, 1, 64), 200.0, dtype=dtype)
        h = gated_scan(x, leaf, i, lam, backend=backend)
        return h, torch.autograd.grad(h.sum(), leaf)[0]

    for got, wanted in zip(beta(torch.float32), beta(torch.float64), strict=True):
        assert float(((got.detach().double() - wanted) / wanted).detach().abs().max()) < 1e-6


@pytest.mark.parametrize("r", [-120.0, 120.0])
@pytest.mark.parametrize("i", [-120.0, 120.0])
@pytest.mark.parametrize("backend", FAST)
def test_saturated_gates_give_finite_values_and_gradients(backend, r, i):
    leaves = {
        "x": torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0)),
        "r": torch.full((1, 6, 4), r),
        "i": torch.full((1, 6, 4), i),
        "lam": torch.tensor([-20.0, -5.0, 0.0, 5.0]),
    }
    leaves = {k: v.requires_grad_() for k, v in leaves.items()}
    h = gated_scan(*leaves.values(), backend=backend)
    assert torch.isfinite(h).all()
    for name, gradient in zip(leaves, torch.autograd.grad(h.sum(), list(leaves.values())), strict=True):
        assert torch.isfinite(gradient).all(), name


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_stays_in_its_own_segment_and_never_goes_back_in_time(backend, operator):
    leaves = inputs(operator, (2, 6), torch.float32)
    name = next(one for one in ("u", "x", "v", "b") if one in leaves)
    with torch.no_grad():
        leaves[name][0, 2] = torch.nan
    reset = torch.zeros(2, 6, dtype=torch.bool)
    reset[0, 4] = True
    h, last = scan(operator, leaves, reset=reset, backend=backend)
    assert torch.isnan(h[0, 2:4]).all()
    kept = torch.ones(2, 6, dtype=torch.bool)
    kept[0, 2:4] = False
    assert torch.isfinite(h[kept]).all()
    assert torch.isfinite(last).all()
    wanted, _ = scan(operator, leaves, reset=reset, backend="reference")
    assert widest_error(h[kept], wanted[kept]) < TOLERANCE


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "complex"])
@pytest.mark.parametrize("backend", FAST)
def test_half_precision_is_accumulated_in_float32(backend, operator):
    leaves = {k: v.detach().bfloat16().requires_grad_() for k, v in inputs(operator, (2, 100), torch.float32).items()}
    h, last = scan(operator, leaves, backend=backend)
    wide = {k: v.detach().double().requires_grad_() for k, v in leaves.items()}
    wanted, _ = scan(operator, wide, backend="reference")
    assert h.dtype == last.dtype == torch.bfloat16
    assert widest_error(h, wanted) < 2**-8
    grads = torch.autograd.grad(h.sum(), list(leaves.values()))
    for name, got, exact in zip(leaves, grads, torch.autograd.grad(wanted.sum(), list(wide.values())), strict=True):
        assert got.dtype == torch.bfloat16
        assert widest_error(got, exact) < 2**-6, name  # h was rounded before the backward pass read it


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_transposed_expanded_and_sliced_inputs_are_read_as_they_come(backend, operator):
    leaves, h0 = inputs(operator, (3, 7), torch.float32), initial(operator, 3, torch.float32)
    odd = {}
    for n, (name, v) in enumerate(leaves.items()):
        v = v.detach()
        if name in OVER_TIME and n % 3 == 0:
            v = v.transpose(0, 1).contiguous().transpose(0, 1)  # time first in memory
        elif name in OVER_TIME and n % 3 == 1:
            v = torch.cat([v, v], -1).chunk(2, -1)[1]  # the second half of what a layer made
        elif name in OVER_TIME:
            v = v[:, :1].expand_as(v)
        odd[name] = v.requires_grad_()
    plain = {name: v.detach().contiguous().requires_grad_() for name, v in odd.items()}
    state = h0[:1].detach().expand_as(h0).requires_grad_()
    got, wanted = (
        run(operator, v, s, backend) for v, s in ((odd, state), (plain, state.detach().contiguous().requires_grad_()))
    )
    assert widest_error(got[0], wanted[0]) < 3e-7
    for name in wanted[2]:
        assert widest_error(got[2][name], wanted[2][name]) < TOLERANCE, name


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_two_runs_give_the_same_bits(backend, operator):
    leaves, h0 = inputs(operator, (4, 50), torch.float32), initial(operator, 4, torch.float32)
    first, again = (run(operator, leaves, h0, backend) for _ in range(2))
    assert torch.equal(first[0], again[0])
    for name in first[2]:
        assert torch.equal(first[2][name], again[2][name])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: linear_scan(torch.ones(2, 3, 4), torch.ones(2, 3, 5)), "a must have shape"),
        (lambda: linear_scan(torch.ones(2, 0, 4), torch.ones(2, 0, 4)), "no time steps"),
        (lambda: linear_scan(torch.ones(2, 4), torch.ones(2, 4)), r"\[B, T, D\]"),
        (lambda: linear_scan(torch.ones(2, 3, 4), torch.ones(2, 3, 4), torch.ones(3, 4)), "h0 must have shape"),
        (lambda: linear_scan(torch.ones(1, 2, 1), torch.ones(1, 2, 1, dtype=torch.int32)), "b must be floating"),
        (lambda: linear_scan(torch.ones(2, 3, 4), torch.ones(2, 3, 4), reset=torch.ones(2, 3)), "reset must be bool"),
        (lambda: linear_scan(torch.ones(4, 2), torch.ones(4, 2), cu_seqlens=torch.tensor([0, 3, 2])), "must rise"),
        (lambda: linear_scan(torch.ones(4, 2), torch.ones(4, 2), cu_seqlens=torch.tensor([0, 5])), "at most N = 4"),
        (lambda: linear_scan(torch.ones(1, 2, 1), torch.ones(1, 2, 1), backend="fast"), "backend 'fast' is unknown"),
        (lambda: gated_scan(*[torch.ones(1, 2, 3)] * 3, torch.ones(2)), "lam must have shape"),
        (lambda: gated_scan(*[torch.ones(1, 2, 3)] * 3, torch.ones(3), kind="lstm"), "kind 'lstm' is unknown"),
        (lambda: gated_scan(*[torch.ones(1, 2, 3)] * 2), "i is missing from kind 'bdlru'"),
        (lambda: gated_scan(*[torch.ones(1, 2, 3)] * 3, kind="mingru"), "i must be None"),
        (lambda: linear_scan(torch.ones(1, 2, 1, device="meta"), torch.ones(1, 2, 1)), "a is on meta"),
        (lambda: linear_scan(torch.ones(1, 2, 1), torch.ones(1, 2, 1), torch.ones(1, 1, device="meta")), "h0 is on"),
        (lambda: ssd_scan(torch.ones(1, 2, 3, 4), *[torch.ones(1, 2, 3)] * 2, *[torch.ones(1, 2, 1, 2)] * 2), "A must"),
        (
            lambda: ssd_scan(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3), torch.ones(3), *[torch.ones(1, 2, 2, 2)] * 2),
            "G a",
        ),
        (lambda: selective_scan(*[torch.ones(1, 2, 3)] * 5), "A must be"),
        (
            lambda: selective_scan(*[torch.ones(1, 2, 3)] * 2, torch.ones(3, 2), *[torch.ones(1, 2, 3)] * 2),
            "B must have",
        ),
        (lambda: delta_scan(*[torch.ones(1, 2, 3, 4)] * 3, torch.ones(1, 2, 3), torch.ones(1, 2, 4)), "beta must have"),
        (
            lambda: delta_scan(torch.ones(1, 2, 3, 5), *[torch.ones(1, 2, 3, 4)] * 2, *[torch.ones(1, 2, 3)] * 2),
            "q must",
        ),
        (lambda: delta_scan(*[torch.ones(1, 2, 3)] * 5), r"v must be \[B, T, H, P\]"),
        (lambda: complex_scan(torch.ones(1, 2, 3), torch.ones(3), torch.ones(3)), "u must be complex"),
        (lambda: complex_scan(torch.ones(1, 2, 3, 2), torch.ones(2), torch.ones(3)), "log_nu must be real"),
    ],
)
def test_wrong_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_the_environment_and_the_context_choose_the_backend(monkeypatch):
    b = torch.ones(1, 1, 1)
    monkeypatch.setenv("LRSCAN_BACKEND", "nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        linear_scan(b, b)
    with use_backend("reference"):
        assert linear_scan(b, b).item() == 1.0
    assert linear_scan(b, b, backend="torch").item() == 1.0
