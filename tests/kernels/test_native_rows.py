"""Native scans over sizes and layouts that take other paths through memory."""

from __future__ import annotations

import pytest
import torch
from lrscan import backends, gated_scan, linear_scan

pytestmark = pytest.mark.skipif(backends()["native"] is not None, reason=f"native: {backends()['native']}")


def results(backend: str, batch: int, time: int, channels: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    a = torch.rand(batch, time, channels, generator=g).requires_grad_()
    b, h0, sent = (torch.randn(*shape, generator=g) for shape in ((batch, time, channels), (batch, channels), a.shape))
    b.requires_grad_(), h0.requires_grad_()
    h, last = linear_scan(a, b, h0, return_state=True, backend=backend)
    return [h.detach(), *torch.autograd.grad([h, last], [a, b, h0], [sent, sent[:, 0]])]


@pytest.mark.parametrize("batch", [8, 80])
def test_results_too_large_for_the_caches_are_written_past_them_and_are_the_same(batch: int) -> None:
    for got, wanted in zip(results("native", batch, 128, 128), results("torch", batch, 128, 128), strict=True):
        assert (got - wanted).abs().max() <= 2e-6 * wanted.abs().max()


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 48, 112, 129, 200, 255])
def test_the_bits_of_a_channel_do_not_depend_on_how_many_there_are(channels: int) -> None:
    g = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 9, 256, generator=g), torch.randn(2, 9, 256, generator=g)
    whole = linear_scan(a, b, backend="native")
    part = linear_scan(a[..., :channels].contiguous(), b[..., :channels].contiguous(), backend="native")
    assert torch.equal(part, whole[..., :channels])


def gated_results(backend: str, kind: str, batch: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(2)
    x, r, i, z = (torch.randn(batch, 128, 128, generator=g).requires_grad_() for _ in range(4))
    lam = torch.randn(128, generator=g).requires_grad_()
    given = {"i": i, "lam": lam} if kind == "bdlru" else {}
    y = gated_scan(x, r, kind=kind, z=z, backend=backend, **given)
    sent = torch.randn(y.shape, generator=g)
    return [y.detach(), *torch.autograd.grad(y, [x, r, z, *given.values()], sent)]


@pytest.mark.parametrize("kind", ["bdlru", "mingru"])
def test_gated_results_too_large_for_the_caches_are_written_past_them_and_are_the_same(kind: str) -> None:
    for got, wanted in zip(gated_results("native", kind, 48), gated_results("torch", kind, 48), strict=True):
        assert (got - wanted).abs().max() <= 2e-6 * wanted.abs().max()
