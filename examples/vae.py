"""A variational autoencoder: digits as points of a cloud, and new digits from new points of it.

Out of the box it reads scikit-learn's digits; ``--data-dir`` takes a folder with the four files of MNIST:

    python examples/vae.py --data-dir data/mnist --hidden 400 --code 20 --epochs 20

The loss is the evidence lower bound with its sign turned, for a pixel.  A classifier of real digits judges the new ones.
Kingma, Welling, *Auto-encoding variational Bayes*, ICLR 2014.
"""

import argparse
import pathlib

import numpy as np
import optax
import sympy

import derive as dv
import numerics as nx
from derive import layers as L


def drawn(given, new):
    """A point of the code's own normal distribution: mean + exp(log variance / 2) noise."""
    mean, log_variance, noise = given
    b, j = mean.letters
    for other in (log_variance, noise):
        new.same(mean.axes[1], other.axes[1], "drawn")
    return new.define("h", (b, j), mean[b, j] + sympy.exp(log_variance[b, j] / 2) * noise[b, j])


def networks(pixels: int, hidden: int, code: int) -> tuple[dv.Model, dv.Model]:
    """Pictures and noise to pictures, and the decoder alone: the same layers, codes to pictures."""
    decoder = dv.Sequential([L.Dense(hidden, activation="relu"), L.Dense(pixels)], input_shape=(code,), name="decoder")
    x, noise = dv.Input((pixels,)), dv.Input((code,), name="noise")
    h = L.Dense(hidden, activation="relu")(x)
    # the distance of each code from the standard normal distribution, (mean**2 + variance - log variance - 1) / 2
    mean = L.Dense(code, name="mean").penalize(activity=lambda u: u**2 / (2 * pixels))(h)
    log_variance = L.Dense(code, name="log_variance").penalize(
        activity=lambda v: (sympy.exp(v) - v - 1) / (2 * pixels)
    )(h)
    coded = dv.Model([x, noise], decoder(L.Function(drawn)([mean, log_variance, noise])), name="vae")
    return coded, dv.Model(decoder.input, {"picture": decoder(decoder.input)})


def judge_of(x, y, seed: int) -> nx.Trainer:
    """A classifier of real digits, which says what the new ones are worth."""
    model = dv.Sequential([L.Dense(128, activation="relu"), L.Dense(10)], input_shape=x.shape[1:], name="judge")
    judge = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.adam(1e-3), seed=seed)
    judge.fit(x, y, batch_size=64, epochs=max(3, 20_000 // len(x)), verbose=False)
    return judge


def main(
    data_dir: pathlib.Path | None = None,
    hidden: int = 128,
    code: int = 8,
    batch: int = 64,
    epochs: int = 60,
    learning_rate: float = 1e-3,
    samples: int = 1000,
    picture: str | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the bound on held-out digits in nats for a picture, and the judge's confidence and entropy of new digits."""
    (x, y), (x_test, y_test) = nx.load_mnist(data_dir) if data_dir else nx.digits(seed)
    pixels, rng = x.shape[1], np.random.default_rng(seed)
    model, decoder = networks(pixels, hidden, code)
    print(model.summary())
    trainer = nx.Trainer(model, "sigmoid_binary_cross_entropy", optax.adam(learning_rate), seed=seed)
    print(trainer.derivation.gradient("mean_kernel"))

    def batches():
        """An epoch of pictures in a new order, with new noise."""
        for part in np.array_split(rng.permutation(len(x)), len(x) // batch):
            yield {"x": x[part], "noise": rng.normal(size=(len(part), code))}, x[part]

    trainer.fit(batches, epochs=epochs, verbose=False)
    noise = rng.normal(size=(len(x_test), code)).astype(np.float32)
    bound = -pixels * trainer.evaluate({"x": x_test, "noise": noise}, x_test)["loss"]
    again = trainer.predict({"x": x_test, "noise": 0 * noise})

    draw = nx.compile(decoder.forward())
    codes = rng.normal(size=(samples, code)).astype(np.float32)
    new = draw(x=codes, **{n: trainer.params[n] for n in decoder.parameters})["picture"]
    made, again = (0.5 + 0.5 * np.tanh(np.asarray(a) / 2) for a in (new, again))  # the sigmoid, without overflow
    judge = judge_of(x, y, seed)
    scores = nx.sample_scores(judge, made)
    print(f"evidence lower bound on held-out digits: {bound:.1f} nats")
    print(f"new digits:  {scores}")
    print(f"real digits: {nx.sample_scores(judge, x_test, y_test)}")
    if picture:
        nx.plots.save(nx.pictures.rows({"digit": x_test, "again": again, "new": made}), picture)
    return {"bound": bound, **scores}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=pathlib.Path, help="a folder with the four files of MNIST")
    for name, default in (("hidden", 128), ("code", 8), ("batch", 64), ("epochs", 60), ("samples", 1000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--picture", default="out/vae.png", help="where the drawing goes")
    main(**vars(parser.parse_args()))
