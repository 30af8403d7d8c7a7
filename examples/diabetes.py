"""Regression on the diabetes data: a network against the linear model, both with derived gradients, on standardized data."""

import numpy as np
import optax
from sklearn.datasets import load_diabetes

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.data.examples import split


def main(epochs: int = 60, seed: int = 0) -> dict[str, float]:
    """Returns the mean absolute errors on the fifth that is held out, in the units of the data."""
    data = load_diabetes(scaled=False)
    (x, y), (x_test, y_test) = split(data.data, data.target[:, None], 0.2, seed)
    inputs, outputs = nx.Standardizer.fit(x), nx.Standardizer.fit(y)

    errors = {"the mean": float(np.mean(np.abs(y_test - y.mean())))}
    decay = L.Penalty(l2=0.01)
    models = {
        "linear": [L.Dense(1).penalize(kernel=decay)],
        "network": [L.Dense(16, activation="softplus").penalize(kernel=decay), L.Dense(1).penalize(kernel=decay)],
    }
    for name, layers in models.items():
        model = dv.Sequential(layers, input_shape=(10,), name=name)
        trainer = nx.Trainer(model, "huber", optax.adam(5e-3), metrics=["r2"], seed=seed)
        trainer.fit(inputs(x), outputs(y), batch_size=32, epochs=epochs, verbose=False)
        predicted = outputs.inverse(trainer.predict(inputs(x_test)))
        errors[name] = float(np.mean(np.abs(predicted - y_test)))
    print(trainer.derivation.gradient("z2"))
    print(trainer.derivation.gradient("dense_2_kernel"))

    for name, error in errors.items():
        print(f"mean absolute error of {name}: {error:.1f}")
    return errors


if __name__ == "__main__":
    main()
