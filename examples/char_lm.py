"""A character language model: an LSTM trained by truncated backpropagation through time, its state carried along.

Out of the box it reads the language reference that comes with Python; ``--text`` takes any file, such as tiny Shakespeare:

    python examples/char_lm.py --text tinyshakespeare.txt --hidden 256 --steps 100 --epochs 6 --learning-rate 5e-3

The gradients are derived; clipping by their norm and Adam, its rate falling as a cosine, are optax's.
"""

import argparse
import pathlib
from pydoc_data.topics import topics

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L


def network(vocabulary: int, hidden: int, steps: int) -> dv.Sequential:
    """Embedding, LSTM, logits for the next character."""
    return dv.Sequential(
        [
            L.Embedding(vocabulary, min(hidden, 64)),
            L.LSTM(hidden, return_sequences=True, initial_state="carried"),
            L.Dense(vocabulary),
        ],
        input_shape=(steps,),
    )


class Perplexity(nx.Callback):
    """Says exp(loss) after each epoch: among how many characters the model hesitates."""

    def on_epoch_end(self, trainer, row):
        print(
            f"epoch {trainer.epoch}: perplexity {np.exp(row['loss']):.2f}, on held-out text "
            f"{np.exp(row['val_loss']):.2f} ({row['val_loss']:.3f} nats per character)",
            flush=True,
        )


def main(
    text: str | None = None,
    hidden: int = 128,
    steps: int = 50,
    batch: int = 32,
    epochs: int = 3,
    learning_rate: float = 8e-3,
    temperature: float = 0.7,
    length: int = 200,
    seed: int = 0,
    prompt: str | None = None,
) -> list[float]:
    """Returns the validation loss, in nats per character, after each epoch."""
    text = "\n".join(topics[name] for name in sorted(topics))[:200_000] if text is None else text
    words = nx.Vocabulary(text)
    ids = words.encode(text)
    held_out = max(len(ids) // 10, batch * steps + 1)
    x, y = nx.windows(ids[:-held_out], batch, steps)
    model = network(len(words), hidden, steps)
    print(model.summary())
    rate = optax.cosine_decay_schedule(learning_rate, len(x) // batch * epochs, 0.05)
    trainer = nx.Trainer(
        model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam, learning_rate=rate, clip_norm=1.0, seed=seed
    )
    print(trainer.derivation.gradient("c2"))
    history = trainer.fit(
        x,
        y,
        batch_size=batch,
        epochs=epochs,
        callbacks=[Perplexity()],
        verbose=False,
        validation_data=nx.windows(ids[-held_out:], batch, steps),
    )
    prompt = text[:1] if prompt is None else prompt
    print(nx.generate(trainer, prompt, length, temperature, vocabulary=words, seed=seed))
    return history["val_loss"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=pathlib.Path, help="a text file, UTF-8")
    for name, default in (("hidden", 128), ("steps", 50), ("batch", 32), ("epochs", 3), ("seed", 0), ("length", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=8e-3)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--prompt", help="what the sample goes on from; the first character of the text by default")
    options = vars(parser.parse_args())
    path = options.pop("text")
    main(path.read_text(encoding="utf-8") if path else None, **options)
