"""The network of many courses, 8-6-6-4: its backpropagation written out, then trained.

Eight pixels in a row show a bar of three at one of four places, on a noisy ground; the network says where it is.
"""

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L


def bars(n: int, noise: float, seed: int):
    """Rows of eight pixels with a bar of three at 0, 2, 4 or 5; the number of its place."""
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 4, n)
    start = np.array([0, 2, 4, 5])[place][:, None]
    pixel = np.arange(8)[None, :]
    ink = ((pixel >= start) & (pixel < start + 3)).astype(np.float32)
    return ink + rng.normal(0, noise, (n, 8)).astype(np.float32), place.astype(np.int32)


def network() -> dv.Sequential:
    return dv.Sequential(
        [L.Dense(6, activation="sigmoid"), L.Dense(6, activation="sigmoid"), L.Dense(4)],
        input_shape=(8,),
        name="course network",
    )


def main(epochs: int = 60, seed: int = 0) -> float:
    """Returns the share of new rows that are told right."""
    model = network()
    print(model.summary())
    trainer = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.adam(0.03), metrics=["accuracy"], seed=seed)

    print("\nfrom the loss back to the first layer:")
    for tensor in ("z3", "h2", "z2", "h1", "z1", "dense_1_kernel", "dense_1_bias"):
        print(" ", trainer.derivation.gradient(tensor))
    print(str(trainer.derivation.check()).splitlines()[0])

    x, place = bars(600, 0.25, seed)
    trainer.fit(x, place, batch_size=50, epochs=epochs, verbose=False)
    accuracy = trainer.evaluate(*bars(400, 0.25, seed + 1))["accuracy"]
    print(f"test accuracy: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
