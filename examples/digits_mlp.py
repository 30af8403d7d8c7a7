"""Train a network of two hidden layers on scikit-learn's digits. No autodiff: the gradients are derived.

``derive train digits`` does the same, and leaves a folder with the derivation, the module, the evidence and a plot.
"""

import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.data.examples import digits


def main(epochs: int = 30, seed: int = 0) -> float:
    """Returns the accuracy on the fifth that is held out."""
    (x, y), (x_test, y_test) = digits(seed)

    model = dv.Sequential(
        [L.Dense(128, activation="relu"), L.Dense(64, activation="relu"), L.Dense(10)], input_shape=(64,)
    )
    trainer = nx.Trainer(
        model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam(2e-3), metrics=["accuracy"], seed=seed
    )
    for name in trainer.params:
        print(trainer.derivation.gradient(name))
    trainer.fit(x, y, batch_size=64, epochs=epochs)

    accuracy = trainer.evaluate(x_test, y_test)["accuracy"]
    print(f"test accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
