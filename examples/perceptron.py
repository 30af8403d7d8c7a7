"""Rosenblatt's perceptron: a step has no gradient, so its own rule trains it; and what it says of classes that no line parts.

Setosas are parted from the other irises by a line, versicolors from virginicas are not.
"""

import numpy as np
from sklearn.datasets import load_iris

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.pages import plots


def main(picture: str | None = None) -> tuple[nx.Perceptron, nx.Perceptron]:
    """Returns the two perceptrons."""
    step = dv.Sequential([L.Dense(1, activation="threshold")], input_shape=(2,))
    try:
        step.backprop("mean_squared_error")
    except dv.DerivationError as refusal:
        print(f"backpropagation: {refusal}\n")

    iris = load_iris()
    x = iris.data[:, 2:]
    setosa = nx.Perceptron().fit(x, (iris.target == 0).astype(int))
    print(setosa)
    print(f"  Novikoff's bound by the margin it found: {setosa.bound(x, iris.target == 0):.0f} mistakes")

    rest = iris.target > 0
    virginica = nx.Perceptron().fit(x[rest], iris.target[rest] - 1)
    print(virginica)
    if picture:
        label = (iris.target == 0).astype(int)
        plots.save(plots.decision_boundary(setosa, x, label, ("petal length", "petal width")), picture)

    forward = nx.compile(step.forward())  # the same weights in the network of a step
    answers = forward(x=np.float32(x), dense_1_kernel=np.float32(setosa.kernel), dense_1_bias=np.float32(setosa.bias))[
        "dense_1"
    ]
    print(f"a threshold layer with these weights answers alike: {np.array_equal(answers[:, 0], setosa.predict(x))}")
    return setosa, virginica


if __name__ == "__main__":
    main("out/perceptron.png")
