"""Cross-check gradients of softmax regression that were written by hand: one is right, three are not."""

import numpy as np

import numerics as nx
from derive.networks.examples import load


def right(x, label, W, c):
    """(softmax - one-hot) / B, and the two contractions."""
    p = np.exp(x @ W + c)
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(label)), label] -= 1
    p /= len(label)
    return {"W": x.T @ p, "c": p.sum(axis=0)}


def forgets_the_batch(x, label, W, c):
    """A mean taken for a sum."""
    return {name: g * len(label) for name, g in right(x, label, W, c).items()}


def wrong_sign(x, label, W, c):
    """Ascends instead of descending, in one of the two."""
    g = right(x, label, W, c)
    return g | {"c": -g["c"]}


def forgets_the_labels(x, label, W, c):
    """The softmax alone."""
    p = np.exp(x @ W + c)
    p /= p.sum(axis=1, keepdims=True) * len(label)
    return {"W": x.T @ p, "c": p.sum(axis=0)}


def main() -> dict:
    """Returns the report on each of the four."""
    kernel = nx.compile(load("softmax_regression").backprop())
    reports = {}
    for gradient in (right, forgets_the_batch, wrong_sign, forgets_the_labels):
        reports[gradient.__name__] = nx.crosscheck(kernel, gradient)
        print(f"--- {gradient.__name__}: {gradient.__doc__}\n{reports[gradient.__name__]}\n")
    return reports


if __name__ == "__main__":
    main()
