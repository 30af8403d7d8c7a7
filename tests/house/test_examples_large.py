"""The large examples at small sizes; their figures at full size stand in docs/examples.md."""

import importlib

import numpy as np
import pytest
from test_examples_networks import drawn

import numerics as nx

pytest.importorskip("sklearn")


def test_patches_and_pictures_are_each_other_s_inverse(script):
    script("ddpm")
    ddpm = importlib.import_module("ddpm")
    x = np.random.default_rng(0).uniform(size=(3, 64))
    tokens = ddpm.in_patches(x, 2)
    assert tokens.shape == (3, 16, 4) and np.allclose(ddpm.as_pictures(tokens, 2), x)
    assert np.allclose(tokens[0, 1], 2 * x[0].reshape(8, 8)[:2, 2:4].ravel() - 1)
    kept = ddpm.left(50)
    assert (np.diff(kept) < 0).all() and 0.99 < kept[0] < 1 and 0 < kept[-1] < 1e-3


def test_noise_taken_away_by_one_who_knows_it_leaves_the_picture(script):
    """The reverse process, with the true noise of a known picture in place of the network's."""
    script("ddpm")
    ddpm = importlib.import_module("ddpm")
    kept, picture = ddpm.left(40), np.random.default_rng(1).uniform(-1, 1, (2, 4, 3))

    class Knows:
        class model:  # noqa: N801
            shape_of = staticmethod(lambda name: (4, 3))

        def predict(self, given):
            here = kept[given["t"][0, 0]]
            return (given["x"] - np.sqrt(here) * picture) / np.sqrt(1 - here)

    made = ddpm.sample(Knows(), np.array([3, 4]), kept, np.random.default_rng(0))
    assert np.abs(made - picture).max() < 1e-6


def test_pictures_of_several_digits_say_what_is_in_them(script):
    script("captions")
    captions = importlib.import_module("captions")
    x, y = np.ones((10, 64), np.float32), np.arange(10)
    pictures, said = captions.composed(x, y, 20, 3, np.random.default_rng(0))
    assert pictures.shape == (20, 10, 26, 1)
    for picture, text in zip(pictures, said, strict=True):
        count = len(text.split())
        assert 1 <= count <= 3 and picture.sum() > 64 * count - 2 * 8 * (count - 1) - 1  # neighbours may touch
        assert set(text.split()) <= set(captions.NUMBERS)


@pytest.mark.parametrize(
    ("n", "english", "german"),
    [
        (21, "twenty one", "ein und zwanzig"),
        (3040, "three thousand forty", "drei tausend vierzig"),
        (987, "nine hundred eighty seven", "neun hundert sieben und achtzig"),
    ],
)
def test_numbers_in_two_languages(script, n, english, german):
    script("translation")
    assert importlib.import_module("translation").number(n) == (english, german)


# -- trained ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_vision_transformer_reads_digits(script):
    assert script("vit")(epochs=6) > 0.85


@pytest.mark.slow
def test_a_variational_autoencoder_makes_digits(script, tmp_path, capsys):
    found = script("vae")(epochs=60, picture=str(tmp_path / "vae.png"))
    assert found["bound"] > -27 and found["confidence"] > 0.5 and found["entropy"] > 1.8
    assert drawn(tmp_path / "vae.png")
    assert "d_mean_kernel[k,l] = sum_b" in capsys.readouterr().out


@pytest.mark.slow
def test_a_forger_makes_digits(script, tmp_path):
    found = script("gan")(epochs=60, picture=str(tmp_path / "gan.png"))
    assert found["confidence"] > 0.55 and found["entropy"] > 1.8
    assert drawn(tmp_path / "gan.png")


@pytest.mark.slow
def test_digits_out_of_noise(script, tmp_path):
    found = script("ddpm")(epochs=60, samples=100, picture=str(tmp_path / "ddpm.png"))
    assert set(found) == {"confidence", "entropy", "accuracy"} and drawn(tmp_path / "ddpm.png")
    assert found["accuracy"] > 0.25  # of ten kinds; in a hundred epochs it reaches 0.9


@pytest.mark.slow
def test_pictures_are_described_in_words(script, capsys):
    assert script("captions")(most=2, count=1500, epochs=12) > 0.2
    assert "captions right in every word" in capsys.readouterr().out


@pytest.mark.slow
def test_numbers_are_translated(script, capsys):
    found = script("translation")(epochs=6, width=32)
    assert found["accuracy"] > 0.7
    assert "| " in capsys.readouterr().out


@pytest.mark.slow
def test_reading_helps_where_labels_are_few(script):
    found = script("bert")(texts=4000, epochs=15)
    assert found["after reading"] > 0.85 > 0.75 > found["from labels alone"]


# -- what they share --------------------------------------------------------------------------------------------------


class Judge:
    def __init__(self, z):
        self.z = np.asarray(z, float)

    def predict(self, x):
        return self.z[: len(x)]


def test_scores_of_samples():
    sure = 20 * np.eye(4)
    assert nx.sample_scores(Judge(sure), np.zeros((4, 2))) == {"confidence": 1.0, "entropy": round(np.log(4), 4)}
    same = nx.sample_scores(Judge(np.tile(sure[:1], (4, 1))), np.zeros((4, 2)), [0, 0, 1, 1])
    assert same == {"confidence": 1.0, "entropy": 0.0, "accuracy": 0.5}
    assert nx.sample_scores(Judge(np.full((2, 4), 0.25)), np.zeros((2, 2)))["confidence"] == 0.25  # probabilities


@pytest.mark.parametrize(
    ("z", "labels", "says"),
    [
        (np.zeros(3), None, "accepted is a classifier"),
        (np.full((2, 3), np.nan), None, "not finite"),
        (np.zeros((2, 3)), [0, 1, 2], "one a sample"),
    ],
)
def test_scores_that_cannot_be(z, labels, says):
    with pytest.raises(nx.InputError, match=says):
        nx.sample_scores(Judge(z), np.zeros((len(z), 2)), labels)
