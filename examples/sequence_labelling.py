"""Label every character with a bidirectional LSTM: in a word that begins with a capital (1) or ends in "ing" (2), else 0.

The first needs what came before, the second what comes after: neither direction alone knows both.
"""

import re
from pydoc_data.topics import topics

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L


def windows(text: str, words: nx.Vocabulary, length: int):
    """Characters (N, length) and their labels, cut from a text."""
    labels = np.zeros(len(text), np.int32)
    for found in re.finditer(r"[A-Za-z]+", text):
        labels[found.start() : found.end()] = 1 if found[0][0].isupper() else 2 if found[0].endswith("ing") else 0
    count = len(text) // length
    cut = slice(0, count * length)
    return words.encode(text)[cut].reshape(count, length), labels[cut].reshape(count, length)


def main(characters: int = 60_000, length: int = 32, hidden: int = 32, epochs: int = 8, seed: int = 0) -> float:
    """Returns the accuracy over the characters of held-out text."""
    text = re.sub(r"\s+", " ", "\n".join(topics[name] for name in sorted(topics)))[:characters]
    words = nx.Vocabulary(text)
    cut = len(text) * 4 // 5
    (x, y), (x_test, y_test) = (windows(part, words, length) for part in (text[:cut], text[cut:]))
    both = L.Bidirectional(L.LSTM(hidden, return_sequences=True))
    model = dv.Sequential([L.Embedding(len(words), 16), both, L.Dense(3)], input_shape=(length,))
    trainer = nx.Trainer(model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam(1e-2), seed=seed)
    print(model.summary())
    trainer.fit(x, y, batch_size=32, epochs=epochs)
    guessed = trainer.predict(x_test).argmax(axis=-1)
    accuracy = float((guessed == y_test).mean())
    print(f"always 0: {(y_test == 0).mean():.3f}, bidirectional LSTM: {accuracy:.3f}")
    print("".join(words.decode(x_test[:2].ravel())))
    print("".join(map(str, guessed[:2].ravel())))
    return accuracy


if __name__ == "__main__":
    main()
