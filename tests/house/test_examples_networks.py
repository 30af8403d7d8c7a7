"""The examples of networks and data run, print what they found, and their pictures are drawn."""

import pytest

pytest.importorskip("sklearn")


def drawn(path) -> bool:
    return path.stat().st_size > 4000 and path.read_bytes()[:4] == b"\x89PNG"


def test_two_hidden_units_do_exclusive_or(script, tmp_path, capsys):
    assert script("xor")(str(tmp_path / "xor.png")) == [0, 1, 1, 0]
    out = capsys.readouterr().out
    assert "dz1[b,j] = dh1[b,j] (1 - h1[b,j]^2)" in out and "1 xor 1 = 0" in out and drawn(tmp_path / "xor.png")


def test_the_course_network(script, capsys):
    assert script("course_network")(epochs=30) > 0.9
    out = capsys.readouterr().out
    assert "dz1[b,j] = dh1[b,j] h1[b,j] (1 - h1[b,j])" in out and "proved, 0 undecided" in out


def test_two_features_part_three_irises(script, tmp_path, capsys):
    assert script("two_features")(str(tmp_path / "iris.png"), epochs=40) > 0.85
    assert drawn(tmp_path / "iris.png") and capsys.readouterr().out.splitlines()[-1].startswith("test accuracy: 0.9")


def test_the_perceptron_and_what_it_says_of_irises(script, capsys):
    setosa, virginica = script("perceptron")()
    assert setosa.converged and not virginica.converged and virginica.separable is False
    out = capsys.readouterr().out
    assert "descent cannot train through a step" in out and "answers alike: True" in out


def test_bumps_interpolate_and_learned_centres_do_it_better(script, tmp_path):
    fixed, learned = script("rbf_interpolation")(str(tmp_path / "rbf.png"), epochs=80)
    assert learned < 0.6 * fixed < 0.3 and drawn(tmp_path / "rbf.png")


def test_two_players_come_to_rest(script, capsys):
    mean, spread = script("two_players")(steps=900)
    assert abs(mean - 3) < 0.15 and abs(spread - 0.5) < 0.15
    assert "da = sum_b d_forged[b] noise[b]" in capsys.readouterr().out
