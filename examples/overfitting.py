"""A network with far too many weights learns 300 digits by heart, the fifth that is labelled wrong too; three cures.

Held-out digits have their right labels. The curves show when the network stops learning digits and starts learning the
wrong labels: early stopping goes back to that epoch, dropout and L2 put it off.
"""

import jax
import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.data.examples import digits
from numerics.pages import plots

CURES = {"none": {}, "early stopping": {}, "dropout": {"dropout": 0.6}, "L2": {"l2": 3e-2}}


def network(dropout: float = 0.0, l2: float = 0.0) -> dv.Sequential:
    """One wide hidden layer, dropout after it, a price on both kernels."""
    price = L.Penalty(l2=l2) if l2 else None
    layers = [L.Dense(256, activation="relu").penalize(kernel=price), L.Dense(10).penalize(kernel=price)]
    return dv.Sequential(layers[:1] + [L.Dropout(dropout)] * bool(dropout) + layers[1:], input_shape=(64,))


def main(folder: str | None = None, examples: int = 300, epochs: int = 60, seed: int = 0) -> dict[str, dict]:
    """Returns, by cure, what training and held-out data measure at the end."""
    (x, y), held_out = digits(seed)
    x, y = x[:examples], y[:examples].copy()
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(examples)[: examples // 5]
    y[wrong] = (y[wrong] + rng.integers(1, 10, len(wrong))) % 10

    found = {}
    for cure, options in CURES.items():
        trainer = nx.Trainer(
            network(**options), "sparse_softmax_cross_entropy", optax.adam(3e-3), metrics=["accuracy"], seed=seed
        )
        stopping = [nx.EarlyStopping("val_loss", patience=8)] if cure == "early stopping" else []
        history = trainer.fit(
            x, y, batch_size=50, epochs=epochs, validation_data=held_out, callbacks=stopping, verbose=False
        )
        log_p = jax.nn.log_softmax(trainer.predict(held_out[0]))  # the loss without the penalty
        found[cure] = {
            "epochs": len(history["loss"]),
            "training accuracy": trainer.evaluate(x, y)["accuracy"],
            "held-out accuracy": trainer.evaluate(*held_out)["accuracy"],
            "cross-entropy": -float(log_p[np.arange(len(log_p)), held_out[1]].mean()),
        }
        if folder:
            plots.training_curves(history, f"{folder}/overfitting_{cure.replace(' ', '_')}.png")

    print(f"{'cure':16}" + "".join(f"{name:>19}" for name in found["none"]))
    for cure, row in found.items():
        print(f"{cure:16}" + "".join(f"{value:19.4g}" for value in row.values()))
    return found


if __name__ == "__main__":
    main("out")
