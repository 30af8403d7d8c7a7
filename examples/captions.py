"""Captions: a convolutional network reads a picture of several digits, and a decoder writes them in words.

Out of the box the digits are scikit-learn's; ``--data-dir`` takes a folder with the four files of MNIST:

    python examples/captions.py --data-dir data/mnist --filters 32 --width 64 --count 30000 --epochs 8

The decoder's positions look at the words before them and, across, at every place of the picture.
Xu and others, *Show, attend and tell*, ICML 2015; the decoder is that of Vaswani and others, NIPS 2017.
"""

import argparse
import math
import pathlib

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive import layers as L

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
WORDS = nx.WordVocabulary(NUMBERS)


def composed(x, y, count: int, most: int, rng) -> tuple[np.ndarray, list[str]]:
    """Wide pictures of one to ``most`` digits side by side, each moved a little, and what they say."""
    side = math.isqrt(x.shape[1])
    moved = side // 4
    pictures, said = np.zeros((count, side + moved, most * side + moved, 1), np.float32), []
    for picture in pictures:
        chosen = rng.integers(len(x), size=rng.integers(1, most + 1))
        for place, n in enumerate(chosen):
            down, right = rng.integers(moved + 1, size=2)
            right += place * side
            window = picture[down : down + side, right : right + side, 0]
            np.maximum(window, x[n].reshape(side, side), out=window)
        said.append(" ".join(NUMBERS[y[n]] for n in chosen))
    return pictures, said


def network(shape: tuple[int, ...], most: int, filters: int, width: int, heads: int, depth: int) -> dv.Model:
    """A picture, and the words so far, to logits for the next word at every position."""
    x = dv.Input(shape, name="picture")
    h = x
    for factor in (1, 2):
        h = L.MaxPool2D(2)(L.Conv2D(factor * filters, 3, padding="same", activation="relu")(h))
    places = (shape[0] // 4) * (shape[1] // 4)
    memory = L.PositionalEmbedding(places)(L.Dense(width)(L.Reshape((places, 2 * filters))(h)))

    words = dv.Input((most + 1,), name="words", dtype="int", below=len(WORDS))
    h = L.PositionalEmbedding(most + 1)(L.Embedding(len(WORDS), width)(words))
    h = L.Stack(L.TransformerBlock(heads, causal=True, cross=True), depth)([h, memory])
    return dv.Model([x, words], {"next": L.Dense(len(WORDS))(L.LayerNorm()(h))}, name="captions")


def main(
    data_dir: pathlib.Path | None = None,
    most: int = 3,
    filters: int = 16,
    width: int = 32,
    heads: int = 4,
    depth: int = 2,
    count: int = 4000,
    batch: int = 64,
    epochs: int = 20,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> float:
    """Returns the share of captions of test pictures, made of test digits, that are right in every word."""
    (x, y), (x_test, y_test) = nx.load_mnist(data_dir) if data_dir else nx.digits(seed)
    rng = np.random.default_rng(seed)
    side, moved = math.isqrt(x.shape[1]), math.isqrt(x.shape[1]) // 4
    model = network((side + moved, most * side + moved, 1), most, filters, width, heads, depth)
    print(model.summary())

    def batches():
        """An epoch of pictures that were not there before: of the digits of one place or another there is no end."""
        for _ in range(count // batch):
            pictures, said = composed(x, y, batch, most, rng)
            texts = np.full((batch, most + 2), WORDS.pad, np.int32)
            for row, text in zip(texts, said, strict=True):
                row[: len(text.split()) + 2] = WORDS.encode(text)
            yield {"picture": pictures, "words": texts[:, :-1]}, texts[:, 1:]

    steps = epochs * (count // batch)
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 10, steps)
    loss = {"name": "sparse_softmax_cross_entropy", "ignored": WORDS.pad}
    trainer = nx.Trainer(model, loss, optax.adam(rate), metrics=["accuracy"], clip_norm=1.0, seed=seed)
    trainer.fit(batches, epochs=epochs)

    pictures, said = composed(x_test, y_test, 1000, most, rng)
    start = np.full((len(said), 1), WORDS.start)
    made = nx.generate(trainer, start, most + 1, temperature=0, stop=WORDS.end, inputs={"picture": pictures})
    written = [WORDS.decode(numbers) for numbers in made]
    for wanted, found in list(zip(said, written, strict=True))[:5]:
        print(f"{'right' if wanted == found else 'wrong'} | {found} | {wanted}")
    right = float(np.mean([a == b for a, b in zip(said, written, strict=True)]))
    print(f"captions right in every word: {right:.4f}")
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=pathlib.Path, help="a folder with the four files of MNIST")
    for name, default in (("most", 3), ("filters", 16), ("width", 32), ("heads", 4), ("depth", 2), ("count", 4000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("batch", 64), ("epochs", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    main(**vars(parser.parse_args()))
