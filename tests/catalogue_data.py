"""Targets and outputs in the domain of each loss, for the tests of the catalogue."""

import numpy as np

from derive.networks.losses import LOSSES


def target(name, rng, shape, one_hot=False):
    """An array ``y`` that fits the loss, for an output of the shape."""
    kind = LOSSES[name].target
    if kind == "labels":
        return rng.integers(0, shape[-1], shape[:-1])
    if name == "categorical_hinge" or (kind == "probabilities" and one_hot):
        return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    return {
        "values": lambda: rng.normal(size=shape),
        "nonnegative": lambda: rng.poisson(2, shape).astype(float),
        "signs": lambda: rng.choice([-1.0, 1.0], shape),
        "bits": lambda: rng.random(shape),
        "probabilities": lambda: rng.dirichlet(np.ones(shape[-1]), shape[:-1]),
    }[kind]()


def output(name, rng, shape):
    """An array ``z`` in the domain of the loss."""
    reads = LOSSES[name].reads
    if reads == "probabilities":
        return rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    return {"bits": lambda: rng.uniform(0.05, 0.95, shape), "nonnegative": lambda: rng.uniform(0.1, 3, shape)}.get(
        reads, lambda: 2 * rng.normal(size=shape)
    )()


def error(ours, theirs, others=()) -> float:
    """The norm of DESIGN section 8: the largest difference over the leaf's largest, floored by the other leaves'."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    largest = max([np.abs(theirs).max(), *(1e-3 * np.abs(np.asarray(o)).max() for o in others)])
    return float(np.abs(ours - theirs).max() / largest)
