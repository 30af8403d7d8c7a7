"""The larger examples, on digits and on diabetes, with fast settings."""

import pytest
from test_examples_networks import drawn

pytest.importorskip("sklearn")


def test_diabetes_is_predicted_better_than_by_the_mean(script, capsys):
    errors = script("diabetes")(epochs=30)
    assert errors["linear"] < 0.75 * errors["the mean"] and errors["network"] < 0.75 * errors["the mean"]
    assert "d_dense_2_kernel[j,k] = sum_b h1[b,j] dz2[b,k] + dense_2_kernel[j,k] / 100" in capsys.readouterr().out


@pytest.mark.slow
def test_eight_numbers_hold_a_digit_better_than_principal_components(script, tmp_path):
    network, linear = script("autoencoder")(str(tmp_path / "digits.png"), epochs=40)
    assert network < linear and drawn(tmp_path / "digits.png")
