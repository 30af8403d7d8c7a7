"""Nothing that is altered passes: equations of the program, steps, facts and results of every kind of derivation.

By default a sample of the mutants of some, with ``-m slow`` a larger one of each.  (All of them, fifty thousand checks,
take more than two hours: ``make mutants`` draws as many as it is told.)
"""

import random

import pytest
from mutants.equations import mutants
from programs import CASES
from second_order_programs import CLASSIC, mlp

import derive as dv
from derive.language.errors import DeriveError

SAMPLE, LARGER = 6, 40  # of each derivation: in the tests that run always, in the slow ones


def _second(kind, name):
    loss, wrt = CLASSIC[name]()
    return getattr(dv, kind)(loss, wrt)


def _inner():
    loss, wrt = mlp()
    return loss, wrt, next(e.tensor for e in dv.backprop(loss, wrt).source.equations if e.name == "h")


def gauss_newton():
    loss, wrt, h = _inner()
    return dv.gauss_newton(loss, wrt[:1], at=h)


def jacobian():
    _, wrt, h = _inner()
    return dv.jacobian(h, wrt[:1])


def hessian_of_a_recurrence():
    d = CASES["tanh_rnn"]()
    return dv.hessian(d.loss, list(d.wrt)[:2])


DERIVATIONS = {
    **CASES,
    **{f"{name} {kind}": lambda k=kind, n=name: _second(k, n) for name in CLASSIC for kind in ("hessian", "hvp")},
    "jacobian": jacobian,
    "gauss_newton": gauss_newton,
    "hessian_of_a_recurrence": hessian_of_a_recurrence,
}
QUICK = (
    "embedding",
    "max_pool",
    "entropy",
    "tanh_rnn",
    "cross_entropy_of_probabilities",
    "symmetric_quadratic_form",
    "vector_jacobian_product",
    "logistic hessian",
    "log_sum_exp hvp",
    "jacobian",
    "gauss_newton",
)


def accepted(d):
    try:
        return d.check().ok
    except DeriveError:
        return False


def survivors(tried):
    return [what for what, bad in tried if accepted(bad)]


def survivors_of_a_sample(name, count):
    d = DERIVATIONS[name]()
    assert d.check().ok
    found = list(mutants(d))
    return survivors(random.Random(name).sample(found, min(count, len(found))))


@pytest.mark.parametrize("name", QUICK)
def test_a_sample_of_mutants_is_refuted(name):
    assert survivors_of_a_sample(name, SAMPLE) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", DERIVATIONS)
def test_a_larger_sample_of_mutants_is_refuted(name):
    assert survivors_of_a_sample(name, LARGER) == []
