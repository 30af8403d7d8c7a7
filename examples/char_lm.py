"""A character language model: an LSTM trained by truncated backpropagation through time, its state carried along.

Out of the box it reads the language reference that comes with Python; ``--text`` takes any file, such as tiny Shakespeare.
The gradients are derived; clipping by their norm and Adam are optax's.
"""

import argparse
import pathlib
import time
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
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


class Trained:
    """Kernels of one model: a training step, the loss of held-out text, and single steps for sampling."""

    def __init__(self, model, learning_rate: float, clip: float, seed: int):
        self.model = model
        self.kernel = nx.compile(model.backprop("sparse_softmax_cross_entropy"))
        self.forward = nx.compile(model.forward())
        self.optimizer = optax.chain(optax.clip_by_global_norm(clip), optax.adam(learning_rate))
        self.params = nx.init(model, seed)
        self.opt_state = self.optimizer.init(self.params)
        self.step, self.measure = jax.jit(self._step), jax.jit(self._measure)

    def start(self, batch: int) -> dict:
        """States of zeros."""
        return {name: jnp.zeros((batch, self.model.layer("lstm_1").layer.units)) for name in self.model.carried}

    def _run(self, params, state, x, y):
        arrays = {**params, **state, "x": x, "y": y}
        loss, gradients, outputs = self.kernel.fn(*[arrays[t.name] for t in self.kernel.inputs])
        return loss, gradients, {name: outputs[f"{name}_new"] for name in state}

    def _step(self, params, opt_state, state, x, y):
        loss, gradients, state = self._run(params, state, x, y)
        updates, opt_state = self.optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, state, loss

    def _measure(self, params, state, x, y):
        loss, _, state = self._run(params, state, x, y)
        return loss, state

    def epoch(self, ids, batch: int, steps: int) -> float:
        """Train on every window in order; the state goes from one to the next, the gradient does not."""
        state, losses = self.start(batch), []
        for x, y in nx.streams(ids, batch, steps):
            self.params, self.opt_state, state, loss = self.step(self.params, self.opt_state, state, x, y)
            losses.append(loss)
        return float(np.mean(losses))

    def loss(self, ids, batch: int, steps: int) -> float:
        """Nats per character of held-out text."""
        state, losses = self.start(batch), []
        for x, y in nx.streams(ids, batch, steps):
            loss, state = self.measure(self.params, state, x, y)
            losses.append(loss)
        return float(np.mean(losses))

    def sample(self, words, prompt: str, length: int, temperature: float, seed: int) -> str:
        """Continue a text, each character drawn from softmax(logits / temperature)."""
        rng, state, out = np.random.default_rng(seed), self.start(1), []
        ids = words.encode(prompt)
        for n in range(len(ids) + length - 1):
            token = ids[n] if n < len(ids) else out[-1]
            arrays = {**self.params, **state, "x": np.array([[token]], np.int32)}
            logits, state = self.forward.fn(*[arrays[t.name] for t in self.forward.inputs])
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
    train, valid = ids[:-held_out], ids[-held_out:]
    model = network(len(words), hidden, steps)
    print(model.summary())
    trained = Trained(model, learning_rate, clip=1.0, seed=seed)
    print(trained.kernel.derivation.gradient("c2"))
    history = []
    for epoch in range(1, epochs + 1):
        begun = time.perf_counter()
        loss = trained.epoch(train, batch, steps)
        history.append(trained.loss(valid, batch, steps))
        print(f"epoch {epoch}: loss {loss:.3f}, validation {history[-1]:.3f} nats per character, perplexity "
              f"{np.exp(history[-1]):.2f}, {time.perf_counter() - begun:.0f} s", flush=True)
    print(trained.sample(words, text[:1], length, temperature, seed))
    return history


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
