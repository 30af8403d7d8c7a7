"""Train a network of two hidden layers on scikit-learn's digits. No autodiff: the gradients are derived.

``derive train digits`` does the same, and leaves a folder with the derivation, the module, the evidence and a plot.
"""

import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import derive as dv
import numerics as nx
from derive import layers as L


def main(epochs: int = 30, seed: int = 0) -> float:
    """Returns the accuracy on the fifth that is held out."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split((images / 16).astype(np.float32), labels, test_size=0.2, random_state=seed)

    model = dv.Sequential(
        [L.Dense(128, activation="relu"), L.Dense(64, activation="relu"), L.Dense(10)], input_shape=(64,)
    )
    trainer = nx.Trainer(
        model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam(2e-3), metrics=["accuracy"], seed=seed
    )
    for name in trainer.params:
        print(trainer.derivation.gradient(name))
    trainer.fit(x, y, batch_size=64, epochs=epochs)

    accuracy = float(np.mean(np.argmax(trainer.predict(x_test), axis=1) == y_test))
    print(f"test accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
