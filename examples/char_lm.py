"""A character language model: an LSTM trained by truncated backpropagation through time, its state carried along.

Out of the box it reads the language reference that comes with Python; ``--text`` takes any file, such as tiny Shakespeare.
The gradients are derived; clipping by their norm and Adam are optax's.
"""

import argparse
import pathlib
from pydoc_data.topics import topics

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive import layers as L


def network(vocabulary: int, hidden: int, steps: int) -> dv.Sequential:
    """Embedding, LSTM, logits for the next character."""
    return dv.Sequential([L.Embedding(vocabulary, min(hidden, 64)),
                          L.LSTM(hidden, return_sequences=True, initial_state="carried"),
                          L.Dense(vocabulary)], input_shape=(steps,))


class Perplexity(nx.Callback):
    """The exponential of the validation loss, a column of the history."""

    def on_epoch_end(self, trainer, row):
        row["val_perplexity"] = float(np.exp(row["val_loss"]))


def sample(trainer: nx.Trainer, words, prompt: str, length: int, temperature: float, seed: int) -> str:
    """Continue a text, each character drawn from softmax(logits / temperature), the state carried from one to the next."""
    rng, state, out = np.random.default_rng(seed), trainer.programs.start(1), []
    ids = words.encode(prompt)
    for n in range(len(ids) + length - 1):
        token = ids[n] if n < len(ids) else out[-1]
        arrays = {**trainer.params, **state, "x": np.array([[token]], np.int32)}
        logits, state = trainer.forward.fn(*[arrays[t.name] for t in trainer.forward.inputs])
        if n >= len(ids) - 1:
            u = np.asarray(logits[0, 0], np.float64) / temperature
            p = np.exp(u - u.max())
            out.append(int(rng.choice(len(words), p=p / p.sum())))
    return prompt + words.decode(out)


def main(text: str | None = None, hidden: int = 128, steps: int = 50, batch: int = 32, epochs: int = 3,
         learning_rate: float = 4e-3, temperature: float = 0.7, length: int = 200, seed: int = 0) -> list[float]:
    """Returns the validation loss, in nats per character, after each epoch."""
    text = "\n".join(topics[name] for name in sorted(topics))[:200_000] if text is None else text
    words = nx.Vocabulary(text)
    ids = words.encode(text)
    held_out = max(len(ids) // 10, batch * steps + 1)
    train, valid = (nx.windows(part, batch, steps) for part in (ids[:-held_out], ids[-held_out:]))
    model = network(len(words), hidden, steps)
    print(model.summary())
    trainer = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.adam(learning_rate), clip_norm=1.0, seed=seed)
    print(trainer.derivation.gradient("c2"))
    history = trainer.fit(*train, batch_size=batch, epochs=epochs, validation_data=valid, callbacks=[Perplexity()])
    print(sample(trainer, words, text[:1], length, temperature, seed))
    return history["val_loss"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=pathlib.Path, help="a text file, UTF-8")
    for name, default in (("hidden", 128), ("steps", 50), ("batch", 32), ("epochs", 3), ("seed", 0), ("length", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--temperature", type=float, default=0.7)
    options = vars(parser.parse_args())
    path = options.pop("text")
    main(path.read_text(encoding="utf-8") if path else None, **options)
