"""Every operator on every backend against the float64 oracle, forward and every gradient."""

from functools import partial
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
    selective_scan,
    selective_step,
    ssd_scan,
    ssd_step,
    use_backend,
)
from torch.nn.functional import softplus

BACKENDS = [name for name, why in backends().items() if why is None]
OPERATORS = ["linear", "gated", "rglru", "mingru", "hgrn", "complex", "ssd", "selective"]
SEQUENTIAL = [name for name in OPERATORS if name != "ssd"]
"""Those whose steps are done one after the other by every backend: torch takes ssd by chunks."""

FAST = [name for name in BACKENDS if name in ("native", "torch")]


def inputs(operator, time, dtype=torch.float64, seed=0, channels=5):
    """Leaf tensors of an operator; time: (B, T), or (N,) packed."""
    g = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=g, dtype=torch.float64)

    shape = (*time, channels)
    if operator == "linear":
        leaves = {"a": torch.sigmoid(normal(*shape) + 2), "b": normal(*shape)}
    elif operator == "complex":
        leaves = {"u": torch.complex(normal(*shape), normal(*shape)), "log_nu": normal(channels) - 2}
        leaves["theta"] = normal(channels)
    elif operator == "ssd":  # 4 heads of `channels` channels in 2 groups, 3 states
        leaves = {"x": normal(*time, 4, channels), "dt": softplus(normal(*time, 4) - 1), "A": -torch.exp(normal(4))}
        leaves |= {"B": normal(*time, 2, 3), "C": normal(*time, 2, 3), "D": normal(4)}
    elif operator == "selective":
        leaves = {"u": normal(*shape), "dt": softplus(normal(*shape) - 1), "A": -torch.exp(normal(channels, 3))}
        leaves |= {"B": normal(*time, 3), "C": normal(*time, 3), "D": normal(channels)}
    else:
        leaves = {"x": normal(*shape), "r": normal(*shape)}
        if operator in ("gated", "rglru"):
            leaves["i"] = normal(*shape)
        if operator != "mingru":
            leaves["lam"] = {"gated": normal(channels) - 4, "rglru": normal(channels) + 4}.get(
                operator, torch.rand(channels, generator=g, dtype=torch.float64)
            )
    narrow = {torch.float64: torch.complex128, torch.float32: torch.complex64}.get(dtype)
    return {k: v.to(narrow if v.is_complex() and narrow else dtype).requires_grad_() for k, v in leaves.items()}


OVER_TIME = {"a", "b", "x", "r", "i", "z", "u", "dt", "B", "C"}
STATE = {"ssd": "S0"}
RUN = {
    "linear": linear_scan,
    "gated": gated_scan,
    "rglru": partial(gated_scan, kind="rglru", c=8.0),
    "mingru": partial(gated_scan, kind="mingru"),
    "hgrn": partial(gated_scan, kind="hgrn"),
    "complex": complex_scan,
    "ssd": ssd_scan,
    "selective": selective_scan,
}
STEP = {
    "linear": linear_step,
    "gated": gated_step,
    "rglru": partial(gated_step, kind="rglru", c=8.0),
    "mingru": partial(gated_step, kind="mingru"),
    "hgrn": partial(gated_step, kind="hgrn"),
    "complex": complex_step,
    "ssd": ssd_step,
    "selective": selective_step,
}


def initial(operator, sequences, dtype, seed=1, channels=5):
    g = torch.Generator().manual_seed(seed)
    axes = {"ssd": (4, channels, 3), "selective": (channels, 3)}.get(operator, (channels,))
    real = torch.randn(sequences, *axes, generator=g, dtype=torch.float64).to(dtype)
    return (torch.complex(real, -real) if operator == "complex" else real).requires_grad_()


def scan(operator, leaves, h0=None, **options):
    return RUN[operator](**leaves, **{STATE.get(operator, "h0"): h0}, return_state=True, **options)


def part(leaves, at):
    """The leaves with `at` along the time axis, which is the second."""
    return {name: v[:, at] if name in OVER_TIME else v for name, v in leaves.items()}


TOLERANCE = 2e-6
"""Relative to the largest value."""


def run(operator, leaves, h0, backend, **options):
    """(h, last, gradients by name) for a fixed random direction."""
    h, last = scan(operator, leaves, h0, backend=backend, **options)
    g = torch.Generator().manual_seed(7)
    weights = torch.randn(h.shape, generator=g, dtype=torch.float64).to(h.real.dtype)
    last_weights = torch.randn(last.shape, generator=g, dtype=torch.float64).to(h.real.dtype)
    loss = (h * weights).sum() + (last * last_weights).sum()
    loss = loss.real + 0.5 * loss.imag if loss.is_complex() else loss
    given = {**leaves, "h0": h0}
    return h.detach(), last.detach(), dict(zip(given, torch.autograd.grad(loss, list(given.values())), strict=True))


def widest_error(got, wanted):
    got, wanted = got.to(wanted.dtype), wanted
    return float(((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30)).detach())


def oracle(leaves, h0):
    wide = {k: v.detach().to(torch.complex128 if v.is_complex() else torch.float64) for k, v in leaves.items()}
    start = h0.detach().to(torch.complex128 if h0.is_complex() else torch.float64)
    return {k: v.requires_grad_() for k, v in wide.items()}, start.requires_grad_()


def check_all(got, wanted):
    """h, last and gradients of `run`, each within the tolerance of the oracle's."""
    assert widest_error(got[0], wanted[0]) < TOLERANCE
    assert widest_error(got[1], wanted[1]) < TOLERANCE
    for name, gradient in wanted[2].items():
        assert widest_error(got[2][name], gradient) < TOLERANCE, name


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
    name = "u" if "u" in leaves else "b" if operator == "linear" else "x"
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
