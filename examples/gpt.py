"""A small GPT that learns to write, character by character: a stack of Transformer blocks, told, proved and compiled once.

Out of the box it reads the language reference that comes with Python; ``--data-dir`` takes a folder with
``tinyshakespeare.txt`` (or ``input.txt``):

    python examples/gpt.py --data-dir data/ --depth 4 --width 128 --context 128 --epochs 5

The gradients are derived; AdamW, its rate rising first and then falling as a cosine, is optax's. ``nx.generate`` writes
with the program of one position, derived from the same definitions.
"""

import argparse
import pathlib
import time
from pydoc_data.topics import topics

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L

FILES = ("tinyshakespeare.txt", "input.txt")


def network(vocabulary: int, context: int, width: int, heads: int, depth: int, dropout: float) -> dv.Sequential:
    """Embedding and positions, the stack, and logits for the next character."""
    block = L.TransformerBlock(heads, causal=True, dropout=dropout)
    return dv.Sequential(
        [
            L.Embedding(vocabulary, width),
            L.PositionalEmbedding(context),
            L.Stack(block, depth),
            L.LayerNorm(),
            L.Dense(vocabulary),
        ],
        input_shape=(context,),
        name="gpt",
    )


def read(folder: pathlib.Path | None) -> str:
    """The text of a folder, or the one that is always there."""
    if folder is None:
        return "\n".join(topics[name] for name in sorted(topics))[:200_000]
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{folder} has neither {' nor '.join(FILES)}")
    return found[0].read_text(encoding="utf-8")


class Said(nx.Callback):
    """Says the loss on held-out text after each epoch."""

    def on_epoch_end(self, trainer, row):
        print(f"epoch {trainer.epoch}: {row['loss']:.3f} nats, on held-out text {row['val_loss']:.3f}", flush=True)


def main(
    text: str | None = None,
    data_dir: pathlib.Path | None = None,
    context: int = 64,
    width: int = 64,
    heads: int = 4,
    depth: int = 2,
    dropout: float = 0.0,
    batch: int = 32,
    epochs: int = 5,
    overlap: int = 2,
    learning_rate: float = 3e-3,
    prompt: str | None = None,
    length: int = 200,
    temperature: float = 0.8,
    seed: int = 0,
) -> list[float]:
    """Returns the loss on held-out text, in nats per character, after each epoch; every character is read ``overlap`` times."""
    text = read(data_dir) if text is None else text
    words = nx.Vocabulary(text)
    ids = words.encode(text)
    held_out = max(len(ids) // 10, context + 1)
    parts = [nx.windows(ids[n * context // overlap : -held_out], 1, context) for n in range(overlap)]
    x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    steps = -(-len(x) // batch) * epochs
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 10, steps, learning_rate / 20)
    model = network(len(words), context, width, heads, depth, dropout)
    print(model.summary())
    trainer = nx.Trainer(
        model, "sparse_softmax_cross_entropy", optax.adamw, learning_rate=rate, clip_norm=1.0, seed=seed
    )
    start = time.perf_counter()
    history = trainer.fit(
        x,
        y,
        batch_size=batch,
        epochs=epochs,
        callbacks=[Said()],
        verbose=False,
        validation_data=nx.windows(ids[-held_out:], 1, context),
    )
    print(f"{epochs * x.size / (time.perf_counter() - start):,.0f} characters per second, compilation included")
    prompt = text[: min(8, context // 2)] if prompt is None else prompt
    print(
        nx.generate(trainer, prompt, min(length, context - len(prompt) + 1), temperature, vocabulary=words, seed=seed)
    )
    return history["val_loss"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=pathlib.Path, help="a folder with tinyshakespeare.txt")
    for name, default in (("context", 64), ("width", 64), ("heads", 4), ("depth", 2), ("batch", 32), ("epochs", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("overlap", 2), ("length", 200), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in (("learning-rate", 3e-3), ("dropout", 0.0), ("temperature", 0.8)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--prompt", help="what the sample goes on from; the beginning of the text by default")
    main(**vars(parser.parse_args()))
