"""The exact check of Jacobians and Hessians: right ones are proved, mutants of every block are refuted."""

from dataclasses import replace

import pytest
from second_order_programs import CLASSIC, mlp, quadratic_form, softmax_cross_entropy
from sympy import Integer, Rational, sin, tanh

import derive as dv
from derive.language.errors import DerivationError
from derive.program.program import Program, Row, Term


@pytest.fixture(scope="module")
def hessians():
    return {name: dv.hessian(*make()) for name, make in CLASSIC.items()}


def mutated(d, group, key, change):
    """The derivation with one result's equation changed; the steps are left out, so that only the whole can object."""
    t = d.result(group)[key]
    equations = tuple(change(e) if e.name == t.name else e for e in d.program.equations)
    assert equations != d.program.equations
    return replace(d, program=Program(d.program.inputs, equations, d.program.outputs), steps=(), evidence={})


def opposite(e):
    return replace(e, terms=(replace(e.terms[0], coef=-e.terms[0].coef), *e.terms[1:]))


def without_last_term(e):
    return replace(e, terms=e.terms[:-1])


def doubled(e):
    return replace(e, terms=(*e.terms[:-1], replace(e.terms[-1], coef=2 * e.terms[-1].coef)))


def nearly(e):
    last = e.terms[-1]
    return replace(e, terms=(*e.terms[:-1], replace(last, coef=last.coef * (1 + Rational(1, 10**12)))))


@pytest.mark.parametrize("name", CLASSIC)
def test_every_block_of_the_classic_hessians_is_proved(hessians, name):
    d = hessians[name]
    evidence = d.check()
    blocks = [f"hessian {', '.join(pair)}" for pair in d.result("hessian")]
    assert len(blocks) == len(d.wrt) ** 2
    assert {*blocks, *(f"gradient {t.name}" for t in d.wrt), "loss loss"} <= set(evidence.named("proved"))
    assert all(evidence.row(b).by == "exact mod 2**61-1" for b in blocks)


@pytest.mark.parametrize("change", [opposite, without_last_term, nearly])
@pytest.mark.parametrize("name", CLASSIC)
def test_every_mutated_block_is_refuted(hessians, name, change):
    d = hessians[name]
    for pair in d.result("hessian"):
        wrong = mutated(d, "hessian", pair, change)
        with pytest.raises(DerivationError, match=f"hessian {', '.join(pair)} is refuted"):
            wrong.check()


def test_a_transposed_block_of_equal_sizes_is_refuted():
    """d2/dU dV of a loss over two square matrices: the block has the right shape and the wrong order."""
    n, m = dv.indices("n m")
    k = dv.index("k", m.size)
    U, V = dv.tensor("U", n, m), dv.tensor("V", n, m)
    body = dv.Sum(U[n, m] * sin(V[n, m]) * U[n, k] * V[n, k], n, m, k)
    d = dv.hessian(dv.define("loss", (), body), [U, V])
    assert d.check().ok

    def swapped(e):
        half = len(e.idx) // 2
        return replace(e, idx=(*e.idx[half:], *e.idx[:half]))

    with pytest.raises(DerivationError, match="hessian U, V is refuted"):
        mutated(d, "hessian", ("U", "V"), swapped).check()


def test_a_lost_bracket_is_refuted(hessians):
    def everywhere(e):
        return replace(e, terms=tuple(replace(t, rows=()) for t in e.terms))

    with pytest.raises(DerivationError, match="hessian z, z is refuted"):
        mutated(hessians["softmax_cross_entropy"], "hessian", ("z", "z"), everywhere).check()


def test_jacobians_are_proved_and_their_mutants_refuted():
    i, j = dv.indices("i j")
    A, u = dv.tensor("A", i, j), dv.tensor("u", j)
    y = dv.define("y", (i,), tanh(dv.Sum(A[i, j] * u[j], j)) + u[0])
    d = dv.jacobian(y, [A, u])
    evidence = d.check()
    assert {"jacobian A", "jacobian u", "value y"} <= set(evidence.named("proved")) and not evidence.undecided
    for name in ("A", "u"):
        for change in (opposite, doubled, nearly):
            with pytest.raises(DerivationError, match=f"jacobian {name} is refuted"):
                mutated(d, "jacobian", name, change).check()


def test_blocks_of_intermediates_meet_the_tangent_of_the_gradient():
    b, i = dv.indices("b i")
    x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    z = dv.define("z", (b,), dv.Sum(x[b, i] * w[i], i))
    d = dv.hessian(dv.define("loss", (), dv.Sum(sin(z[b]) * z[b], b)), [z])
    assert "hessian z, z" in d.check().named("proved")
    with pytest.raises(DerivationError, match="hessian z, z is refuted"):
        mutated(d, "hessian", ("z", "z"), doubled).check()


def test_a_second_derivative_that_vanishes_is_zero_and_proved():
    i = dv.index("i")
    x, a = dv.tensor("x", i), dv.tensor("a", i)
    d = dv.hessian(dv.define("loss", (), dv.Sum(a[i] * dv.relu(x[i]), i)), [x, a])
    assert d.program.equation(d.result("hessian")["x", "x"]).terms == ()
    assert d.check().ok

    def one(e):
        return replace(e, terms=(Term(Integer(1), (), (), (Row("==", e.idx[0], e.idx[1]),)),))

    with pytest.raises(DerivationError, match="hessian a, a is refuted"):
        mutated(d, "hessian", ("a", "a"), one).check()


def test_a_result_that_no_claim_is_about_is_never_proved():
    loss, wrt = quadratic_form()
    d = dv.hessian(loss, wrt)
    strange = replace(d, results=(*d.results, ("laplacian", {"x": d.result("hessian")["x", "x"]})))
    evidence = strange.check()
    assert not evidence.ok and evidence.undecided == ["laplacian H_x_x"]
    assert evidence.row("laplacian H_x_x").by == "nothing"


def test_the_declared_fact_is_used_and_said():
    """Rows of y that sum to 1 leave the Hessian free of y; without the declaration the factor sum(y) stays."""
    with_fact = dv.hessian(*softmax_cross_entropy())
    without = dv.hessian(*softmax_cross_entropy(declared=False))
    block = with_fact.program.equation("H_z_z")
    assert str(block) == "H_z_z[b,k,b',k'] = p[b,k] ([k' = k] - p[b,k']) [b' = b] / B"
    assert "y" not in {t.name for t in block.tensors()} and any("sum" in f.text for f in with_fact.facts)
    reached, todo = set(), [without.program.equation("H_z_z")]
    while todo:
        for t in todo.pop().tensors():
            if t.name not in reached:
                reached.add(t.name)
                todo += [e for e in [without.program.equation(t.name)] if e is not None]
    assert "y" in reached and any("not declared" in f.text for f in without.facts)
    assert not any("(declared)" in f.text for f in without.facts)
    assert with_fact.check().ok and without.check().ok


def test_gradients_of_a_hessian_are_checked_too():
    d = dv.hessian(*mlp())
    with pytest.raises(DerivationError, match="gradient W is refuted"):
        mutated(d, "grads", "W", doubled).check()
