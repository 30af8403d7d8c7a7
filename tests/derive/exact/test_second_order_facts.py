"""What the classic Hessians say of themselves: their terms, their facts, and what their programs never read."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from second_order_programs import CLASSIC, log_sum_exp, quadratic_form, softmax_cross_entropy

import derive as dv
import numerics as nx
from derive.derivation.structured import structured


def body(source):
    """The lines of the function, without header and docstrings."""
    return [line.strip() for line in source.split('"""')[-1].splitlines() if "=" in line]


def line_of(kernel, name):
    return next(line for line in body(kernel.source) if line.startswith(f"{name} = "))


def test_declared_rows_leave_two_terms_without_y():
    d = dv.hessian(*softmax_cross_entropy(declared=True))
    assert str(d.program.equation("H_z_z")) == "H_z_z[b,k,b',k'] = p[b,k] ([k' = k] - p[b,k']) [b' = b] / B"
    assert [f.text for f in d.facts] == ["sum over k of y[b, k] = 1 (declared)"]
    parts = structured(d)[1]["z", "z"]
    assert [p.kind for p in parts] == ["diagonal", "block diagonal over b"]
    kernel = nx.compile(d)
    assert "Facts used: sum over k of y[b, k] = 1 (declared)." in kernel.source
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), 3)
    same = [np.asarray(kernel(z=z, y=a).hessian["z", "z"]) for a in (y, y[::-1])]
    np.testing.assert_array_equal(*same)


def test_rows_that_are_not_declared_keep_their_sum():
    d = dv.hessian(*softmax_cross_entropy(declared=False))
    assert str(d.program.equation("d_p_lse")) == "d_p_lse[b] = 1/B sum_k y[b,k]"
    assert str(d.program.equation("H_z_z")) == "H_z_z[b,k,b',k'] = d_p_lse[b] p[b,k] ([k' = k] - p[b,k']) [b' = b]"
    text = "sum over k of y[b,k] is not declared; d_p_lse[b] keeps it (dv.sums_to(1, k) would make it 1)"
    assert [f.text for f in d.facts] == [text]
    kernel = nx.compile(d)
    assert text in " ".join(kernel.source.split())
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(3, 4)), rng.random((3, 4))
    once, twice = (np.asarray(kernel(z=z, y=a).hessian["z", "z"]) for a in (y, 2 * y))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)


def test_sums_that_no_fact_would_change_are_not_mentioned():
    for make in (log_sum_exp, quadratic_form, CLASSIC["logistic"], CLASSIC["matrix_factorization"]):
        assert not any("not declared" in f.text for f in dv.hessian(*make()).facts)


def test_log_sum_exp_is_a_diagonal_less_rank_one_and_its_softmax_is_evaluated_once():
    d = dv.hessian(*log_sum_exp())
    assert str(d.program.equation("H_x_x")) == "H_x_x[k,k'] = dx[k] ([k' = k] - dx[k'])"
    kernel = nx.compile(d)
    exponentials = [line for line in body(kernel.source) if "jnp.exp(" in line]
    assert len(exponentials) == 1, "once, for the loss and for its derivatives"
    assert "exp" not in line_of(kernel, "H_x_x")
    x = np.array([0.3, -1.0, 2.0, 0.0])
    p = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(kernel(x=x).hessian["x", "x"], np.diag(p) - np.outer(p, p), atol=1e-6)


def test_the_hessian_of_a_quadratic_form_never_reads_x():
    d = dv.hessian(*quadratic_form())
    assert str(d.program.equation("H_x_x")) == "H_x_x[q,q'] = A[q,q'] + A[q',q]"
    line = line_of(nx.compile(d), "H_x_x")
    assert line.startswith("H_x_x = A + A.T") and not re.search(r"\bx\b", line.partition("=")[2].partition("#")[0])
    A = np.arange(9.0).reshape(3, 3)
    blocks = [np.asarray(nx.compile(d)(A=A, x=x).hessian["x", "x"]) for x in (np.ones(3), np.full(3, np.nan))]
    for block in blocks:
        np.testing.assert_array_equal(block, A + A.T)


@pytest.mark.parametrize("name", CLASSIC)
def test_a_classic_is_derived_within_a_second(name):
    """Processor time, so that a busy machine does not fail it."""
    start = time.process_time()
    dv.hessian(*CLASSIC[name]())
    assert time.process_time() - start < 1


@pytest.mark.parametrize("make", [dv.hvp, dv.hessian])
@pytest.mark.parametrize("declared", [True, False])
def test_what_the_first_order_relied_on_may_not_be_left_out(make, declared):
    d = make(*softmax_cross_entropy(declared=declared))
    for n in range(len(d.facts)):
        bad = replace(d, facts=(*d.facts[:n], *d.facts[n + 1 :]), evidence={})
        with pytest.raises(dv.DerivationError, match="listed"):
            bad.check()
    assert d.facts or not declared
