"""Train the convolutional network of the Keras documentation on MNIST, from a folder that holds its four IDX files.

    python examples/mnist_cnn.py FOLDER

No autodiff: the gradients of convolutions, pooling and dropout are derived.  Eight epochs take some three minutes on two cores
and reach 0.99.
"""

import sys

import optax

import numerics as nx
from derive.networks.examples.networks import keras_mnist
from numerics.data.examples import load_mnist


def main(folder: str, epochs: int = 8, batch_size: int = 64, seed: int = 0) -> list[float]:
    """The rate falls along a cosine; returns the accuracy on the 10,000 test images after each epoch."""
    (x, y), (x_test, y_test) = ((images.reshape(-1, 28, 28, 1), labels) for images, labels in load_mnist(folder))
    rate = optax.cosine_decay_schedule(3e-3, epochs * -(-len(x) // batch_size))
    trainer = nx.Trainer(
        keras_mnist(), "sparse_softmax_cross_entropy", optax.adam(rate), metrics=["accuracy"], seed=seed
    )
    found = []
    for epoch in range(1, epochs + 1):
        trainer.fit(x, y, batch_size=batch_size, verbose=False)
        found.append(trainer.evaluate(x_test, y_test)["accuracy"])
        print(f"epoch {epoch}: test accuracy {found[-1]:.4f}", flush=True)
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER, which holds train-images-idx3-ubyte (or .gz) and the other three")
    main(sys.argv[1])
