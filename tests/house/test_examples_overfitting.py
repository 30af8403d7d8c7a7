"""Early stopping, dropout and L2 each cure some of what a network learns by heart."""

import pytest
from test_examples_networks import drawn

pytest.importorskip("sklearn")


@pytest.mark.slow
def test_cures_of_overfitting(script, tmp_path, capsys):
    found = script("overfitting")(str(tmp_path), epochs=40)
    none = found.pop("none")
    assert none["training accuracy"] > 0.9  # it learns most wrong labels
    assert all(row["held-out accuracy"] > none["held-out accuracy"] + 0.01 for row in found.values()), found
    assert found["early stopping"]["epochs"] < 40 and drawn(tmp_path / "overfitting_L2.png")
    assert "early stopping" in capsys.readouterr().out
