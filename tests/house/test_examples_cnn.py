"""The convolutional examples reach the accuracy that they are there to show."""

import pytest


def test_a_small_network_reads_digits(script, capsys):
    pytest.importorskip("sklearn")
    assert script("digits_cnn")() >= 0.98
    out = capsys.readouterr().out
    assert "d_conv2d_1_kernel[" in out and out.splitlines()[-1].startswith("test accuracy: 0.9")


@pytest.mark.slow
def test_mnist(script, capsys, data_dir):
    folder = data_dir / "mnist"
    if not folder.is_dir():
        pytest.skip("DERIVE_DATA has no folder mnist")
    found = script("mnist_cnn")(str(folder))
    assert len(found) == 8 and found[-1] >= 0.99  # measured 0.9928; the standard error of 10,000 images is 0.001
    assert f"epoch 8: test accuracy {found[-1]:.4f}" in capsys.readouterr().out
