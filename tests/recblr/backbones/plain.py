"""The equations that several tests share, in loops and float64: norms, activations, convolution, Mamba-2's block."""

import math

import numpy as np

YEAR = 365 * 86_400


def norm(x, weight=1, bias=0, eps=1e-12):
    return (x - x.mean()) / math.sqrt(x.var() + eps) * weight + bias


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def hardswish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def gelu(x):
    return np.array([0.5 * one * (1 + math.erf(one / math.sqrt(2))) for one in x])


def softplus(x):
    return np.log1p(np.exp(x))


def causal_conv(inputs, weight, bias):
    """The output at the last of `inputs`, a list of [C], for weight [C, k], oldest tap first."""
    taps, out = weight.shape[1], bias.copy()
    for back in range(min(taps, len(inputs))):
        out += weight[:, taps - 1 - back] * inputs[-1 - back]
    return out


def linear(own, name, x):
    return own[f"{name}.weight"] @ x + own.get(f"{name}.bias", 0)


def ssd(own, x, *, state, activation, eps, adjust=lambda t, delta: delta):
    """Mamba-2's block for one history, by loops over events, heads and channels; x: list of [d]."""
    heads, inner = len(own["D"]), len(own["norm_weight"])
    width = inner // heads
    held, entered, out = np.zeros((heads, width, state)), [], []
    for t, one in enumerate(x):
        z, mixed, delta = np.split(linear(own, "project_in", one), [inner, 2 * inner + 2 * state])
        entered.append(mixed)
        mixed = activation(causal_conv(entered, own["conv.weight"], own["conv.bias"]))
        u, b, c = np.split(mixed, [inner, inner + state])
        o = np.zeros(inner)
        for h, step in enumerate(softplus(adjust(t, delta) + own["dt_bias"])):
            decay = math.exp(-math.exp(own["A_log"][h]) * step)
            for p in range(width):
                value = u[h * width + p]
                held[h, p] = decay * held[h, p] + step * value * b
                o[h * width + p] = held[h, p] @ c + own["D"][h] * value
        gated = o * silu(z)
        out.append(linear(own, "project_out", gated / math.sqrt((gated**2).mean() + eps) * own["norm_weight"]))
    return out


def post_norm(own, before, y, activation, *, residual=True, eps=1e-12):
    """LN(y + x), then LN(x + FFN(x)), for one event."""
    x = norm(y + before if residual else y, own["norm.weight"], own["norm.bias"], eps)
    fed = linear(own, "feed_forward.narrow", activation(linear(own, "feed_forward.widen", x)))
    return norm(x + fed, own["feed_forward.norm.weight"], own["feed_forward.norm.bias"], eps)


def weights(model):
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def below(own, prefix):
    """The weights under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in own.items() if name.startswith(prefix)}
