"""A function interpolated by Gaussian bumps: centres by k-means, then only the linear layer is trained, then all of it."""

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.pages import plots


def function(x):
    return np.sin(3 * x) + 0.5 * x


def main(picture: str | None = None, units: int = 12, epochs: int = 150, seed: int = 0) -> tuple[float, float]:
    """Returns the root mean square errors with fixed and with learned centres, between the points."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, (120, 1)).astype(np.float32)
    between = np.linspace(-2.9, 2.9, 301, dtype=np.float32)[:, None]

    errors, curves = [], {}
    for learned in (False, True):
        model = dv.Sequential([L.RBF(units, trainable=learned), L.Dense(1)], input_shape=(1,), name="rbf")
        trainer = nx.Trainer(model, "mean_squared_error", optax.adam(0.05), seed=seed)
        trainer.params |= nx.rbf_centres(model, x, seed, overlap=1.5)
        trainer.fit(x, function(x), batch_size=30, epochs=epochs, verbose=False)
        curves[f"{'all' if learned else 'only weights'} trained"] = (between, trainer.predict(between))
        errors.append(float(np.sqrt(np.mean((trainer.predict(between) - function(between)) ** 2))))
    print(trainer.derivation.gradient("d1"))
    print(trainer.derivation.gradient("rbf_1_centres"))
    if picture:
        draw(picture, x, between, curves)

    print(f"error between the points: {errors[0]:.4f} with fixed centres, {errors[1]:.4f} with learned ones")
    return errors[0], errors[1]


def draw(picture, x, between, curves):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(between, function(between), color="0.75", linewidth=5, label="function")
    for label, (at, value) in curves.items():
        axes.plot(at, value, linewidth=1.2, label=label)
    axes.plot(x, function(x), "k.", markersize=4, label="points")
    axes.legend(fontsize=8)
    plots.save(figure, picture)


if __name__ == "__main__":
    main("out/rbf_interpolation.png")
