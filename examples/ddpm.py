"""Digits out of noise: a transformer learns to tell the noise in a picture, and takes it away step by step.

Out of the box it reads scikit-learn's digits; ``--data-dir`` takes a folder with the four files of MNIST:

    python examples/ddpm.py --data-dir data/mnist --patch 4 --width 96 --depth 4 --epochs 20

The digit that is wanted is an input, so that a classifier of real digits can say how many of the new ones are right.
Ho, Jain, Abbeel, *Denoising diffusion probabilistic models*, NeurIPS 2020, with the cosine of Nichol and Dhariwal, ICML 2021.
"""

import argparse
import math
import pathlib

import numpy as np
import optax
from vae import judge_of

import derive as dv
import numerics as nx
from derive import layers as L


def network(patches: int, pixels: int, steps: int, width: int, heads: int, depth: int) -> dv.Model:
    """The noise in each patch of a picture, given how far the noise has gone and which digit it is."""
    x = dv.Input((patches, pixels))
    t = dv.Input((1,), name="t", dtype="int", below=steps)
    digit = dv.Input((1,), name="digit", dtype="int", below=10)
    h = L.PositionalEmbedding(patches)(L.Dense(width)(x))
    time, kind = (L.Embedding(n, width, "standard_normal")(of) for n, of in ((steps, t), (10, digit)))  # as large as h
    h = L.Add()([h, L.Dense(width)(time), kind])
    h = L.LayerNorm()(L.Stack(L.TransformerBlock(heads), depth)(h))
    return dv.Model([x, t, digit], {"noise": L.Dense(pixels)(h)}, name="ddpm")


def in_patches(x, patch: int) -> np.ndarray:
    """Pictures (N, H * H) in [0, 1] as (N, patches, pixels) in [-1, 1]."""
    side = math.isqrt(x.shape[1]) // patch
    x = (2 * x - 1).reshape(-1, side, patch, side, patch).transpose(0, 1, 3, 2, 4)
    return x.reshape(len(x), side**2, patch**2)


def as_pictures(x, patch: int) -> np.ndarray:
    """And back again."""
    side = math.isqrt(x.shape[1])
    x = x.reshape(-1, side, side, patch, patch).transpose(0, 1, 3, 2, 4)
    return np.clip((x.reshape(len(x), -1) + 1) / 2, 0, 1)


def left(steps: int) -> np.ndarray:
    """How much of the picture is left after each step of noise: falling from nearly 1 to nearly 0 as a squared cosine."""
    part = (np.arange(1, steps + 1) / steps + 0.008) / 1.008
    return np.clip(np.cos(part * np.pi / 2) ** 2, 1e-4, 1)


def sample(trainer, digits, kept, rng) -> np.ndarray:
    """Patches of new digits: from noise alone, each step a draw from q(x[t-1] | x[t], x[0]), x[0] being what is told now."""
    x = rng.normal(size=(len(digits), *trainer.model.shape_of("x")))
    for t in reversed(range(len(kept))):
        here, before = kept[t], kept[t - 1] if t else 1.0
        told = trainer.predict({"x": x, "t": np.full((len(x), 1), t), "digit": digits[:, None]})
        clean = np.clip((x - np.sqrt(1 - here) * told) / np.sqrt(here), -1, 1)
        lost = 1 - here / before
        mean = (np.sqrt(before) * lost * clean + np.sqrt(here / before) * (1 - before) * x) / (1 - here)
        x = mean + np.sqrt(lost * (1 - before) / (1 - here)) * rng.normal(size=x.shape)
    return x


def main(
    data_dir: pathlib.Path | None = None,
    patch: int = 2,
    width: int = 64,
    heads: int = 4,
    depth: int = 3,
    steps: int = 100,
    batch: int = 64,
    epochs: int = 100,
    learning_rate: float = 2e-3,
    samples: int = 200,
    picture: str | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Returns what the judge says of new digits: its accuracy, confidence, and the entropy of its labels."""
    (x, y), (x_test, y_test) = nx.load_mnist(data_dir) if data_dir else nx.digits(seed)
    tokens, rng, kept = in_patches(x, patch), np.random.default_rng(seed), left(steps)
    model = network(*tokens.shape[1:], steps, width, heads, depth)
    print(model.summary())

    def batches():
        """An epoch of pictures in a new order, each with noise up to a step drawn at random: what goes in, what is in it."""
        for part in np.array_split(rng.permutation(len(x)), len(x) // batch):
            t, noise = rng.integers(steps, size=(len(part), 1)), rng.normal(size=tokens[part].shape)
            here = kept[t][..., None]
            noisy = np.sqrt(here) * tokens[part] + np.sqrt(1 - here) * noise
            yield {"x": noisy, "t": t, "digit": y[part, None]}, noise

    every = epochs * (len(x) // batch)
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, every // 20, every)
    trainer = nx.Trainer(model, "mean_squared_error", optax.adam(rate), clip_norm=1.0, seed=seed)
    trainer.fit(batches, epochs=epochs, verbose=False)
    print(f"mean squared error of the noise, last epoch: {trainer.history['loss'][-1]:.4f}")

    wanted = np.arange(samples, dtype=np.int32) % 10
    made = as_pictures(sample(trainer, wanted, kept, rng), patch)
    judge = judge_of(x, y, seed)
    found = nx.sample_scores(judge, made, wanted)
    print(f"new digits:  {found}")
    print(f"real digits: {nx.sample_scores(judge, x_test, y_test)}")
    if picture:
        nx.plots.save(nx.pictures.rows({"real": x_test, "new": made, "and more": made[20:]}, columns=10), picture)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=pathlib.Path, help="a folder with the four files of MNIST")
    for name, default in (("patch", 2), ("width", 64), ("heads", 4), ("depth", 3), ("steps", 100), ("batch", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("epochs", 100), ("samples", 200), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--picture", default="out/ddpm.png", help="where the drawing goes")
    main(**vars(parser.parse_args()))
