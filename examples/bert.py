"""A small BERT: it learns words from where they stand, and then what is praise from a handful of labelled texts.

The texts are generated, and it says so: reviews with one of forty verdicts, which "not" turns round, and often a remark
that goes with it.  Many are read with words hidden that have to be told again; only a few have a label, and most verdicts
stand in none of those.
Devlin, Chang, Lee, Toutanova, *BERT*, NAACL 2019.
"""

import argparse

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive import layers as L

GOOD = ["good", "great", "lovely", "fine", "superb", "splendid", "charming", "brilliant", "pleasant", "excellent"]
GOOD += ["wonderful", "delightful", "clever", "fresh", "warm", "gentle", "bright", "elegant", "witty", "perfect"]
BAD = ["bad", "poor", "dull", "awful", "dreadful", "horrible", "boring", "terrible", "stale", "nasty"]
BAD += ["dreary", "clumsy", "bland", "tedious", "cold", "noisy", "dirty", "shabby", "silly", "weak"]
OPENINGS = [
    "the film was",
    "i found the food",
    "everyone thought the long book was",
    "the music is",
    "that evening was",
]
PRAISE, BLAME = (
    [f"and i would {word}" for word in last.split()] for last in ("return stay smile", "leave complain cry")
)
HIDDEN, FIRST = 0, 1  # the number of a hidden word, and of what stands in front of a text
WORDS = ["<hidden>", "<first>", "not", "very", *GOOD, *BAD]
WORDS += sorted({w for text in (*OPENINGS, *PRAISE, *BLAME) for w in text.split()})
TURNED = 0.25  # how many of the verdicts "not" turns round
SHARE, IGNORED = 0.2, -100  # of the words that are hidden; the label of the others


def reviews(count: int, rng, verdicts: int = len(GOOD), remarks: float = 0.0) -> tuple[list[np.ndarray], np.ndarray]:
    """Texts as numbers, of the first so many verdicts of each kind, and 1 where they praise; some with a remark."""
    texts, praise = [], []
    for _ in range(count):
        good, turned = rng.integers(2), int(rng.random() < TURNED)
        verdict = [*["not"] * turned, *["very"] * rng.integers(2), (GOOD if good else BAD)[rng.integers(verdicts)]]
        remark = rng.choice(PRAISE if good != turned else BLAME).split() if rng.random() < remarks else []
        words = ["<first>", *rng.choice(OPENINGS).split(), *verdict, *remark]
        texts.append(np.array([WORDS.index(w) for w in words], np.int32))
        praise.append(good != turned)
    return texts, np.array(praise, np.float32)[:, None]


def first(x, new):
    """What stands in front: h[b, j] = x[b, 0, j]."""
    b, t, j = x.letters
    return new.define("h", (b, j), x[b, 0, j])


def networks(length: int, width: int, heads: int, depth: int) -> tuple[dv.Model, dv.Model]:
    """One body and two heads: which word it is at every position, and whether the text praises."""
    tokens = dv.Input((length,), name="tokens", dtype="int", below=len(WORDS))
    there = dv.Input((length,), name="there", dtype="int", below=2)
    h = L.PositionalEmbedding(length)(L.Embedding(len(WORDS), width)(tokens))
    h = L.Stack(L.TransformerBlock(heads, norm="post"), depth)([h, there])
    body = dv.Model([tokens, there], h, name="bert")
    read = body([tokens, there])
    words = dv.Model([tokens, there], {"words": L.Dense(len(WORDS), name="words")(read)}, name="reader")
    return words, dv.Model(
        [tokens, there], {"praise": L.Dense(1, name="praise")(L.Function(first)(read))}, name="judge"
    )


def main(
    texts: int = 5000,
    labelled: int = 60,
    verdicts: int = 5,
    width: int = 32,
    heads: int = 4,
    depth: int = 2,
    epochs: int = 20,
    fine_epochs: int = 60,
    batch: int = 50,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the accuracy on new texts, after reading and without it; most of their verdicts had no label."""
    rng = np.random.default_rng(seed)
    plain, _ = reviews(texts, rng, remarks=0.7)
    (own, praise), (new, praise_new) = reviews(labelled, rng, verdicts), reviews(1000, rng)
    tokens, there = nx.pad([*plain, *own, *new])
    parts = np.split(np.arange(len(tokens)), [texts, texts + labelled])
    own, new = ({"tokens": tokens[part], "there": there[part]} for part in parts[1:])
    reader, judge = networks(tokens.shape[1], width, heads, depth)
    print(reader.summary())

    def batches():
        """An epoch of texts in a new order with other words hidden, and those words."""
        for part in np.array_split(rng.permutation(texts), texts // batch):
            chosen = (rng.random(tokens[part].shape) < SHARE) & (there[part] == 1) & (tokens[part] != FIRST)
            given = {"tokens": np.where(chosen, HIDDEN, tokens[part]), "there": there[part]}
            yield given, np.where(chosen, tokens[part], IGNORED)

    def trained(model, loss, params, data, epochs, **options):
        """A trainer that starts from the parameters of another one, where they have the same names."""
        rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, 20, epochs * max(options.pop("steps"), 1))
        trainer = nx.Trainer(model, loss, optax.adam(rate), metrics=["accuracy"], clip_norm=1.0, seed=seed)
        trainer.params = {n: params.get(n, a) for n, a in trainer.params.items()}
        trainer.fit(*data, epochs=epochs, verbose=False, **options)
        return trainer

    hidden = {"name": "sparse_softmax_cross_entropy", "ignored": IGNORED}
    read = trained(reader, hidden, {}, (batches,), epochs, steps=texts // batch)
    print(f"hidden words told again: {read.history['accuracy'][-1]:.3f} of them")
    found = {}
    for name, params in (("after reading", read.params), ("from labels alone", {})):
        told = trained(
            judge,
            "sigmoid_binary_cross_entropy",
            params,
            (own, praise),
            fine_epochs,
            steps=labelled // 20,
            batch_size=20,
        )
        found[name] = told.evaluate(new, praise_new)["accuracy"]
        print(
            f"accuracy {name}: {told.history['accuracy'][-1]:.3f} on the labelled texts, {found[name]:.3f} on new ones"
        )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("texts", 5000),
        ("labelled", 60),
        ("verdicts", 5),
        ("width", 32),
        ("heads", 4),
        ("depth", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("epochs", 20), ("fine-epochs", 60), ("batch", 50), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    main(**vars(parser.parse_args()))
