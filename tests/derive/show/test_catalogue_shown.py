"""Every entry of the catalogue can be shown: its derivation as text, its page's parts."""

import inspect

import pytest

import derive as dv
from derive.networks.activations import ACTIVATIONS
from derive.networks.losses import LOSSES

b, k = dv.indices("b k")
z = dv.tensor("z", b, k)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_shown(name):
    loss = LOSSES[name]
    text = dv.backprop(loss.define(z, loss.target_tensor(z)), [z]).to_text()
    assert "loss" in text and "dz" in text and loss.caveats and inspect.getdoc(loss.rule)


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "threshold"])
def test_activations_are_shown(name):
    entry = ACTIVATIONS[name]
    text = dv.vjp(dv.define("h", (b, k), entry(z)), [z], cotangent="w").to_text()
    assert "dz" in text and entry.caveats and inspect.getdoc(entry.rule)
