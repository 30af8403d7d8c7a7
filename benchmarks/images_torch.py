"""The cases of ``images`` in eager torch: NCHW tensors in channels-last memory, its own threads; None without torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

try:
    import torch
    from torch.nn import functional as F
except ImportError:
    torch = None

TOLERANCE = 2e-3  # relative, float32 and sums in another order: it tells the same function from another one


def convolution(stride=1, padding=0, groups=1):
    return lambda p, x: F.conv2d(x, p[0], p[1], stride, padding, groups=groups)


def depthwise(p, x):
    return F.conv2d(x, p[0], p[1], groups=x.shape[1])


def max_pool(window, stride):
    return lambda p, x: F.max_pool2d(x, window, stride)


def batch_norm(p, x):
    return F.batch_norm(x, None, None, p[0], p[1], training=True, eps=1e-3)


def layer_norm(p, x):
    return F.layer_norm(x, x.shape[-1:], p[0], p[1], eps=1e-3)


def network(p, x):
    x = F.max_pool2d(F.relu(F.conv2d(x, p[0], p[1])), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, p[2], p[3])), 2)
    return F.linear(x.permute(0, 2, 3, 1).flatten(1), p[4], p[5])


def layer_step(forward: Callable, values, x, up, pulled: bool, expected) -> Callable | None:
    """sum(y * up) and the gradients of parameters and image, or with ``pulled`` y and the pulled back ``up``."""
    if torch is None:
        return None
    leaves = [leaf(v) for v in values] + [leaf(x, image=True)]
    weight = tensor(up, image=True)

    def step():
        y = forward(leaves[:-1], leaves[-1])
        loss = y if pulled else (y * weight).sum()
        return loss.detach(), torch.autograd.grad(loss, leaves, weight if pulled else None)

    agrees(step()[1], expected)
    return step


def network_step(values, x, label, expected) -> Callable | None:
    """Cross entropy of the small network and the gradients of its parameters."""
    if torch is None:
        return None
    leaves, image = [leaf(v) for v in values], tensor(x, image=True)
    classes = torch.from_numpy(np.array(label, np.int64))

    def step():
        loss = F.cross_entropy(network(leaves, image), classes)
        return loss.detach(), torch.autograd.grad(loss, leaves)

    agrees(step()[1], expected)
    return step


def tensor(a, image: bool = False):
    """In torch's order of axes: an image as NCHW, a kernel HWIO as OIHW, a matrix (in, out) as (out, in)."""
    a = np.array(a)
    if a.ndim == 4:
        order = (0, 3, 1, 2) if image else kernel_order(a.shape)
        moved = torch.from_numpy(np.ascontiguousarray(a.transpose(order)))
        return (
            moved.reshape(-1, 1, *moved.shape[2:])
            if order == DEPTHWISE
            else moved.to(memory_format=torch.channels_last)
        )
    return torch.from_numpy(np.ascontiguousarray(a.T) if a.ndim == 2 and not image else a)


DEPTHWISE = (2, 3, 0, 1)  # height, width, channel, multiplier: one output channel per pair


def kernel_order(shape):
    return DEPTHWISE if shape[3] == 1 else (3, 2, 0, 1)  # no case has a convolution of one filter


def leaf(a, image: bool = False):
    return tensor(a, image).requires_grad_()


def agrees(grads, expected) -> None:
    """Norms are the same in every order of axes: enough to tell that both sides compute the same gradients."""
    for g, e in zip(grads, expected, strict=True):
        ours, theirs = float(np.linalg.norm(np.asarray(e, np.float64))), float(g.double().norm())
        if not math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=1e-4):
            raise ValueError(f"torch computes another gradient: its norm is {theirs:.6g}, autodiff's {ours:.6g}")
