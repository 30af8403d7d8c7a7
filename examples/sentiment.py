"""Sentiment of short texts of unequal length: an embedding, a GRU under a mask, one logit.

The texts are generated, and it says so: sentences of a review with a verdict in it, which "not" turns round.
"""

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L

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


def network(steps: int) -> dv.Model:
    """Words to vectors, a GRU over the words that are there, one logit."""
    tokens = dv.Input((steps,), dtype="int", below=len(WORDS))
    there = dv.Input((steps,), name="mask", dtype="int", below=2)
    words = L.Embedding(len(WORDS), 8)(tokens)
    return dv.Model([tokens, there], L.Dense(1)(L.GRU(16, masked=True)([words, there])))


def main(epochs: int = 15, seed: int = 0) -> float:
    """Returns the accuracy on new texts."""
    (train, y), (new, y_new) = texts(1000, seed), texts(200, seed + 1)
    x, mask = nx.pad([*train, *new])
    x = {"x": x, "mask": mask}
    trainer = nx.Trainer(
        network(mask.shape[1]),
        loss="sigmoid_binary_cross_entropy",
        optimizer=optax.adam(1e-2),
        metrics=["accuracy"],
        seed=seed,
    )
    print(trainer.derivation.gradient("h2"))
    trainer.fit({n: a[:1000] for n, a in x.items()}, y, batch_size=50, epochs=epochs)
    held_out = {n: a[1000:] for n, a in x.items()}
    accuracy = trainer.evaluate(held_out, y_new)["accuracy"]
    print(f"accuracy on new texts: {accuracy:.3f}")
    for text, there, logit in list(zip(held_out["x"], held_out["mask"], trainer.predict(held_out)[:, 0], strict=True))[
        :4
    ]:
        print("positive" if logit > 0 else "negative", "|", " ".join(WORDS[n] for n in text[there == 1]))
    return accuracy


if __name__ == "__main__":
    main()
