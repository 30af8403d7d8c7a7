"""Sentiment of short texts of unequal length: an embedding, a GRU under a mask, one logit.

The texts are generated, and it says so: sentences of a review with a verdict in it, which "not" turns round.
"""

import jax
import numpy as np
import optax

import derive as dv
import numerics as nx
from derive import layers as L

GOOD, BAD = ["good", "great", "lovely", "fine"], ["bad", "poor", "dull", "awful"]
OPENINGS = ["the film was", "i found the food", "everyone thought the long book was", "it is"]
ENDINGS = ["", "indeed", "all in all", "and that is that"]
WORDS = sorted({w for part in (*OPENINGS, *ENDINGS) for w in part.split()} | {*GOOD, *BAD, "not", "very"})


def texts(count: int, seed: int):
    """``count`` texts as lists of word numbers, and 1 where they are positive."""
    rng = np.random.default_rng(seed)
    out, positive = [], []
    for _ in range(count):
        good, turned = rng.integers(2), rng.integers(2)
        verdict = ["not"] * turned + ["very"] * rng.integers(2) + [rng.choice(GOOD if good else BAD)]
        words = [*rng.choice(OPENINGS).split(), *verdict, *rng.choice(ENDINGS).split()]
        out.append(np.array([WORDS.index(w) for w in words]))
        positive.append(good ^ turned)
    return out, np.array(positive, np.float32)[:, None]


def main(epochs: int = 120, seed: int = 0) -> float:
    """Returns the accuracy on new texts."""
    x, y = texts(1000, seed)
    x, mask = nx.pad(x)
    steps = x.shape[1]
    tokens = dv.Input((steps,), dtype="int", below=len(WORDS))
    there = dv.Input((steps,), name="mask", dtype="int", below=2)
    model = dv.Model([tokens, there], L.Dense(1)(L.GRU(16, masked=True)([L.Embedding(len(WORDS), 8)(tokens), there])))
    kernel = nx.compile(model.backprop("sigmoid_binary_cross_entropy"))
    print(kernel.derivation.gradient("h2"))
    optimizer = optax.adam(2e-2)
    params = nx.init(model, seed)

    @jax.jit
    def step(params, state, x, mask, y):
        arrays = {**params, "x": x, "mask": mask, "y": y}
        loss, gradients, _ = kernel.fn(*[arrays[t.name] for t in kernel.inputs])
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = optimizer.init(params)
    for _ in range(epochs):
        params, state, loss = step(params, state, x, mask, y)
    print(f"loss {float(loss):.4f}")

    x, y = texts(200, seed + 1)
    x, mask = nx.pad(x)
    forward = nx.compile(model.forward())
    logits = forward(**{t.name: {**params, "x": x.astype(np.int32), "mask": mask}[t.name] for t in forward.inputs})[0]
    accuracy = float(((np.asarray(logits) > 0) == (y > 0)).mean())
    print(f"accuracy on new texts: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
