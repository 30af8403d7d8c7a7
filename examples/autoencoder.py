"""Digits squeezed through eight numbers and drawn again: an autoencoder, its reconstructions, and principal components."""

import numpy as np
import optax
from sklearn.decomposition import PCA

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.data.examples import digits

CODE = 8


def main(picture: str | None = None, epochs: int = 40, seed: int = 0) -> tuple[float, float]:
    """Returns the mean squared errors on held-out digits, of the network and of as many principal components."""
    (x, _), (x_test, _) = digits(seed)
    model = dv.Sequential(
        [L.Dense(48, activation="relu"), L.Dense(CODE, name="code"), L.Dense(48, activation="relu"), L.Dense(64)],
        input_shape=(64,),
        name="autoencoder",
    )
    trainer = nx.Trainer(model, "mean_squared_error", optax.adam(3e-3), seed=seed)
    print(trainer.derivation.gradient("z4"))
    print(trainer.derivation.gradient("code_kernel"))
    trainer.fit(x, x, batch_size=64, epochs=epochs, verbose=False)

    again = trainer.predict(x_test)
    principal = PCA(CODE, random_state=seed).fit(x)
    linear = principal.inverse_transform(principal.transform(x_test))
    if picture:
        drawn = nx.pictures.rows({"digit": x_test, "network": again, "principal\ncomponents": linear})
        nx.plots.save(drawn, picture)

    errors = float(np.mean((again - x_test) ** 2)), float(np.mean((linear - x_test) ** 2))
    print(f"mean squared error on held-out digits: {errors[0]:.4f}; {CODE} principal components: {errors[1]:.4f}")
    return errors


if __name__ == "__main__":
    main("out/autoencoder.png")
