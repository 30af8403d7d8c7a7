"""Three kinds of iris told apart by two numbers, the length and the width of a petal; and the boundary that was learned."""

import optax
from sklearn.datasets import load_iris

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.data.examples import split
from numerics.pages import plots


def main(picture: str | None = None, epochs: int = 80, seed: int = 0) -> float:
    """Returns the accuracy on the third that is held out."""
    iris = load_iris()
    (x, y), (x_test, y_test) = split(iris.data[:, 2:].astype("float32"), iris.target.astype("int32"), 1 / 3, seed)
    scaled = nx.Standardizer.fit(x)  # by the training part alone

    model = dv.Sequential([L.Dense(8, activation="tanh"), L.Dense(3)], input_shape=(2,), name="iris")
    trainer = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.adam(0.02), metrics=["accuracy"], seed=seed)
    print(trainer.derivation.gradient("z2"))
    trainer.fit(scaled(x), y, batch_size=20, epochs=epochs, verbose=False)
    if picture:
        names = ("petal length, standardized", "petal width, standardized")
        plots.save(plots.decision_boundary(trainer, scaled(x_test), y_test, names), picture)

    accuracy = trainer.evaluate(scaled(x_test), y_test)["accuracy"]
    print(f"test accuracy: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main("out/two_features.png")
