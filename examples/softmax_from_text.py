"""Train softmax regression, written as eight lines of text, by plain gradient descent with its derived gradients."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import numerics as nx
from derive.networks.examples import load


def main() -> float:
    """Returns the accuracy on the last 360 digits."""
    model = load(Path(__file__).with_name("softmax_regression.txt"))
    derivation = model.backprop()
    for equation in derivation.program:
        print(f"({equation.number})  {equation}")
    step = nx.compile(derivation)

    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    train, test = slice(0, -360), slice(-360, None)
    parameters = {"W": np.zeros((64, 10), np.float32), "c": np.zeros(10, np.float32)}
    for n in range(300):
        loss, gradients = step(x=images[train], label=labels[train], **parameters)
        parameters = {name: value - 1.0 * gradients[name] for name, value in parameters.items()}
        if n % 100 == 0:
            print(f"step {n:3}  loss {float(loss):.4f}")

    logits = images[test] @ parameters["W"] + parameters["c"]
    accuracy = float(np.mean(np.argmax(logits, axis=1) == labels[test]))
    print(f"test accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
