import pytest
import torch

from recblr.training.loss import cross_entropy


@pytest.mark.parametrize("size", [1.0, 9.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("pad_class", [False, True])
def test_loss_and_gradients_are_torchs_own(pad_class, with_bias, smoothing, size):
    g = torch.Generator().manual_seed(0)
    hidden = (size * torch.randn(5000, 8, generator=g)).requires_grad_()
    weight = torch.randn(301, 8, generator=g).requires_grad_()
    bias = torch.randn(301, generator=g).requires_grad_() if with_bias else None
    targets = torch.randint(1, 301, (5000,), generator=g)
    leaves = [leaf for leaf in (hidden, weight, bias) if leaf is not None]
    got = cross_entropy(hidden, weight, bias, targets, pad_class=pad_class, label_smoothing=smoothing)
    logits = hidden @ weight.T + (0 if bias is None else bias)
    first = 0 if pad_class else 1
    wanted = torch.nn.functional.cross_entropy(logits[:, first:], targets - first, label_smoothing=smoothing)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    pairs = zip(torch.autograd.grad(3 * got, leaves), torch.autograd.grad(3 * wanted, leaves), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_weights_share_the_loss_out():
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(90, 8, generator=g).requires_grad_()
    weight = torch.randn(31, 8, generator=g).requires_grad_()
    targets, weights = torch.randint(1, 31, (90,), generator=g), torch.rand(90, generator=g)
    got = cross_entropy(hidden, weight, None, targets, weights=weights)
    each = torch.nn.functional.cross_entropy(hidden @ weight[1:].T, targets - 1, reduction="none")
    wanted = (each * weights).sum() / weights.sum()
    torch.testing.assert_close(got, wanted)
    pairs = zip(torch.autograd.grad(got, [hidden, weight]), torch.autograd.grad(wanted, [hidden, weight]), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_banned_items_are_no_classes_but_a_target_always_is_one():
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(90, 8, generator=g).requires_grad_()
    weight = torch.randn(31, 8, generator=g).requires_grad_()
    targets, banned = torch.randint(1, 31, (90,), generator=g), torch.randint(0, 31, (90, 5), generator=g)
    assert (banned == targets[:, None]).any()
    got = cross_entropy(hidden, weight, None, targets, banned=banned)
    logits = (hidden @ weight.T).scatter(1, banned, -torch.inf)
    logits = logits.scatter(1, targets[:, None], (hidden @ weight.T).gather(1, targets[:, None]))
    wanted = torch.nn.functional.cross_entropy(logits[:, 1:], targets - 1)
    torch.testing.assert_close(got, wanted)
    pairs = zip(torch.autograd.grad(got, [hidden, weight]), torch.autograd.grad(wanted, [hidden, weight]), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    with pytest.raises(ValueError, match="label_smoothing"):
        cross_entropy(hidden, weight, None, targets, banned=banned, label_smoothing=0.1)


def test_large_logits_do_not_overflow():
    hidden, weight = torch.full((4, 2), 300.0), torch.tensor([[0.0, 0.0], [1.0, 1.0], [-1.0, -1.0]])
    loss = cross_entropy(hidden, weight, None, torch.tensor([1, 1, 1, 2]))
    assert loss.item() == pytest.approx(300.0)
