"""Exclusive or: no line separates it, two hidden units do. The gradients are derived; the picture shows the boundary."""

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.pages import plots

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)


def main(picture: str | None = None, seed: int = 1) -> list[int]:
    """Returns the four answers."""
    model = dv.Sequential([L.Dense(2, activation="tanh"), L.Dense(1)], input_shape=(2,), name="xor")
    trainer = nx.Trainer(model, "sigmoid_binary_cross_entropy", optax.adam(0.1), metrics=["accuracy"], seed=seed)
    for tensor in ("z2", "dense_2_kernel", "z1", "dense_1_kernel"):
        print(trainer.derivation.gradient(tensor))
    history = trainer.fit(X, Y, batch_size=4, epochs=250, verbose=False)
    if picture:
        plots.save(plots.decision_boundary(trainer, X, Y[:, 0].astype(int)), picture)

    answers = [int(z > 0) for z in trainer.predict(X)[:, 0]]
    for x, answer in zip(X.astype(int), answers, strict=True):
        print(f"{x[0]} xor {x[1]} = {answer}")
    print(f"loss {history['loss'][0]:.3f} to {history['loss'][-1]:.4f}")
    return answers


if __name__ == "__main__":
    main("out/xor.png")
