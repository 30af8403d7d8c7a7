"""Mistakes planted over the catalogue are refused, or told, or no mistakes; a sample here, more by ``make mutants``."""

import pytest
from mutants import derivations, sources, table
from mutants.catalogue import FIRST

MODELS = {  # of each family, in the tests that run always
    "gradients": ("embedding", "by hand huber", "kernel layer_norm"),
    "sources": ("by hand huber", "by hand gated"),
    "derivations": ("entropy", "logistic hvp"),
}


def holes(family, name, most):
    tallies = table.run(family, name, most)
    assert all(t.tried for t in tallies if t.made)
    return [(t.kind, *h) for t in tallies for h in t.holes]


@pytest.mark.parametrize(("family", "name"), [(f, n) for f, names in MODELS.items() for n in names])
def test_a_sample_of_mutants_is_refused(family, name):
    assert holes(family, name, 4) == []


def test_a_check_that_refuses_nothing_is_found_out(monkeypatch):
    for module in (derivations, sources):
        monkeypatch.setattr(module, "refused", lambda bad: "")
        monkeypatch.setattr(module, "verified", lambda bad: True)
    assert len(holes("sources", "embedding", 4)) >= 2
    assert len(holes("derivations", "embedding", 2)) >= 4


def test_every_model_has_mutants_of_every_kind():
    kinds = {t.kind for family in table.FAMILIES for t in table.run(family, "by hand leaky", 1) if t.made}
    assert {k.partition(":")[0] for k in kinds} >= {"gradients", "emitted source", "equations of a program", "results"}
    assert len(FIRST) > 50
