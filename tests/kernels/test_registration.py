"""The operators as torch sees them: registered correctly, kept whole by torch.compile, on the backend of choice."""

import subprocess
import sys

import lrscan
import pytest
import torch
from lrscan import linear_scan, ops, use_backend
from lrscan.ops import OPERATORS
from torch.utils._python_dispatch import TorchDispatchMode


def arguments(op, backend, grad):
    """What `torch.ops.lrscan.{op.name}_scan` takes, of the smallest interesting sizes."""
    g = torch.Generator().manual_seed(0)
    sizes = {"H": 4, "P": 2, "G": 2, "N": 3, "D": 3}
    shapes = {
        "linear": ["BTD", "BTD", "BD"],
        "gated": ["BTD", "BTD", "BTD", "D", "BD", "BTD"],
        "complex": ["BTD", "D", "D", "BD"],
        "ssd": ["BTHP", "BTH", "H", "BTGN", "BTGN", "H", "BHPN"],
        "selective": ["BTD", "BTD", "DN", "BTN", "BTN", "D", "BDN"],
        "delta": ["BTHN", "BTHN", "BTHP", "BTH", "BTH", "BHPN"],
    }[op.name]
    tensors = [torch.rand([{"B": 2, "T": 5, **sizes}[axis] for axis in axes], generator=g) for axes in shapes]
    if op.name == "complex":
        tensors = [torch.complex(v, -v) if v.dim() > 1 else v for v in tensors]
    options = {"gated": ["bdlru", 1.0, 0.0], "ssd": [2]}.get(op.name, [])
    reset = torch.rand(2, 5, generator=g) < 0.3
    return *[v.requires_grad_(grad) for v in tensors], *options, None, reset, True, backend


@pytest.mark.parametrize("backend", [name for name in ("native", "torch") if lrscan.backends()[name] is None])
@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.name)
def test_every_operator_passes_the_checks_that_torch_has_for_one(op, backend):
    registered = getattr(torch.ops.lrscan, f"{op.name}_scan").default
    torch.library.opcheck(registered, arguments(op, backend, grad=True))


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.name)
def test_every_backward_pass_is_an_operator_too(op):
    *given, cu_seqlens, reset, reverse, backend = arguments(op, "torch", grad=False)
    tensors, options = given[: len(op.inputs)], given[len(op.inputs) :]
    output = getattr(torch.ops.lrscan, f"{op.name}_scan")(*given, cu_seqlens, reset, reverse, backend)
    read = [output[0] if name == "h" else tensors[op.inputs.index(name)] for name in op.backward]
    backward = getattr(torch.ops.lrscan, f"{op.name}_scan_backward").default
    call = (*read, torch.ones_like(output[0]), None, *options, cu_seqlens, reset, reverse, backend)
    torch.library.opcheck(backward, call, test_utils=("test_schema", "test_faketensor"))


COMPILE = """
import lrscan, torch

def model(x, r, i, lam, cu_seqlens):
    h, last = lrscan.gated_scan(x, r, i, lam, z=r, cu_seqlens=cu_seqlens, return_state=True)
    return lrscan.linear_scan(torch.sigmoid(r), h, last, cu_seqlens=cu_seqlens, reverse=True).sum()

g = torch.Generator().manual_seed(0)
leaves = [torch.randn(*shape, generator=g).requires_grad_() for shape in ((9, 4), (9, 4), (9, 4), (4,))]
cu_seqlens = torch.tensor([0, 4, 9])
whole = torch.compile(model, fullgraph=True, backend="aot_eager")
wanted = torch.autograd.grad(model(*leaves, cu_seqlens), leaves)
for got, exact in zip(torch.autograd.grad(whole(*leaves, cu_seqlens), leaves), wanted):
    assert torch.equal(got, exact)
try:
    whole(*leaves, torch.tensor([0, 12, 9]))
except ValueError as error:
    print(error)
"""


def test_a_model_of_scans_compiles_as_one_graph_that_still_checks_its_sequences():
    """In a process of its own: types are checked in this one, by code that cannot be compiled."""
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True)
    assert "cu_seqlens must rise from 0 to at most N = 9, got [0, 12, 9]" in done.stdout, done.stderr


def test_both_directions_run_on_the_backend_that_was_chosen_for_the_call(monkeypatch):
    asked = []
    module_of = ops.backend_module
    monkeypatch.setattr(ops, "backend_module", lambda name: asked.append(name) or module_of(name))
    a, b = (torch.rand(1, 3, 2).requires_grad_() for _ in range(2))
    with use_backend("torch"):
        h = linear_scan(a, b)
    h.sum().backward()
    assert asked == ["torch", "torch"]


def test_a_gradient_may_come_through_the_final_state_alone():
    a, b = (torch.rand(2, 4, 3, dtype=torch.float64).requires_grad_() for _ in range(2))
    last = linear_scan(a, b, return_state=True)[1]
    wanted = linear_scan(a, b)[:, -1]
    for got, exact in zip(*(torch.autograd.grad(v.sum(), (a, b)) for v in (last, wanted)), strict=True):
        torch.testing.assert_close(got, exact)


def test_the_reference_can_be_differentiated_twice():
    a, b = (torch.rand(1, 3, 2, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradgradcheck(lambda a, b: linear_scan(a, b, backend="reference"), (a, b))


ANSWER = """
import sys, torch, lrscan
x = torch.rand(1, 3, 2)
lrscan.gated_scan(x, x, x, x[0, 0])
print(*[name for name in ("torch._dynamo", "triton") if name in sys.modules], sep=",")
"""


def test_values_without_gradients_need_no_compiler():
    done = subprocess.run([sys.executable, "-c", ANSWER], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_dispatch_mode_still_meets_the_registered_operator():
    met = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            met.append(str(func))
            return func(*args, **(kwargs or {}))

    with Watch():
        linear_scan(*torch.rand(2, 1, 3, 2))
    assert "lrscan.linear_scan.default" in met
