"""The steps are the derivation: replayed from the source, they give the program."""

from dataclasses import replace

import pytest
from programs import CASES

import derive as dv


@pytest.mark.parametrize("name", CASES)
def test_the_steps_alone_give_the_program(name):
    d = CASES[name]()
    replayed = d.replay()
    assert [e.name for e in replayed] == [e.name for e in d.program]
    assert [e.terms for e in replayed] == [e.terms for e in d.program]


def test_a_missing_or_altered_step_is_noticed():
    d = CASES["layer_norm"]()
    kept = {e.name for e in d.program}
    rewriting = [n for n, s in enumerate(d.steps) if s.claim == "equal" and s.target in kept]
    assert len(rewriting) > 5
    for n in rewriting:
        with pytest.raises(dv.DerivationError):
            replace(d, steps=d.steps[:n] + d.steps[n + 1 :]).replay()
    n = rewriting[-1]
    altered = replace(d.steps[n], after=replace(d.steps[n].after, terms=d.steps[n].after.terms[:-1]))
    with pytest.raises(dv.DerivationError, match="but the program has|left"):
        replace(d, steps=(*d.steps[:n], altered, *d.steps[n + 1 :])).replay()
