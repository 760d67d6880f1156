"""What is particular to LRURec: a constant complex spectrum, so a fixed impulse response."""

import torch

from recblr.backbones import make_config
from recblr.backbones.lrurec import LRU, LRURec


def test_the_layer_answers_an_impulse_with_its_closed_form_kernel():
    torch.manual_seed(0)
    lru = LRU(4, 0.8, 0.99)
    for parameter in (lru.B, lru.B_bias, lru.C, lru.C_bias):
        torch.nn.init.normal_(parameter)
    with torch.no_grad():
        lru.B_bias.zero_(), lru.C_bias.zero_()
        x = torch.zeros(1, 12, 4)
        x[0, 0] = torch.randn(4)
        y = lru(x)[0].double()
        eigenvalue = torch.polar(torch.exp(-torch.exp(lru.log_nu)), torch.exp(lru.log_theta)).to(torch.complex128)
        B, C = (torch.view_as_complex(w.double().contiguous()) for w in (lru.B, lru.C))
        b = torch.exp(lru.log_gamma).double() * (B @ x[0, 0].to(torch.complex128))
        for k in range(12):
            torch.testing.assert_close(y[k], (C @ (eigenvalue**k * b)).real, rtol=1e-4, atol=1e-5)


def test_initial_eigenvalues_lie_in_the_ring():
    torch.manual_seed(0)
    model = LRURec(make_config(LRURec, n_items=3))
    for layer in model.layers:
        modulus = torch.exp(-torch.exp(layer.mixer.log_nu))
        assert 0.8 - 1e-4 <= modulus.min() <= modulus.max() <= 0.99 + 1e-4
        gain = torch.exp(layer.mixer.log_gamma)
        torch.testing.assert_close(gain, torch.sqrt(1 - modulus**2), rtol=1e-3, atol=1e-5)


def test_parameters_count_as_published_when_a_complex_number_is_one():
    model = LRURec(make_config(LRURec, n_items=3416))
    pairs = sum(p.numel() for layer in model.layers for p in (layer.mixer.B, layer.mixer.B_bias, layer.mixer.C,
                                                             layer.mixer.C_bias))  # fmt: skip
    assert model.n_parameters() - pairs // 2 == 322_841
