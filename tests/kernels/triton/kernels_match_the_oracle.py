"""Every Triton kernel against the float64 oracle: run in a process of its own by test_triton.py.

On a CPU the kernels run in Triton's interpreter (TRITON_INTERPRET=1, read when a kernel is defined); with
LRSCAN_KERNELS_ON=cuda the same tests run compiled, and at real sizes too.
"""

import math
import os
from itertools import pairwise

import lrscan
import pytest
import torch
from lrscan.triton import gated, linear, split
from lrscan.triton.common import Sequences

DEVICE = os.environ.get("LRSCAN_KERNELS_ON", "cpu")
BACKEND = "triton" if DEVICE == "cuda" else "triton-interpret"
LARGE = [(2048, 200, 128), (37, 1000, 96)] if DEVICE == "cuda" else []

SCANS = {
    "linear": (lrscan.linear_scan, {}),
    "bdlru": (lrscan.gated_scan, {"kind": "bdlru", "eps": 1e-8}),
    "rglru": (lrscan.gated_scan, {"kind": "rglru", "c": 8.0}),
    "mingru": (lrscan.gated_scan, {"kind": "mingru"}),
    "hgrn": (lrscan.gated_scan, {"kind": "hgrn"}),
    "complex": (lrscan.complex_scan, {}),
    "selective": (lrscan.selective_scan, {}),
    "ssd": (lrscan.ssd_scan, {"chunk": 16}),
    "delta": (lrscan.delta_scan, {}),
}
STATE = {"ssd": "S0", "delta": "S0"}
"""What the first state is called; h0 elsewhere."""
ELEMENTWISE = ["linear", "bdlru", "mingru", "hgrn", "complex"]
TOLERANCE = 2e-6
"""Of the largest value: float32 rounds by 6e-8, and errors add up over the memory of a sequence."""


@pytest.fixture(autouse=True)
def _poisoned():
    """Memory that a kernel fails to write holds NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def inputs(name, lead, width, *, seed=0, silu=False):
    """Float64 leaves of an operator by argument name; `lead` is (B, T) or (N,)."""
    g = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=g, dtype=torch.float64)

    def rows(*size):
        return normal(*lead, *size)

    steps = torch.nn.functional.softplus
    if name == "linear":
        return {"a": torch.sigmoid(rows(width) + 2), "b": rows(width)}
    if name == "complex":
        return {
            "u": torch.complex(rows(width), rows(width)), "log_nu": normal(width) - 2, "theta": normal(width),
        }  # fmt: skip
    if name == "selective":
        return {
            "u": rows(width), "dt": steps(rows(width)), "A": -torch.exp(normal(width, 5)), "B": rows(5), "C": rows(5),
            "D": normal(width),
        }  # fmt: skip
    if name == "ssd":
        states = 32 if width > 32 else 3
        return {
            "x": rows(4, width // 4 if width > 32 else width), "dt": steps(rows(4)), "A": -torch.exp(normal(4)),
            "B": rows(2, states), "C": rows(2, states), "D": normal(4),
        }  # fmt: skip
    if name == "delta":
        heads, key, value = (4, 32, width // 4) if width > 32 else (1 if math.prod(lead) > 30 else 2, 3, width)
        unit = torch.nn.functional.normalize
        gates = {k: torch.sigmoid(rows(heads) + shift) for k, shift in (("decay", 2), ("beta", 0))}
        return {"q": rows(heads, key), "k": unit(rows(heads, key), dim=-1), "v": rows(heads, value)} | gates
    leaves = {"x": rows(width), "r": rows(width)}
    if name in ("bdlru", "rglru"):
        leaves |= {"i": rows(width), "lam": normal(width) - (4 if name == "bdlru" else -4)}
    if name == "hgrn":
        leaves |= {"lam": 0.9 * torch.sigmoid(normal(width))}
    return leaves | ({"z": rows(width)} if silu else {})


def initial(name, leaves, sequences):
    """States in which sequences start."""
    g = torch.Generator().manual_seed(1)
    if name == "ssd":
        shape = (*leaves["x"].shape[-2:], leaves["B"].shape[-1])
    elif name == "delta":
        shape = (*leaves["v"].shape[-2:], leaves["k"].shape[-1])
    else:
        shape = leaves["A"].shape if name == "selective" else next(iter(leaves.values())).shape[-1:]
    state = torch.randn(sequences, *shape, generator=g, dtype=torch.float64)
    return {STATE.get(name, "h0"): torch.complex(state, -state) if name == "complex" else state}


def run(name, leaves, backend, dtype, device=DEVICE, **options):
    """{name: output or gradient} for fixed random directions."""
    scan, fixed = SCANS[name]
    wide = dtype == torch.float64

    def place(v):
        narrow = (torch.complex128 if wide else torch.complex64) if v.is_complex() else dtype
        return v.detach().to(device, narrow).requires_grad_()

    given = {k: place(v) for k, v in leaves.items()}
    moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    y, last = scan(**given, **fixed, **moved, return_state=True, backend=backend)
    g = torch.Generator().manual_seed(7)
    directions = [torch.randn(v.shape, generator=g, dtype=torch.float64) for v in (y, last)]
    if y.is_complex():
        directions = [torch.complex(v, 0.5 * v) for v in directions]
    directions = [d.to(v) for d, v in zip(directions, (y, last), strict=True)]
    found = torch.autograd.grad((y, last), list(given.values()), directions, allow_unused=True)
    gradients = {
        f"d{k}": torch.zeros_like(v) if f is None else f for (k, v), f in zip(given.items(), found, strict=True)
    }
    return {"y": y.detach(), "last": last.detach()} | gradients


def differences(got, wanted):
    """{name: largest error over largest value}; NaN is an error of infinity."""
    errors = {}
    for name, value in wanted.items():
        error = (got[name].to(value) - value).abs().max() / value.abs().max().clamp(min=1e-30)
        errors[name] = float(torch.nan_to_num(error, nan=float("inf")))
    return errors


def check(name, leaves, dtype=torch.float32, tolerance=TOLERANCE, **options):
    got = run(name, leaves, BACKEND, dtype, **options)
    wanted = run(name, leaves, "reference", torch.float64, device="cpu", **options)
    errors = differences({k: v.cpu() for k, v in got.items()}, wanted)
    assert max(errors.values()) < tolerance, errors


def resets(*lead, seed=3):
    return torch.rand(lead, generator=torch.Generator().manual_seed(seed)) < 0.3


PACK = torch.tensor([0, 5, 5, 17, 18])
ROWS = 20
"""The last two rows belong to no sequence."""


@pytest.mark.parametrize("name", SCANS)
def test_a_batch_agrees_forward_and_in_every_gradient(name):
    check(name, inputs(name, (2, 19), 5))


@pytest.mark.parametrize("name", SCANS)
def test_packed_reversed_sequences_with_resets_and_initial_states_agree(name):
    leaves = inputs(name, (ROWS,), 5)
    leaves |= initial(name, leaves, len(PACK) - 1)
    check(name, leaves, cu_seqlens=PACK, reset=resets(ROWS), reverse=True)


@pytest.mark.parametrize("name", SCANS)
def test_a_single_step_of_a_single_channel_agrees(name):
    leaves = inputs(name, (1, 1), 1)
    check(name, leaves | initial(name, leaves, 1), reset=torch.tensor([[False]]))


@pytest.mark.parametrize("name", ["bdlru", "mingru", "hgrn"])
@pytest.mark.parametrize("packed", [False, True], ids=["batch", "pack"])
def test_the_silu_epilogue_agrees(name, packed):
    leaves = inputs(name, (ROWS,) if packed else (2, 7), 5, silu=True)
    check(name, leaves, **({"cu_seqlens": PACK, "reset": resets(ROWS)} if packed else {}))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_channels_that_fill_more_than_one_block_agree(name):
    check(name, inputs(name, (1, 4), 133))


@pytest.mark.parametrize("widths", [(70, 17), (8, 33)], ids=["channels", "states"])
def test_heads_and_states_that_fill_more_than_one_block_agree(widths):
    channels, states = widths
    leaves = inputs("ssd", (1, 18), 3)
    g = torch.Generator().manual_seed(2)
    leaves["x"] = torch.randn(1, 18, 4, channels, generator=g, dtype=torch.float64)
    leaves |= {k: torch.randn(1, 18, 2, states, generator=g, dtype=torch.float64) for k in ("B", "C")}
    check("ssd", leaves | initial("ssd", leaves, 1))


def test_many_states_a_channel_and_several_pieces_agree():
    leaves = inputs("selective", (1, 35), 40)
    g = torch.Generator().manual_seed(2)
    leaves["A"] = -torch.rand(40, 17, generator=g, dtype=torch.float64)
    leaves |= {k: torch.randn(1, 35, 17, generator=g, dtype=torch.float64) for k in ("B", "C")}
    check("selective", leaves | initial("selective", leaves, 1))


def test_rows_of_a_state_that_fill_more_than_one_block_and_several_pieces_agree():
    leaves = {k: v[:, :, :1] for k, v in inputs("delta", (1, 18), 9).items()}  # one head
    g = torch.Generator().manual_seed(2)
    for name in ("q", "k"):
        leaves[name] = torch.nn.functional.normalize(
            torch.randn(1, 18, 1, 65, generator=g, dtype=torch.float64), dim=-1
        )
    check("delta", leaves | initial("delta", leaves, 1))


@pytest.mark.parametrize("name", [*ELEMENTWISE, "selective", "delta"])
def test_float64_agrees_to_its_last_digits(name):
    check(name, inputs(name, (1, 9), 3), dtype=torch.float64, tolerance=1e-13)


@pytest.mark.parametrize("name", ["linear", "bdlru", "mingru", "hgrn", "selective", "ssd", "delta"])
def test_bfloat16_is_accumulated_in_float32(name):
    # The interpreter cuts float32 to bfloat16 instead of rounding: an error of 2^-7 an element.
    rounded = {k: v.bfloat16().double() for k, v in inputs(name, (2, 19), 5).items()}
    check(name, rounded, dtype=torch.bfloat16, tolerance=2e-2)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("reset", [None, resets(2, 11)], ids=["whole", "reset"])
def test_a_scan_split_over_time_agrees_with_the_whole(reverse, reset):
    leaves = inputs("linear", (2, 11), 3) | initial("linear", inputs("linear", (2, 11), 3), 2)
    a, b, h0 = (v.float().to(DEVICE) for v in leaves.values())
    g, g_last = torch.randn_like(b), torch.randn_like(h0)
    how = Sequences.of(b, None, None if reset is None else reset.to(DEVICE), reverse)
    whole = linear.forward(a, b, h0, how, b.dtype)
    parts = linear.forward_split(a, b, h0, how, 4)
    whole += linear.backward(a, whole[0], h0, g, g_last, how)
    parts += linear.backward_split(a, parts[0], h0, g, g_last, how, 4)
    for one, other in zip(parts, whole, strict=True):
        assert float((one - other).abs().max()) < TOLERANCE * float(other.abs().max())


@pytest.mark.parametrize("name", ["bdlru", "mingru", "hgrn"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_a_gated_scan_split_over_time_agrees_with_the_whole(name, reverse):
    leaves = {k: v.float().to(DEVICE) for k, v in inputs(name, (2, 11), 3, silu=True).items()}
    x, r, i, lam, z = (leaves.get(k) for k in ("x", "r", "i", "lam", "z"))
    how = Sequences.of(x, None, resets(2, 11, seed=4).to(DEVICE), reverse)
    given = gated.Gated.of(x, r, i, lam, z, name, 1.0, 1e-8)
    h0, g = torch.ones_like(x[:, 0]), torch.randn_like(x)
    whole = gated.forward(given, h0, how)
    parts = gated.forward_split(given, h0, how, 4)
    whole += gated.backward(given, whole[1], h0, g, h0, how)
    parts += gated.backward_split(given, parts[1], h0, g, h0, how, 4)
    for place, (one, other) in enumerate(zip(parts, whole, strict=True)):
        if other is None:
            assert one is None
            continue
        if place == 6:  # of lam: one partial sum a chunk, or one a sequence
            one, other = one.sum(0), other.sum(0)
        assert float((one - other).abs().max()) < TOLERANCE * float(other.abs().max())


def test_few_long_sequences_are_split_and_many_short_ones_are_not():
    assert linear.chunk_size(torch.empty(1, 65536, 64), Sequences.of(torch.empty(1, 65536, 64), None, None, False))
    assert not linear.chunk_size(torch.empty(512, 200, 64), Sequences.of(torch.empty(512, 200, 64), None, None, False))


def test_the_state_before_each_chunk_is_the_one_before_its_first_step():
    h = torch.arange(7.0).view(1, 7, 1).repeat(2, 1, 1)
    for reverse, wanted in ((False, [-1.0, 2.0, 5.0]), (True, [3.0, 6.0, -1.0])):
        chunks = split.Chunks.of(Sequences.of(h, None, None, reverse), 3, h)
        assert chunks.before(h, torch.full((2, 1), -1.0)).view(2, 3).tolist() == [wanted, wanted]


LAYOUTS = {
    "time first": lambda v: v.transpose(0, 1).contiguous().transpose(0, 1),
    "half of a wider tensor": lambda v: torch.cat([v, v], -1)[..., : v.shape[-1]],
    "part of a longer tensor": lambda v: torch.cat([v, v], 1)[:, 1 : 1 + v.shape[1]],
    "channels apart": lambda v: v.transpose(1, 2).contiguous().transpose(1, 2),
    "one sequence repeated": lambda v: v[:1].expand_as(v),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["linear", "bdlru", "complex", "selective", "ssd", "delta"])
def test_any_strides_give_the_bits_of_the_contiguous_layout(name, layout):
    scan, fixed = SCANS[name]
    leaves = inputs(name, (2, 6), 5)
    narrow = {k: v.to(DEVICE, torch.complex64 if v.is_complex() else torch.float32) for k, v in leaves.items()}
    strided = {k: LAYOUTS[layout](v) if v.dim() > 2 else v for k, v in narrow.items()}
    wanted = scan(**{k: v.contiguous() for k, v in strided.items()}, **fixed, backend=BACKEND)
    assert torch.equal(scan(**strided, **fixed, backend=BACKEND), wanted)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "selective", "delta"])
def test_two_halves_through_the_last_state_give_the_bits_of_the_whole(name):
    scan, fixed = SCANS[name]
    leaves = inputs(name, (2, 9), 5)
    narrow = {k: v.to(DEVICE, torch.complex64 if v.is_complex() else torch.float32) for k, v in leaves.items()}

    def part(begin, end, **state):
        cut = {k: v[:, begin:end] if v.dim() > 2 else v for k, v in narrow.items()}
        return scan(**cut, **fixed, **state, return_state=True, backend=BACKEND)

    whole, end = part(0, 9)
    first, middle = part(0, 4)
    second, last = part(4, 9, **{STATE.get(name, "h0"): middle})
    assert torch.equal(torch.cat([first, second], 1), whole)
    assert torch.equal(last, end)


@pytest.mark.parametrize("name", SCANS)
def test_a_pack_gives_the_bits_of_its_sequences_one_by_one(name):
    scan, fixed = SCANS[name]
    leaves = inputs(name, (ROWS,), 5)
    leaves |= initial(name, leaves, len(PACK) - 1)
    narrow = {k: v.to(DEVICE, torch.complex64 if v.is_complex() else torch.float32) for k, v in leaves.items()}
    y, last = scan(**narrow, **fixed, cu_seqlens=PACK.to(DEVICE), return_state=True, backend=BACKEND)
    state = STATE.get(name, "h0")
    assert torch.equal(last[1], narrow[state][1])  # of the empty sequence
    assert not y[PACK[-1] :].abs().any()
    for s, (begin, end) in enumerate(pairwise(PACK.tolist())):
        if begin == end:
            continue
        one = {k: v[None, begin:end] if len(v) == ROWS else v for k, v in narrow.items()}
        one[state] = narrow[state][s : s + 1]
        alone, alone_last = scan(**one, **fixed, return_state=True, backend=BACKEND)
        assert torch.equal(alone[0], y[begin:end])
        assert torch.equal(alone_last[0], last[s])


@pytest.mark.parametrize("name", SCANS)
def test_a_nan_stays_in_its_own_segment(name):
    leaves = inputs(name, (2, 20), 5)
    first = next(iter(leaves))
    leaves[first][0, 6] = float("nan")
    reset = torch.zeros(2, 20, dtype=torch.bool)
    reset[0, [3, 9]] = True
    found = run(name, leaves, BACKEND, torch.float32, reset=reset)
    assert found["y"][0, 6].isnan().any()
    for part in (found["y"], *(v for k, v in found.items() if k[1:] in leaves and v.shape[:2] == (2, 20))):
        bad = part.isnan().flatten(2).any(-1).cpu()
        assert not bad[0, :3].any()
        assert not bad[0, 9:].any()
        assert not bad[1].any()
    assert not found["last"].isnan().any()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_nan_leaves_earlier_steps_and_other_channels_alone(name):
    scan, fixed = SCANS[name]
    leaves = inputs(name, (1, 8), 3)
    narrow = {k: v.to(DEVICE, torch.complex64 if v.is_complex() else torch.float32) for k, v in leaves.items()}
    next(iter(narrow.values()))[0, 4, 1] = float("nan")
    bad = scan(**narrow, **fixed, backend=BACKEND).isnan()[0]
    assert not bad[:4].any()
    assert not bad[:, [0, 2]].any()
    assert bad[4, 1]


def test_a_reset_forgets_a_state_that_is_nan():
    a, b = torch.full((1, 3, 2), 0.5, device=DEVICE), torch.ones(1, 3, 2, device=DEVICE)
    reset, h0 = torch.tensor([[True, False, False]], device=DEVICE), torch.full((1, 2), float("nan"), device=DEVICE)
    assert not lrscan.linear_scan(a, b, h0, reset=reset, backend=BACKEND).isnan().any()


@pytest.mark.parametrize("name", ["bdlru", "rglru", "mingru", "hgrn"])
def test_saturated_gates_stay_exact_and_their_gradients_finite(name):
    leaves = inputs(name, (1, 11), 3)
    leaves["r"][0] = torch.tensor([-120.0, -30, -12, -8, -4, 0, 4, 8, 12, 30, 120])[:, None]
    found = run(name, leaves, BACKEND, torch.float32)
    assert all(bool(v.isfinite().all()) for v in found.values())
    check(name, leaves)


def test_the_write_strength_of_bdlru_keeps_its_digits_where_the_gate_is_almost_shut():
    r = torch.tensor([-12.0, -8, -4, 0, 4, 8, 12], dtype=torch.float64)[None, None]
    x, i, lam = torch.ones_like(r), torch.full_like(r, 40.0), torch.full((7,), -4.0, dtype=torch.float64)
    got = lrscan.gated_scan(*(v.float().to(DEVICE) for v in (x, r, i, lam)), backend=BACKEND).cpu().double()
    u = torch.nn.functional.softplus(lam) * torch.sigmoid(r.float().double())
    wanted = torch.sqrt(-torch.expm1(-2 * u))
    assert float(((got - wanted) / wanted).abs().max()) < 1e-6


@pytest.mark.parametrize("name", SCANS)
def test_two_runs_are_equal_to_the_last_bit(name):
    leaves = inputs(name, (2, 6), 5)
    one, other = (run(name, leaves, BACKEND, torch.float32) for _ in range(2))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_only_what_there_is_a_kernel_for_is_supported():
    with pytest.raises(ValueError, match=r"does not run ssd_scan on torch\.float64"):
        run("ssd", inputs("ssd", (1, 3), 2), BACKEND, torch.float64)


@pytest.mark.parametrize("shape", LARGE, ids=str)
@pytest.mark.parametrize("name", SCANS)
def test_real_sizes_agree(name, shape):
    batch, steps, width = shape
    check(name, inputs(name, (batch, steps), width), tolerance=5e-6)
