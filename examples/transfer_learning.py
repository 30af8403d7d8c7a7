"""Transfer learning: trained on the digits 0-4, the head replaced, retrained on 5-9 with everything else frozen.

Frozen layers are left out of the derivation: their gradients are not in the equations, not in the source, not computed.
Then the whole network is fine-tuned at a lower rate.
"""

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.data.examples import digits

LOSS = "sparse_softmax_cross_entropy"


def halves(seed: int):
    """The digits 0-4 and 5-9, each with labels from 0: ``(X, Y), (X_test, Y_test)``."""
    train, test = digits(seed)
    low, high = [], []
    for x, y in (train, test):
        low.append((x[y < 5], y[y < 5]))
        high.append((x[y >= 5], y[y >= 5] - 5))
    return low, high


def main(epochs: int = 25, seed: int = 0, verbose: bool = True) -> dict[str, float]:
    """Returns the accuracies on held-out digits, and how many parameters were trained the second time."""
    (first, first_test), (second, second_test) = halves(seed)
    model = dv.Sequential([L.Dense(256, activation="relu"), L.Dense(5)], input_shape=(64,))
    trainer = nx.Trainer(model, LOSS, optax.adam(2e-3), metrics=["accuracy"], seed=seed)
    trainer.fit(*first, batch_size=32, epochs=epochs, verbose=False)
    found = {"digits 0-4": trainer.evaluate(*first_test)["accuracy"]}

    new = nx.transfer(trainer, L.Dense(5), optimizer=optax.adam, learning_rate=5e-3, metrics=["accuracy"], seed=seed)
    if verbose:
        print(new.model.summary())
        print(f"frozen: {', '.join(new.frozen)}; derived are the gradients of {', '.join(new.derivation.gradients)}")
        print(new.kernel.source)
    new.fit(*second, batch_size=32, epochs=2 * epochs, verbose=verbose)
    found["digits 5-9, new head"] = new.evaluate(*second_test)["accuracy"]
    found["trained"] = sum(int(np.size(new.params[n])) for n in new.derivation.gradients)
    found["of"] = sum(int(np.size(a)) for a in new.params.values())

    new.unfreeze()
    new.learning_rate = 2e-4
    new.fit(*second, batch_size=32, epochs=epochs // 2, verbose=verbose)
    found["digits 5-9, fine-tuned"] = new.evaluate(*second_test)["accuracy"]
    if verbose:
        print("\n".join(f"{name:<24} {value:.4g}" for name, value in found.items()))
    return found


if __name__ == "__main__":
    main()
