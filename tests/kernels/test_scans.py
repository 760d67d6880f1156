"""Every operator on every backend against the float64 oracle, forward and every gradient."""

from itertools import pairwise

import pytest
import torch
from lrscan import (
    backends,
    complex_scan,
    complex_step,
    gated_scan,
    gated_step,
    linear_scan,
    linear_step,
    use_backend,
)

BACKENDS = [name for name, why in backends().items() if why is None]
TIMES = [1, 2, 63, 64, 65, 200]
OPERATORS = ["linear", "gated", "complex"]


FAST = [name for name in BACKENDS if name != "reference"]


def backend_for(name, operator):
    """The backend, or the portable one for operators it does not have."""
    return name


def inputs(operator, shape, dtype=torch.float64, seed=0):
    """Leaf tensors of an operator and a function that runs it on them."""
    g = torch.Generator().manual_seed(seed)
    channels = shape[-1]

    def normal(*size):
        return torch.randn(*size, generator=g, dtype=torch.float64)

    if operator == "linear":
        leaves = {"a": torch.sigmoid(normal(*shape) + 2), "b": normal(*shape)}
    elif operator == "gated":
        leaves = {name: normal(*shape) for name in ("x", "r", "i")} | {"lam": normal(channels) - 4}
    else:
        wide = torch.complex128
        leaves = {
            "u": torch.complex(normal(*shape), normal(*shape)).to(wide),
            "log_nu": normal(channels) - 2,
            "theta": normal(channels),
        }
    narrow = {torch.float64: torch.complex128, torch.float32: torch.complex64}.get(dtype)
    return {k: v.to(narrow if v.is_complex() and narrow else dtype).requires_grad_() for k, v in leaves.items()}


TOLERANCE = {"linear": 2e-6, "gated": 2e-6, "complex": 5e-6}
"""Relative to the largest value. A constant eigenvalue is itself rounded to float32: 6e-8 a step over its memory."""

RUN = {"linear": linear_scan, "gated": gated_scan, "complex": complex_scan}


def initial(operator, sequences, channels, dtype, seed=1):
    g = torch.Generator().manual_seed(seed)
    real = torch.randn(sequences, channels, generator=g, dtype=torch.float64).to(dtype)
    return (torch.complex(real, -real) if operator == "complex" else real).requires_grad_()


def run(operator, leaves, h0, backend, **options):
    """(h, last, gradients by name) for a fixed random direction."""
    h, last = RUN[operator](*leaves.values(), h0, return_state=True, backend=backend, **options)
    g = torch.Generator().manual_seed(7)
    weights = torch.randn(h.shape, generator=g, dtype=torch.float64)
    last_weights = torch.randn(last.shape, generator=g, dtype=torch.float64)
    loss = (h * weights).sum() + (last * last_weights).sum()
    loss = loss.real + 0.5 * loss.imag if loss.is_complex() else loss
    grads = torch.autograd.grad(loss, [*leaves.values(), h0])
    return h.detach(), last.detach(), dict(zip([*leaves, "h0"], grads, strict=True))


def widest_error(got, wanted):
    got, wanted = got.to(wanted.dtype), wanted
    return float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))


def oracle(leaves, h0):
    wide = {k: v.detach().to(torch.complex128 if v.is_complex() else torch.float64) for k, v in leaves.items()}
    start = h0.detach().to(torch.complex128 if h0.is_complex() else torch.float64)
    return {k: v.requires_grad_() for k, v in wide.items()}, start.requires_grad_()


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"reset": True}], ids=["plain", "reverse", "reset"])
@pytest.mark.parametrize("steps", TIMES)
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_stays_close_to_the_oracle_forward_and_backward(backend, operator, steps, options):
    leaves = inputs(operator, (2, steps, 5), torch.float32)
    h0 = initial(operator, 2, 5, torch.float32)
    backend = backend_for(backend, operator)
    if options.get("reset"):
        options = {"reset": torch.rand(2, steps, generator=torch.Generator().manual_seed(3)) < 0.1}
    h, last, grads = run(operator, leaves, h0, backend, **options)
    wide_h, wide_last, wide_grads = run(operator, *oracle(leaves, h0), "reference", **options)
    assert widest_error(h, wide_h) < TOLERANCE[operator]
    assert widest_error(last, wide_last) < TOLERANCE[operator]
    for name, wanted in wide_grads.items():
        assert widest_error(grads[name], wanted) < TOLERANCE[operator], name


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pack_gives_the_bits_of_its_sequences_one_by_one(backend, operator, reverse):
    backend = backend_for(backend, operator)
    bounds = [0, 7, 7, 8, 40]
    leaves = inputs(operator, (40, 6), torch.float32)
    h0 = initial(operator, 4, 6, torch.float32)
    cu = torch.tensor(bounds)
    h, last, grads = run(operator, leaves, h0, backend, cu_seqlens=cu, reverse=reverse)
    _, _, wanted = run(operator, *oracle(leaves, h0), "reference", cu_seqlens=cu, reverse=reverse)
    for name in wanted:
        assert widest_error(grads[name], wanted[name]) < TOLERANCE[operator], name
    for s, (start, end) in enumerate(pairwise(bounds)):
        if start == end:
            assert torch.equal(last[s], h0[s])
            continue
        parts = [v[None, start:end] if v.dim() == 2 else v for v in leaves.values()]
        one, final = RUN[operator](*parts, h0[s : s + 1], return_state=True, backend=backend, reverse=reverse)
        assert torch.equal(one[0], h[start:end])
        assert torch.equal(final[0], last[s])


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_beyond_the_last_sequence_of_a_pack_are_zero(backend):
    leaves = inputs("linear", (9, 3), torch.float32)
    h = linear_scan(*leaves.values(), cu_seqlens=torch.tensor([0, 4, 6]), backend=backend)
    assert torch.equal(h[6:], torch.zeros(3, 3))
    assert torch.isfinite(torch.autograd.grad(h.sum(), leaves["a"])[0]).all()


@pytest.mark.parametrize("at", [1, 13, 32])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_splitting_a_sequence_anywhere_gives_the_same_bits(backend, operator, at):
    leaves = inputs(operator, (3, 33, 17), torch.float32)
    backend = backend_for(backend, operator)
    whole = RUN[operator](*leaves.values(), backend=backend)
    first, state = RUN[operator](
        *[v[:, :at] if v.dim() == 3 else v for v in leaves.values()], return_state=True, backend=backend
    )
    pieces = [first]
    if at < 33:
        rest = [v[:, at:] if v.dim() == 3 else v for v in leaves.values()]
        pieces.append(RUN[operator](*rest, state, backend=backend))
    assert torch.equal(torch.cat(pieces, dim=1), whole)


@pytest.mark.parametrize("channels", [1, 3, 17, 128])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_stepping_through_a_sequence_gives_the_bits_of_the_scan(backend, operator, channels):
    leaves = inputs(operator, (3, 20, channels), torch.float32)
    with torch.no_grad(), use_backend(backend_for(backend, operator)):
        whole = RUN[operator](*leaves.values())
        state = torch.zeros_like(whole[:, 0])
        for t in range(20):
            parts = [v[:, t] if v.dim() == 3 else v for v in leaves.values()]
            step = {"linear": linear_step, "gated": gated_step, "complex": complex_step}[operator]
            state = step(state, *parts)
            assert torch.equal(state, whole[:, t]), t


def test_real_pairs_and_complex_numbers_are_the_same_scan():
    leaves = inputs("complex", (2, 9, 4), torch.float32)
    u, log_nu, theta = (v.detach() for v in leaves.values())
    pairs, state = complex_scan(torch.view_as_real(u), log_nu, theta, return_state=True)
    assert torch.equal(torch.view_as_complex(pairs), complex_scan(u, log_nu, theta))
    assert state.shape == (2, 4, 2)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_gradients_agree_with_finite_differences(backend, operator):
    leaves = inputs(operator, (2, 5, 3))
    h0 = initial(operator, 2, 3, torch.float64)
    options = {"return_state": True, "backend": backend_for(backend, operator)}
    assert torch.autograd.gradcheck(lambda *v: RUN[operator](*v, **options), (*leaves.values(), h0))


def test_asking_for_a_second_derivative_is_a_clear_error():
    leaves = inputs("linear", (1, 4, 2))
    h = linear_scan(*leaves.values())
    (first,) = torch.autograd.grad((h * h).sum(), leaves["a"], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once only"):
        first.sum().backward()


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
        assert float(((got.detach().double() - wanted) / wanted).abs().max()) < 1e-6


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_stays_in_its_own_segment(backend):
    a, b = torch.full((2, 6, 2), 0.5), torch.ones(2, 6, 2)
    b[0, 2, 1] = torch.nan
    reset = torch.zeros(2, 6, dtype=torch.bool)
    reset[0, 4] = True
    h = linear_scan(a, b, reset=reset, backend=backend)
    assert torch.isnan(h[0, 2:4, 1]).all()
    h[0, 2:4, 1] = 0
    assert torch.isfinite(h).all()


@pytest.mark.parametrize("backend", FAST)
def test_half_precision_is_accumulated_in_float32(backend):
    leaves = {k: v.detach().bfloat16() for k, v in inputs("gated", (2, 100, 8), torch.float32).items()}
    h = gated_scan(*leaves.values(), backend=backend)
    wanted = gated_scan(*[v.double() for v in leaves.values()], backend="reference")
    assert h.dtype == torch.bfloat16
    assert widest_error(h, wanted) < 2**-7


@pytest.mark.parametrize("backend", FAST)
def test_transposed_expanded_and_sliced_inputs_are_read_as_they_come(backend):
    g = torch.Generator().manual_seed(0)
    base = torch.rand(7, 3, 10, generator=g)
    a, b = base.transpose(0, 1)[..., :5], torch.randn(1, 7, 1, generator=g).expand(3, 7, 5)
    assert torch.equal(linear_scan(a, b, backend=backend), linear_scan(a.contiguous(), b.contiguous(), backend=backend))


@pytest.mark.parametrize("backend", FAST)
def test_two_runs_give_the_same_bits(backend):
    leaves = inputs("gated", (4, 50, 32), torch.float32)
    h0 = initial("gated", 4, 32, torch.float32)
    first, again = (run("gated", leaves, h0, backend) for _ in range(2))
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
