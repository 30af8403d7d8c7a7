"""The engine's generality: programs outside any catalogue and every layer family are proved by the exact check."""

import pytest
from programs import CASES
from random_programs import Maker

import derive as dv


@pytest.mark.parametrize("name", CASES)
def test_exact_check_proves_gradients_and_every_step(name):
    d = CASES[name]()
    evidence = d.check()
    assert evidence.ok, str(evidence)
    assert all(f"gradient {t.name}" in evidence.named("proved") for t in d.wrt), str(evidence)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_are_never_refuted(seed):
    made = Maker(seed, definitions=2, depth=2)
    if not made.wrt:
        pytest.skip("this program reads no float input")
    d = dv.backprop(made.loss, made.wrt)
    assert d.check().proved
