"""A small trainer and data that it learns, shared by the tests of training."""

import numpy as np
import optax

from derive import Sequential
from derive import layers as L
from numerics.training import Trainer


def small(loss="sparse_softmax_cross_entropy", metrics=("accuracy",), optimizer=None, last=3, activation=None, seed=0):
    model = Sequential([L.Dense(8, activation="tanh"), L.Dense(last, activation=activation)], input_shape=(5,))
    return Trainer(model, loss=loss, optimizer=optimizer or optax.adam(1e-2), metrics=list(metrics), seed=seed)


def blobs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n).astype(np.int32)
    return (rng.normal(size=(n, 5)) + 2 * np.eye(5)[y]).astype(np.float32), y
