"""Taylor models as equations, Newton's equations, and the term that Gauss-Newton drops."""

import numpy as np
import pytest
from second_order_programs import logistic, matrix_factorization
from sympy import exp

import derive as dv
import numerics as nx
from derive.language.errors import DerivationError


def test_the_model_of_a_loss_and_newtons_equation():
    text = str(dv.taylor(dv.hessian(*logistic()))).splitlines()
    assert text[0] == (
        "loss_model = loss + sum_i dw[i] w_step[i] + 1/2 sum_{i,i'} w_step[i] H_w_w[i,i'] w_step[i'] + O(|step|^3)"
    )
    assert text[2] == "0 = dw[i] + sum_i' w_step[i'] H_w_w[i,i']"
    assert text[-1] == "H_w_w[i,i'] = 1/B sum_b s[b] x[b,i] x[b,i'] (1 - s[b])"


def test_the_model_of_several_parameters_has_every_block():
    found = dv.taylor(dv.hessian(*matrix_factorization()))
    blocks = {t.name for t in found.model.tensors() if t.name.startswith("H_")}
    assert blocks == {"H_U_U", "H_U_V", "H_V_U", "H_V_V"} and found.order == 3
    of_u, of_v = found.condition
    assert str(of_u).endswith(
        "dU[i,k] + sum_{i',k'} U_step[i',k'] H_U_U[i,k,i',k'] + sum_{j,k'} V_step[j,k'] H_U_V[i,k,j,k']"
    )
    (mixed,) = (t for t in of_v.terms if any(r.tensor.name == "H_V_U" for r in t.reads()))
    block = next(r for r in mixed.reads() if r.tensor.name == "H_V_U")
    assert len(set(block.idx)) == 4 and block.idx[:2] == of_v.idx and set(mixed.bnd) == set(block.idx[2:])


def test_the_model_of_a_root_is_the_tangent():
    x = dv.tensor("x")
    found = dv.taylor(dv.jacobian(dv.define("f", (), exp(x[()]) - 2), [x]))
    assert str(found.model) == "f_model = f + J_x x_step" and found.condition == (found.model,) and found.order == 2


def test_the_tangent_of_a_system():
    p, q = dv.indices("p q")
    A, x = dv.tensor("A", p, q), dv.tensor("x", q)
    found = dv.taylor(dv.jacobian(dv.define("y", (p,), dv.Sum(A[p, q] * x[q] ** 2, q)), [x]))
    assert str(found.model) == "y_model[p] = y[p] + sum_q x_step[q] J_x[p,q]"


def test_other_derivations_have_no_expansion():
    with pytest.raises(DerivationError, match="takes what dv.hessian or dv.jacobian derived; loss is a backprop"):
        dv.taylor(dv.backprop(*logistic()))


def decay():
    n = dv.index("n")
    t, y, a, k = dv.tensor("t", n), dv.tensor("y", n), dv.tensor("a"), dv.tensor("k")
    r = dv.define("r", (n,), a[()] * exp(-k[()] * t[n]) - y[n])
    return dv.define("loss", (), dv.Sum(r[n] ** 2, n) / 2), [a, k], r


def test_the_hessian_is_gauss_newton_and_what_it_drops(x64):
    loss, wrt, r = decay()
    dropped = dv.dropped_term(loss, wrt, at=r)
    assert dropped.check().ok
    assert str(dropped.program.equation("H_a_a")) == "H_a_a = 0", "r is linear in a"
    arrays = {
        "t": np.linspace(0, 3, 5),
        "y": np.array([2.0, 1.2, 0.5, 0.4, 0.1]),
        "a": np.array(1.5),
        "k": np.array(0.8),
    }
    H = nx.compile(dv.hessian(loss, wrt))(**arrays).hessian
    rest = nx.compile(dropped)(**arrays).hessian
    J = nx.compile(dv.jacobian(r, wrt))(**arrays).jacobian
    for a in "ak":
        for b in "ak":
            np.testing.assert_allclose(H[a, b], J[a] @ J[b] + rest[a, b], rtol=1e-12)


def test_nothing_is_dropped_where_the_residual_is_linear():
    b, i = dv.indices("b i")
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i)
    r = dv.define("r", (b,), dv.Sum(x[b, i] * w[i], i) - y[b])
    d = dv.dropped_term(dv.define("loss", (), dv.Sum(r[b] ** 2, b)), [w], at=r)
    assert d.program.equation("H_w_w").terms == ()


def test_a_penalty_beside_z_has_no_such_term():
    b, i = dv.indices("b i")
    x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    r = dv.define("r", (b,), dv.Sum(x[b, i] * w[i], i))
    loss = dv.define("loss", (), dv.Sum(r[b] ** 2, b) + dv.Sum(w[i] ** 2, i))
    with pytest.raises(DerivationError, match="depends on w beside r too"):
        dv.dropped_term(loss, [w], at=r)


def test_gauss_newton_names_what_it_drops():
    loss, wrt, r = decay()
    d = dv.gauss_newton(loss, wrt, at=r)
    text = "Gauss-Newton drops sum over n of dr[n] times the second derivatives of r[n] (dv.dropped_term derives it)"
    assert text in [f.text for f in d.facts]
    assert text in " ".join(nx.compile(d).source.split())
