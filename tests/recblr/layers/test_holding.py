"""Holding a model still: values stay, what they are a function of does not."""

import threading

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm, normalize

from recblr.errors import RecblrError
from recblr.layers.holding import LayerNorm, held, holding, is_holding, normed, replaying, sloped, unit_length

X = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))


def test_gates_of_a_pass_are_those_of_the_pass_that_replays_it():
    first, second = torch.tensor([1.0, 2.0]), torch.tensor([3.0])
    assert held(first) is first
    with holding() as constants:
        assert torch.equal(held(first), first)
        assert torch.equal(held(second), second)
    with replaying(constants):
        assert torch.equal(held(10 * first), first)
        assert torch.equal(held(10 * second), second)
        with pytest.raises(RecblrError, match="asks for more of them"):
            held(first)


@pytest.mark.parametrize("f", [torch.relu, torch.nn.functional.silu, torch.tanh, torch.exp, torch.nn.functional.gelu])
def test_an_activation_along_its_chord_keeps_its_value(f):
    x = torch.tensor([[-3.0, -1e-4, 0.0, 1e-4, 0.7, 20.0]])
    with holding():
        torch.testing.assert_close(sloped(f, x), f(x))


def test_a_norm_that_is_held_keeps_its_value_and_becomes_linear():
    norm = LayerNorm(6)
    with torch.no_grad():
        norm.weight.normal_(generator=torch.Generator().manual_seed(1))
    wanted = nn.LayerNorm.forward(norm, X)
    assert torch.equal(norm(X), wanted)
    with holding() as constants:
        torch.testing.assert_close(norm(X), wanted)
    with replaying(constants):
        double = norm(2 * X) - norm.bias
    torch.testing.assert_close(double, 2 * (wanted - norm.bias))


def test_norms_without_weights_keep_their_values():
    assert torch.equal(normed(X, 1e-6), layer_norm(X, (6,), eps=1e-6))
    assert torch.equal(unit_length(X, 1e-6), normalize(X, dim=-1, eps=1e-6))
    with holding():
        torch.testing.assert_close(normed(X, 1e-6), layer_norm(X, (6,), eps=1e-6))
        torch.testing.assert_close(unit_length(X, 1e-6), normalize(X, dim=-1, eps=1e-6))


def test_a_gate_that_is_held_passes_no_gradient():
    x = X.clone().requires_grad_()
    with holding():
        (held(torch.sigmoid(x)) * x).sum().backward()
    torch.testing.assert_close(x.grad, torch.sigmoid(X))


def test_holding_ends_with_its_block_even_by_an_error():
    with pytest.raises(KeyError), holding():
        raise KeyError
    assert not is_holding()


def test_holding_is_seen_by_its_own_thread_alone():
    seen = []
    with holding():
        other = threading.Thread(target=lambda: seen.append(is_holding()))
        other.start()
        other.join()
        assert is_holding()
    assert seen == [False]
