"""A vision transformer: a picture is a sequence of patches, and its class is read at a token in front of them.

Out of the box it reads scikit-learn's digits; ``--data-dir`` takes a folder with the four files of MNIST:

    python examples/vit.py --data-dir data/mnist --patch 7 --width 64 --depth 4 --epochs 6

Dosovitskiy et al., *An image is worth 16x16 words*, ICLR 2021; here without pretraining.
"""

import argparse
import math
import pathlib

import optax

import derive as dv
import numerics as nx
from derive import layers as L


def first(x, new):
    """What stands at the class token: h[b, j] = x[b, 0, j]."""
    b, t, j = x.letters
    return new.define("h", (b, j), x[b, 0, j])


def network(side: int, patch: int, width: int, heads: int, depth: int, dropout: float = 0.0) -> dv.Sequential:
    """Patches and positions, the stack, and logits for the ten digits."""
    return dv.Sequential(
        [
            L.PatchEmbedding(patch, width),
            L.ClassToken(),
            L.PositionalEmbedding((side // patch) ** 2 + 1),
            L.Stack(L.TransformerBlock(heads, dropout=dropout), depth),
            L.LayerNorm(),
            first,
            L.Dense(10),
        ],
        input_shape=(side, side, 1),
        name="vit",
    )


def main(
    data_dir: pathlib.Path | None = None,
    patch: int = 2,
    width: int = 32,
    heads: int = 4,
    depth: int = 2,
    dropout: float = 0.0,
    shift: int = 0,
    batch: int = 64,
    epochs: int = 20,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> float:
    """Returns the accuracy on the test pictures; training pictures are moved by up to ``shift`` pixels."""
    (x, y), (x_test, y_test) = nx.load_mnist(data_dir) if data_dir else nx.digits(seed)
    side = math.isqrt(x.shape[1])
    x, x_test = (a.reshape(-1, side, side, 1) for a in (x, x_test))
    model = network(side, patch, width, heads, depth, dropout)
    print(model.summary())
    steps = epochs * -(-len(x) // batch)
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 10, steps)
    trainer = nx.Trainer(
        model, "sparse_softmax_cross_entropy", optax.adamw(rate), metrics=["accuracy"], clip_norm=1.0, seed=seed
    )
    trainer.fit(
        x,
        y,
        batch_size=batch,
        epochs=epochs,
        augment=nx.Augment(shift) if shift else None,
        validation_data=(x_test, y_test),
    )
    accuracy = trainer.evaluate(x_test, y_test)["accuracy"]
    print(f"test accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=pathlib.Path, help="a folder with the four files of MNIST")
    for name, default in (("patch", 2), ("width", 32), ("heads", 4), ("depth", 2), ("shift", 0), ("batch", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("epochs", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in (("learning-rate", 2e-3), ("dropout", 0.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    main(**vars(parser.parse_args()))
