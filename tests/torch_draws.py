"""Tensors for torch's layers: floats are float64."""

import torch


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def uniform(*shape):
    return torch.rand(*shape, dtype=torch.float64) * 0.8 + 0.1


def signs(*shape):
    return torch.randint(0, 2, shape).double() * 2 - 1


def labels(n, *shape):
    return torch.randint(0, n, shape)


def mask(*shape):
    """Of the positions before."""
    return torch.triu(torch.ones(*shape, dtype=torch.bool), 1)


def padding(*shape):
    """The last position of the first row is padding."""
    out = torch.zeros(*shape, dtype=torch.bool)
    out[0, -1] = True
    return out
