"""Words as numbers, with places for where a text starts and ends; and texts in two languages."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from numerics.errors import InputError

SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
PAD, START, END, UNKNOWN = range(len(SPECIAL))
WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")


class WordVocabulary:
    """The words and signs of some texts, the most frequent first, after four that are always there.

    Parameters
    ----------
    texts : iterable of str
        Read in lower case.
    at_least : int
        How often a word has to stand there; the others are unknown.

    Attributes
    ----------
    words : tuple of str
        By number; ``pad`` 0, ``start`` 1, ``end`` 2 and ``unknown`` 3 come first.

    Raises
    ------
    InputError
        Where there are no words.

    >>> words = WordVocabulary(["A dog runs.", "A dog sleeps."])
    >>> words.encode("a cat runs.").tolist(), len(words)
    ([1, 4, 3, 7, 6, 2], 9)
    >>> words.decode(words.encode("a dog sleeps."))
    'a dog sleeps.'
    """

    pad, start, end, unknown = PAD, START, END, UNKNOWN

    def __init__(self, texts: Iterable[str], at_least: int = 1):
        if isinstance(texts, str):
            raise InputError("WordVocabulary: the texts are one str; accepted is a list of them, as in [text]")
        count = Counter(word for text in texts for word in split_words(text))
        found = [word for word, n in count.most_common() if n >= at_least]
        if not found:
            raise InputError(f"WordVocabulary: no word stands in the texts {at_least} times or more")
        self.words = (*SPECIAL, *found)
        self._number = {word: n for n, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> np.ndarray:
        """Start, the numbers of the words, end: (N + 2,) int32."""
        inside = [self._number.get(word, UNKNOWN) for word in split_words(text)]
        return np.array([START, *inside, END], np.int32)

    def decode(self, numbers) -> str:
        """The text of some numbers up to the first end; a sign stands at the word before it."""
        found: list[str] = []
        for n in np.asarray(numbers).ravel().tolist():
            if n == END:
                break
            if n not in (PAD, START):
                found.append(self.words[n])
        return re.sub(r" ([.,;:!?)])", r"\1", " ".join(found))


def split_words(text: str) -> list[str]:
    """The words and signs of a text, in lower case.

    >>> split_words("Two men's T-shirts, red.")
    ['two', "men's", 't-shirts', ',', 'red', '.']
    """
    return WORD.findall(text.lower())


def load_pairs(stem, source: str, target: str) -> tuple[list[str], list[str]]:
    """The lines of two files that belong together, such as ``multi30k.train.en`` and ``multi30k.train.de``.

    Parameters
    ----------
    stem : path
        What both names begin with, ``folder/multi30k.train``; the files are plain text or end in ``.gz``.
    source, target : str
        What follows, ``"en"`` and ``"de"``.

    Returns
    -------
    sources, targets : list of str
        Without pairs of which one line is empty.

    Raises
    ------
    InputError
        For a file that is not there or not UTF-8, and for files of unequal numbers of lines.
    """
    both = [_lines(Path(f"{stem}.{language}")) for language in (source, target)]
    if len(both[0]) != len(both[1]):
        raise InputError(
            f"{stem}: {len(both[0])} lines of {source} and {len(both[1])} of {target}; expected is a line for each"
        )
    pairs = [pair for pair in zip(*both, strict=True) if all(pair)]
    if not pairs:
        raise InputError(f"{stem}: no lines")
    sources, targets = zip(*pairs, strict=True)
    return list(sources), list(targets)


def _lines(path: Path) -> list[str]:
    zipped = path.with_name(f"{path.name}.gz")
    if not path.is_file() and not zipped.is_file():
        raise InputError(f"neither {path} nor {zipped.name} is there")
    try:
        raw = path.read_bytes() if path.is_file() else gzip.decompress(zipped.read_bytes())
        return [line.strip() for line in raw.decode("utf-8").splitlines()]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
