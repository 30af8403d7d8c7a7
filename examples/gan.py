"""Digits forged: a generator that never sees one learns to draw them from what a critic makes of its drawings.

Out of the box they are scikit-learn's digits; ``--data-dir`` takes a folder with the four files of MNIST:

    python examples/gan.py --data-dir data/mnist --hidden 512 --code 64 --epochs 40

Two models and two derivations: each player's gradient is derived for its own parameters, and ``nx.play`` takes the turns.
Goodfellow and others, *Generative adversarial nets*, NIPS 2014.
"""

import argparse
import pathlib

import numpy as np
import optax
from vae import judge_of

import derive as dv
import numerics as nx
from derive import layers as L

LEAKY = {"name": "leaky_relu", "alpha": 0.2}
LOSS = "sigmoid_binary_cross_entropy"
REAL = 0.9  # what the critic should say of real digits: one that is never sure goes on teaching


def networks(pixels: int, hidden: int, code: int) -> tuple[dv.Sequential, dv.Sequential]:
    """The generator, noise to pictures, and the critic, pictures to a logit."""
    generator = dv.Sequential(
        [
            L.Dense(hidden // 2, activation=LEAKY),
            L.LayerNorm(),
            L.Dense(hidden, activation=LEAKY),
            L.LayerNorm(),
            L.Dense(pixels, activation="sigmoid"),
        ],
        input_shape=(code,),
        name="generator",
    )
    critic = dv.Sequential(
        [L.Dense(hidden, activation=LEAKY), L.Dense(hidden // 2, activation=LEAKY), L.Dense(1)],
        input_shape=(pixels,),
        name="critic",
    )
    return generator, critic


def main(
    data_dir: pathlib.Path | None = None,
    hidden: int = 256,
    code: int = 16,
    batch: int = 64,
    epochs: int = 200,
    learning_rate: float = 4e-4,
    samples: int = 1000,
    picture: str | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the judge's confidence and entropy of new digits."""
    (x, y), (x_test, y_test) = nx.load_mnist(data_dir) if data_dir else nx.digits(seed)
    generator, critic = networks(x.shape[1], hidden, code)
    real = dv.Input(x.shape[1:], name="real")
    judged = dv.Model([real, generator.input], {"real": critic(real), "fake": critic(generator.output)})
    forged = dv.Model(generator.input, critic(generator.output))
    print(judged.summary())
    adam = optax.adam(learning_rate, b1=0.5)
    players = {
        "critic": nx.Player(judged, adam, loss={"real": LOSS, "fake": LOSS}, frozen="generator"),
        "generator": nx.Player(forged, adam, loss=LOSS, frozen="critic"),
    }

    def turns(turn, given, rng):
        """The critic sees real digits and forged ones, then the generator hears what it said of others."""
        one = np.ones((len(given["real"]), 1))
        turn("critic", {**given, "x": rng.normal(size=(len(one), code)), "y_real": REAL * one, "y_fake": 0 * one})
        turn("generator", {"x": rng.normal(size=(len(one), code)), "y": one})

    params, history = nx.play(players, nx.init(judged, seed), {"real": x}, turns, batch, epochs, seed)
    print("loss in the last epoch:", ", ".join(f"{name} {loss[-1]:.3f}" for name, loss in history.items()))

    drawing = dv.Model(generator.input, {"picture": generator(generator.input)})
    noise = np.random.default_rng(seed).normal(size=(samples, code)).astype(np.float32)
    draw = nx.compile(drawing.forward())
    made = np.asarray(draw(x=noise, **{n: params[n] for n in drawing.parameters})["picture"])
    judge = judge_of(x, y, seed)
    found = nx.sample_scores(judge, made)
    print(f"new digits:  {found}")
    print(f"real digits: {nx.sample_scores(judge, x_test, y_test)}")
    if picture:
        nx.plots.save(nx.pictures.rows({"real": x_test, "new": made, "and more": made[12:]}), picture)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=pathlib.Path, help="a folder with the four files of MNIST")
    for name, default in (
        ("hidden", 256),
        ("code", 16),
        ("batch", 64),
        ("epochs", 200),
        ("samples", 1000),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--picture", default="out/gan.png", help="where the drawing goes")
    main(**vars(parser.parse_args()))
