"""Train a small convolutional network on scikit-learn's digits. No autodiff: the gradients are derived.

``derive train digits --model cnn`` does the same, and leaves a folder with the derivation, the module and the evidence.
"""

import optax

import numerics as nx
from derive.networks.examples.networks import digits_cnn
from numerics.data.examples import digits


def main(epochs: int = 20, seed: int = 0) -> float:
    """Returns the accuracy on the fifth that is held out."""
    (x, y), (x_test, y_test) = ((images.reshape(-1, 8, 8, 1), labels) for images, labels in digits(seed))
    trainer = nx.Trainer(
        digits_cnn(), "sparse_softmax_cross_entropy", optax.adam(2e-3), metrics=["accuracy"], seed=seed
    )
    for name in trainer.params:
        print(trainer.derivation.gradient(name))
    trainer.fit(x, y, batch_size=64, epochs=epochs)

    accuracy = trainer.evaluate(x_test, y_test)["accuracy"]
    print(f"test accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
