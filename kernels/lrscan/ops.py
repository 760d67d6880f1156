"""The operators as torch knows them: ``torch.ops.lrscan.*``, registered once for every backend.

A backend computes (`lrscan.reference` shows what). From each row of `OPERATORS` follow two custom ops, the operator and
its backward pass: schema, shapes for tracing, gradient, and the call of the backend whose name is the last argument. It
is chosen before the call, so both directions run on the same one. Only what a backward pass reads is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from lrscan.checks import check_bounds
from lrscan.dispatch import backend_module

ORACLE = "reference"
"""Its loops are called as they are and autograd goes through them: an operator, when it runs, hides autograd."""

_HOW = ("Tensor? cu_seqlens", "Tensor? reset", "bool reverse")


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One row of the contract between operators and backends; the names of optional tensors end with "?"."""

    name: str
    inputs: tuple[str, ...]
    """The differentiable arguments of ``{name}_forward``, in order."""
    options: tuple[str, ...] = ()
    """Its further arguments before cu_seqlens, reset and reverse, as a schema writes them."""
    backward: tuple[str, ...]
    """What ``{name}_backward`` reads before g and g_last: inputs, and "h", the saved scan."""
    like: str
    """The input with the shape and dtype of the output; where the backward pass does not read it, "h" stands for it."""
    state: Callable[..., tuple[int, ...]]
    """Shape of one sequence's state, from the inputs."""
    fused: bool = False
    """The output is not the scan itself: it returns (y, h, last), else (h or y, last)."""


OPERATORS = (
    Operator(
        name="linear", inputs=("a", "b", "h0?"), backward=("a", "h", "h0?"), like="b",
        state=lambda a, b, h0: b.shape[-1:],
    ),
    Operator(
        name="gated", inputs=("x", "r", "i?", "lam?", "h0?", "z?"), options=("str kind", "float c", "float eps"),
        backward=("x", "r", "i?", "lam?", "h0?", "z?", "h"), like="x",
        state=lambda x, *rest: x.shape[-1:], fused=True,
    ),
    Operator(
        name="complex", inputs=("u", "log_nu", "theta", "h0?"), backward=("log_nu", "theta", "h", "h0?"), like="u",
        state=lambda u, *rest: u.shape[-1:],
    ),
    Operator(
        name="ssd", inputs=("x", "dt", "A", "B", "C", "D?", "S0?"), options=("int chunk",),
        backward=("x", "dt", "A", "B", "C", "D?", "S0?"), like="x",
        state=lambda x, dt, A, B, C, D, S0: (*x.shape[-2:], B.shape[-1]),
    ),
    Operator(
        name="selective", inputs=("u", "dt", "A", "B", "C", "D?", "h0?"),
        backward=("u", "dt", "A", "B", "C", "D?", "h0?"), like="u",
        state=lambda u, dt, A, *rest: A.shape,
    ),
    Operator(
        name="delta", inputs=("q", "k", "v", "decay", "beta", "S0?"), backward=("q", "k", "v", "decay", "beta", "S0?"),
        like="v", state=lambda q, k, v, *rest: (*v.shape[-2:], k.shape[-1]),
    ),
)  # fmt: skip


def _schema(tensors: Sequence[str], options: Sequence[str], returned: str) -> str:
    named = [f"Tensor? {n[:-1]}" if n.endswith("?") else f"Tensor {n}" for n in tensors]
    return f"({', '.join([*named, *options, *_HOW, 'str backend'])}) -> {returned}"


def _plain(x: Any) -> Any:
    """A tensor without pending conjugation or negation."""
    return x.resolve_conj().resolve_neg() if isinstance(x, Tensor) and x.is_complex() else x


def _forward_op(op: Operator) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """``lrscan::{name}_scan``, and the function in it."""
    position = op.inputs.index(op.like)
    n_tensors = len(op.inputs)

    def run(*arguments: Any) -> tuple[Tensor, ...]:
        *given, backend = (_plain(v) for v in arguments)
        like, cu_seqlens = given[position], given[-3]
        check_bounds(cu_seqlens, like.shape[0])
        found: tuple[Tensor, ...] = getattr(backend_module(backend), f"{op.name}_forward")(*given)
        if op.fused and given[n_tensors - 1] is None:
            found = found[0], like.new_empty(0), found[2]  # y is h
        return tuple(v.contiguous() for v in found)  # as `shapes` says

    def shapes(*arguments: Any) -> tuple[Tensor, ...]:
        like, cu_seqlens = arguments[position], arguments[-4]
        sequences = like.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
        y = like.new_empty(like.shape)
        last = like.new_empty((sequences, *op.state(*arguments[:n_tensors])))
        if not op.fused:
            return y, last
        return y, like.new_empty(0 if arguments[n_tensors - 1] is None else like.shape), last

    returned = "(Tensor, Tensor, Tensor)" if op.fused else "(Tensor, Tensor)"
    made = custom_op(f"lrscan::{op.name}_scan", run, mutates_args=(), schema=_schema(op.inputs, op.options, returned))
    made.register_fake(shapes)
    return made, run


def _backward_op(op: Operator) -> Any:
    """``lrscan::{name}_scan_backward``: the gradient of each of `inputs`, an empty one in place of None."""
    like = [op.backward.index("h" if name == op.like and name not in op.backward else name) for name in op.inputs]

    def run(*arguments: Any) -> list[Tensor]:
        *given, backend = (_plain(v) for v in arguments)
        if backend == ORACLE:
            raise RuntimeError(f"the reference is differentiated by autograd: call lrscan.{op.name}_scan instead")
        found = getattr(backend_module(backend), f"{op.name}_backward")(*given)
        return [
            given[0].new_empty(0) if given[n] is None or d is None else d.to(given[n].dtype).contiguous()
            for d, n in zip(found, like, strict=True)
        ]

    def shapes(*arguments: Any) -> list[Tensor]:
        return [arguments[0].new_empty(0) if (x := arguments[n]) is None else x.new_empty(x.shape) for n in like]

    tensors = (*op.backward, "g", "g_last?")
    schema = _schema(tensors, op.options, "Tensor[]")
    made = custom_op(f"lrscan::{op.name}_scan_backward", run, mutates_args=(), schema=schema)
    made.register_fake(shapes)
    made.register_autograd(_refuse(op.name), setup_context=lambda ctx, inputs, output: None)
    return made


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            f"{name}_scan can be differentiated once only: for a second derivative write the recurrence as a loop, or "
            "take the first one without create_graph=True"
        )

    return refuse


def _only_values(arguments: Sequence[Any]) -> bool:
    """Whether nothing but the values of plain tensors is wanted: no gradient, no tracing, no transform.

    Then the backend is called as it is: the first call of a custom op imports torch's compiler, which a process that
    only recommends has no use for and which takes as long as importing torch.
    """
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack():
        return False
    if torch._C._functorch.maybe_current_level() is not None:
        return False
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return not differentiated and all(type(x) in (Tensor, torch.nn.Parameter) for x in tensors)


def _register(op: Operator) -> Any:
    (forward, run), backward = _forward_op(op), _backward_op(op)
    n_tensors, n_options = len(op.inputs), len(op.options)
    kept = [op.inputs.index(name) if name != "h" else None for name in op.backward]

    def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        h = output[1] if op.fused and inputs[n_tensors - 1] is not None else output[0]
        *_, cu_seqlens, reset, reverse, backend = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*[h if n is None else inputs[n] for n in kept], cu_seqlens, reset)
        ctx.options, ctx.reverse, ctx.backend = inputs[n_tensors : n_tensors + n_options], reverse, backend
        ctx.given = [x is not None for x in inputs[:n_tensors]]
        ctx.like = (output[0].shape, output[0].dtype, output[0].device)

    def gradient(ctx: Any, g: Tensor | None, *rest: Tensor | None) -> tuple[Any, ...]:
        *saved, cu_seqlens, reset = ctx.saved_tensors
        if g is None:
            shape, dtype, device = ctx.like
            g = torch.zeros(shape, dtype=dtype, device=device)
        found = backward(*saved, g, rest[-1], *ctx.options, cu_seqlens, reset, ctx.reverse, ctx.backend)
        shown = [d if given else None for d, given in zip(found, ctx.given, strict=True)]
        return *shown, *[None] * (n_options + 4)

    def call(*arguments: Any) -> Any:
        return (run if arguments[-1] == ORACLE or _only_values(arguments) else forward)(*arguments)

    forward.register_autograd(gradient, setup_context=setup)
    return call


linear_scan, gated_scan, complex_scan, ssd_scan, selective_scan, delta_scan = map(_register, OPERATORS)
