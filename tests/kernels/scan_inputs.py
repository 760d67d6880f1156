"""The operators' inputs, and how a backend's results are compared with the float64 oracle's, for several tests."""

from functools import partial

import torch
from lrscan import (
    backends,
    complex_scan,
    complex_step,
    delta_scan,
    delta_step,
    gated_scan,
    gated_step,
    linear_scan,
    linear_step,
    selective_scan,
    selective_step,
    ssd_scan,
    ssd_step,
)
from torch.nn.functional import softplus

BACKENDS = [name for name, why in backends().items() if why is None]
OPERATORS = ["linear", "gated", "rglru", "mingru", "hgrn", "complex", "ssd", "selective", "delta"]
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
    elif operator == "delta":  # 3 heads of `channels` rows, keys of 4 numbers and length 1
        keys = normal(*time, 3, 4)
        leaves = {
            "q": normal(*time, 3, 4),
            "k": keys / keys.norm(dim=-1, keepdim=True),
            "v": normal(*time, 3, channels),
        }
        leaves |= {"decay": torch.sigmoid(normal(*time, 3) + 2), "beta": torch.sigmoid(normal(*time, 3))}
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


OVER_TIME = {"a", "b", "x", "r", "i", "z", "u", "dt", "B", "C", "q", "k", "v", "decay", "beta"}
STATE = {"ssd": "S0", "delta": "S0"}
RUN = {
    "linear": linear_scan,
    "gated": gated_scan,
    "rglru": partial(gated_scan, kind="rglru", c=8.0),
    "mingru": partial(gated_scan, kind="mingru"),
    "hgrn": partial(gated_scan, kind="hgrn"),
    "complex": complex_scan,
    "ssd": ssd_scan,
    "selective": selective_scan,
    "delta": delta_scan,
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
    "delta": delta_step,
}


def initial(operator, sequences, dtype, seed=1, channels=5):
    g = torch.Generator().manual_seed(seed)
    axes = {"ssd": (4, channels, 3), "selective": (channels, 3), "delta": (3, channels, 4)}.get(operator, (channels,))
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
