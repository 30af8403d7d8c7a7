"""The convolutional examples reach the accuracy that they are there to show."""

import pytest
from test_examples_networks import script  # noqa: F401  a fixture


def test_a_small_network_reads_digits(script, capsys):  # noqa: F811
    pytest.importorskip("sklearn")
    assert script("digits_cnn")() >= 0.98
    out = capsys.readouterr().out
    assert "dconv2d_1_kernel[" in out and out.splitlines()[-1].startswith("test accuracy: 0.9")
