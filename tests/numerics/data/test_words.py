"""Words as numbers, and sentence pairs from files."""

import gzip

import numpy as np
import pytest

import numerics as nx
from numerics.errors import InputError


def test_words_come_by_frequency_and_rare_ones_are_unknown():
    words = nx.WordVocabulary(["A b a, c.", "b a"], at_least=2)
    assert words.words == ("<pad>", "<start>", "<end>", "<unknown>", "a", "b")
    assert words.encode("b x A").tolist() == [1, 5, 3, 4, 2] and words.encode("b").dtype == np.int32


def test_a_text_ends_at_the_first_end_and_signs_stand_at_words():
    words = nx.WordVocabulary(["a dog, a cat."])
    assert words.decode([*words.encode("A dog, a cat."), 4, 4, 0]) == "a dog, a cat."
    assert words.decode([words.pad, words.start, words.end]) == ""


@pytest.mark.parametrize(("texts", "says"), [("text", "one str"), ([], "no word"), (["", " "], "no word")])
def test_no_words(texts, says):
    with pytest.raises(InputError, match=says):
        nx.WordVocabulary(texts)


def test_pairs_are_read_zipped_or_not(tmp_path):
    (tmp_path / "part.en").write_text("one\n\ntwo \n", encoding="utf-8")
    with gzip.open(tmp_path / "part.de.gz", "wt", encoding="utf-8") as file:
        file.write("eins\nleer\nzwölf\n")
    assert nx.load_pairs(tmp_path / "part", "en", "de") == (["one", "two"], ["eins", "zwölf"])


def test_pairs_that_cannot_be_read(tmp_path):
    (tmp_path / "part.en").write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(InputError, match="neither .*part.de nor part.de.gz"):
        nx.load_pairs(tmp_path / "part", "en", "de")
    (tmp_path / "part.de").write_text("eins\n", encoding="utf-8")
    with pytest.raises(InputError, match="2 lines of en and 1 of de"):
        nx.load_pairs(tmp_path / "part", "en", "de")
    (tmp_path / "part.de").write_bytes(b"\xff\xfe\n\n")
    with pytest.raises(InputError, match="cannot be read"):
        nx.load_pairs(tmp_path / "part", "en", "de")
    (tmp_path / "part.de").unlink()
    (tmp_path / "part.de.gz").write_bytes(gzip.compress(b"eins\nzwei\n")[:-9])
    with pytest.raises(InputError, match="cannot be read"):
        nx.load_pairs(tmp_path / "part", "en", "de")
