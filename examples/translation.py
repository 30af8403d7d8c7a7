"""Translation by an encoder and a decoder of Transformer blocks, on words whose vocabulary is made here.

Out of the box it translates numbers, in which German turns the last two digits round; ``--data-dir`` takes a folder with
the files of Multi30k, ``multi30k.train.en``, ``multi30k.train.de`` and so on (or ``.gz``):

    python examples/translation.py --data-dir data/translation --width 128 --depth 2 --at-least 3 --epochs 6 --dropout 0.1

BLEU needs sacrebleu: ``pip install 'derive-numerics[examples]'``.  Vaswani and others, *Attention is all you need*, NIPS 2017.
"""

import argparse
import importlib.util
import pathlib
import time
from collections.abc import Callable

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive import layers as L

ENGLISH = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
GERMAN = ["ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ZEHNER = ["zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]


def number(n: int) -> tuple[str, str]:
    """A number of up to four digits in both languages, a word for each part: ``twenty one``, ``ein und zwanzig``."""
    english, german = [], []
    for size, large, grosse in ((1000, "thousand", "tausend"), (100, "hundred", "hundert")):
        if n >= size:
            english += [ENGLISH[n // size - 1], large]
            german += [GERMAN[n // size - 1], grosse]
            n %= size
    tens, ones = divmod(n, 10)
    tens = max(tens, 2)  # those from ten to nineteen have names of their own, and are left out
    english += [TENS[tens - 2], *([ENGLISH[ones - 1]] if ones else [])]
    german += [*([GERMAN[ones - 1], "und"] if ones else []), ZEHNER[tens - 2]]
    return " ".join(english), " ".join(german)


def read(folder: pathlib.Path | None, rng) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Sentences to train and to test on, English and German."""
    if folder is not None:
        parts = (folder / f"multi30k.{part}" for part in ("train", "test_2016_flickr"))
        return tuple(nx.load_pairs(part, "en", "de") for part in parts)
    pairs = [number(n) for n in rng.permutation(np.arange(20, 10_000))[:3000]]
    return tuple(tuple(map(list, zip(*part, strict=True))) for part in (pairs[:2800], pairs[2800:]))


def network(sizes: tuple[int, int], length: int, width: int, heads: int, depth: int, dropout: float) -> dv.Model:
    """The source and where it has words, and the words of the target so far, to logits for the next one."""
    source = dv.Input((length,), name="source", dtype="int", below=sizes[0])
    there = dv.Input((length,), name="there", dtype="int", below=2)
    target = dv.Input((length,), name="target", dtype="int", below=sizes[1])
    h = L.PositionalEmbedding(length)(L.Embedding(sizes[0], width)(source))
    memory = L.LayerNorm()(L.Stack(L.TransformerBlock(heads, dropout=dropout), depth)([h, there]))
    words = L.Embedding(sizes[1], width)
    h = L.PositionalEmbedding(length)(words(target))
    h = L.Stack(L.TransformerBlock(heads, causal=True, cross=True, dropout=dropout), depth)([h, memory, there])
    return dv.Model([source, there, target], {"next": L.Dense(tied_to=words)(L.LayerNorm()(h))}, name="translation")


def arrays(words: nx.WordVocabulary, texts: list[str], length: int) -> np.ndarray:
    """Texts as numbers (N, length), cut where they are longer and padded where they are not."""
    found = np.full((len(texts), length), words.pad, np.int32)
    for row, text in zip(found, texts, strict=True):
        numbers = words.encode(text)[:length]
        row[: len(numbers)] = numbers
    return found


def alike(x: np.ndarray, y: np.ndarray, batch: int, pad: int, rng) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches in a new order, of short pairs or of long ones, the short ones cut: less of a batch is padding."""
    length = x.shape[1]
    short = 2 * length // 3
    is_short = ((x[:, short:] == pad) & (y[:, short + 1 :] == pad)).all(1)
    made = []
    for n, chosen in ((short, np.flatnonzero(is_short)), (length, np.flatnonzero(~is_short))):
        rng.shuffle(chosen)
        parts = np.resize(chosen, (-(-len(chosen) // batch), batch))  # the last one is filled up by the first ones
        made += [(x[part, :n], y[part, : n + 1]) for part in parts]
    return [made[i] for i in rng.permutation(len(made))]


class Said(nx.Callback):
    """Says after every epoch how good the translations are, and ends the fit after so many minutes of the processor's time."""

    def __init__(self, minutes: float, judged: Callable[[], dict[str, float]]):
        self.minutes, self.judged = minutes, judged

    def on_step_end(self, trainer, row):
        return time.process_time() > 60 * self.minutes

    def on_epoch_end(self, trainer, row):
        found = {"loss": row["loss"], **self.judged()}
        said = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        print(f"epoch {trainer.epoch}: {said}, {time.process_time() / 60:.1f} minutes", flush=True)


def bleu(written: list[str], wanted: list[str]) -> dict[str, float]:
    """BLEU in lower case, where sacrebleu is installed."""
    if importlib.util.find_spec("sacrebleu") is None:
        return {}
    import sacrebleu

    return {"bleu": sacrebleu.corpus_bleu(written, [wanted], lowercase=True).score}


def main(
    data_dir: pathlib.Path | None = None,
    length: int = 24,
    width: int = 64,
    heads: int = 4,
    depth: int = 2,
    dropout: float = 0.0,
    at_least: int = 1,
    batch: int = 64,
    epochs: int = 12,
    learning_rate: float = 2e-3,
    minutes: float = 40.0,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the accuracy of the next word and, where sacrebleu is installed, the BLEU of greedy translations."""
    (sources, targets), (sources_test, targets_test) = read(data_dir, np.random.default_rng(seed))
    english, german = (nx.WordVocabulary(texts, at_least) for texts in (sources, targets))
    x, y = arrays(english, sources, length), arrays(german, targets, length + 1)
    x_test, y_test = arrays(english, sources_test, length), arrays(german, targets_test, length + 1)
    model = network((len(english), len(german)), length, width, heads, depth, dropout)
    print(model.summary())
    rng = np.random.default_rng(seed)
    steps = epochs * len(alike(x, y, batch, german.pad, rng))
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 10, steps, learning_rate / 20)
    loss = {"name": "sparse_softmax_cross_entropy", "ignored": german.pad, "label_smoothing": 0.1}
    trainer = nx.Trainer(model, loss, optax.adam(rate, b2=0.98), metrics=["accuracy"], clip_norm=1.0, seed=seed)

    def given(x, y):
        return {"source": x, "there": np.int32(x != english.pad), "target": y[:, :-1]}, y[:, 1:]

    def batches():
        return (given(*pair) for pair in alike(x, y, batch, german.pad, rng))

    def translated(count: int | None = None) -> list[str]:
        inputs, _ = given(x_test[:count], y_test[:count])
        start = inputs.pop("target")[:, :1]
        made = nx.generate(trainer, start, length, temperature=0, stop=german.end, inputs=inputs)
        return [german.decode(numbers) for numbers in made]

    said = Said(minutes, lambda: bleu(translated(200), targets_test[:200]))
    trainer.fit(batches, epochs=epochs, callbacks=[said], verbose=False)
    written = translated()
    found = {"accuracy": trainer.evaluate(*given(x_test, y_test))["accuracy"], **bleu(written, targets_test)}
    for source, wanted, text in list(zip(sources_test, targets_test, written, strict=True))[:5]:
        print(f"{source} | {text} | {wanted}")
    if "bleu" not in found:
        print("BLEU needs sacrebleu: pip install 'derive-numerics[examples]'")
    print(", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=pathlib.Path, help="a folder with the files of Multi30k")
    for name, default in (("length", 24), ("width", 64), ("heads", 4), ("depth", 2), ("at-least", 1), ("batch", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("epochs", 12), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in (("learning-rate", 2e-3), ("dropout", 0.0), ("minutes", 40.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    main(**vars(parser.parse_args()))
