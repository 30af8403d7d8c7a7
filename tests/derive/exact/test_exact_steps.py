"""Every kept step has a claim, and a step that is changed is refuted."""

import itertools
from dataclasses import replace

import pytest
import sympy
from programs import CASES
from sympy import Integer

import derive as dv
from derive.exact.check import Checker
from derive.exact.decide import decide
from derive.exact.steps import Steps
from derive.exact.verdict import PROVED, REFUTED
from derive.language.errors import DerivationError
from derive.language.tensor import Read


def mutants(eq):
    """(what was done, the equation with one mistake): signs, factors, terms, rows, shifts, transposes."""
    for n, t in enumerate(eq.terms):

        def put(changed, n=n):
            return replace(eq, terms=(*eq.terms[:n], changed, *eq.terms[n + 1 :]))

        yield "sign", put(t.scaled(Integer(-1)))
        yield "factor", put(t.scaled(Integer(2)))
        if len(eq.terms) > 1:
            yield "dropped term", replace(eq, terms=eq.terms[:n] + eq.terms[n + 1 :])
        for row in t.rows:
            yield f"dropped row {row}", put(replace(t, rows=tuple(r for r in t.rows if r != row)))
        for read in sorted(t.reads(), key=str):
            if read.tensor.dtype != "float":
                continue
            for a in range(len(read.idx)):
                shifted = Read(read.tensor, *read.idx[:a], read.idx[a] + 1, *read.idx[a + 1 :])
                yield f"shifted {read}", put(t.xreplace({read: shifted}))
            square = len(read.idx) == 2 and read.tensor.axes[0] == read.tensor.axes[1]
            if square and read.idx[0] != read.idx[1] and "symmetric" not in {f.kind for f in read.tensor.facts}:
                yield f"transposed {read}", put(t.xreplace({read: Read(read.tensor, *reversed(read.idx))}))


# not layer norm: there the sum of x - mean vanishes, and with it the difference a mutant makes
NETWORKS = (
    "softmax_regression",
    "max_pool",
    "embedding",
    "quadratic_form",
    "gather_of_gather",
    "total_variation",
    "cosine_similarity",
    "entropy",
)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_mutated_step_is_refuted(name):
    d = CASES[name]()
    checker = Checker(d, 0)
    steps, tried = Steps(checker), 0
    for s in d.steps:
        if s.claim == "definition" or s.after.reduce:
            continue
        for what, bad in mutants(s.after):
            finding = decide("mutant", checker.step_cases, steps.claim(replace(s, after=bad)))
            nowhere = finding.by == "nothing"  # a shift that divides by zero everywhere: never a pass either
            assert finding.verdict == REFUTED or nowhere, f"step {s.id} {s.rule}, {what}: {bad} is {finding.verdict}"
            tried += not nowhere
    assert tried >= 10


@pytest.mark.parametrize(
    "name",
    ("softmax_regression", "max_pool", pytest.param("tanh_rnn", marks=pytest.mark.slow), "hessian_vector_product"),
)
def test_every_mutated_backward_equation_is_refuted(name):
    d = CASES[name]()
    shifts = {e.name for s in d.steps if s.rule == "stabilize" for e in s.context}  # any shift m is right, by design
    backward = [
        n
        for n, e in enumerate(d.program.equations)
        if d.source.equation(e.name) is None and e.reduce is None and e.name not in shifts
    ]
    tried = 0
    for n in backward:
        eq = d.program.equations[n]
        for what, bad in itertools.islice(mutants(eq), 0, None, 3 if name == "tanh_rnn" else 1):
            if "shifted" in what and eq.tensor in eq.tensors():
                continue  # a recurrence that is shifted does not schedule
            equations = (*d.program.equations[:n], bad, *d.program.equations[n + 1 :])
            wrong = replace(d, steps=(), program=replace(d.program, equations=equations), evidence={})
            try:
                accepted = wrong.check().ok
            except DerivationError:
                accepted = False
            assert not accepted, f"{what}: {bad} was accepted for {eq}"
            tried += 1
    assert tried >= 5


def test_a_refuted_step_is_named_with_its_equations():
    d = CASES["quadratic_form"]()
    s = next(s for s in d.steps if s.rule == "contraction")
    bad = replace(s, after=replace(s.after, terms=tuple(t.scaled(Integer(-1)) for t in s.after.terms)))
    wrong = replace(d, steps=tuple(bad if x is s else x for x in d.steps), evidence={})
    with pytest.raises(DerivationError) as error:
        wrong.check()
    text = str(error.value)
    assert f"step {s.id} contraction: {s.target} is refuted" in text
    assert f"before  {s.before[0]}" in text and f"after   {bad.after}" in text
    assert wrong.evidence[s.id] == REFUTED and wrong.evidence["gradient:" + d.wrt[0].name] == PROVED


def test_an_unknown_claim_is_an_error():
    d = CASES["quadratic_form"]()
    wrong = replace(d, steps=(replace(d.steps[0], claim="obvious"), *d.steps[1:]), evidence={})
    with pytest.raises(DerivationError, match="claims 'obvious'; the checker knows equal"):
        wrong.check()


def test_a_missing_second_derivative_term_is_refuted():
    """The Hessian-vector product is checked by second-order dual numbers, not by itself."""
    d = CASES["hessian_vector_product"]()
    evidence = d.check()
    products = [r for r in evidence.rows if r.what.startswith("hvp ")]
    assert len(products) == len(d.wrt) and all(r.verdict == PROVED for r in products)
    hvp = d.result("hvp")[d.wrt[0].name]
    n = next(n for n, e in enumerate(d.program.equations) if e.name == hvp.name)
    eq = d.program.equations[n]
    fewer = eq.terms[:-1] if len(eq.terms) > 1 else (eq.terms[0].scaled(Integer(2)),)
    bad = replace(eq, terms=fewer)
    wrong = replace(
        d,
        steps=(),
        program=replace(d.program, equations=(*d.program.equations[:n], bad, *d.program.equations[n + 1 :])),
        evidence={},
    )
    with pytest.raises(DerivationError, match=f"hvp {d.wrt[0].name} is refuted"):
        wrong.check()


def test_verdicts_are_stored_by_step_and_gradient():
    d = CASES["softmax_regression"]()
    d.check()
    assert set(d.evidence) == {
        "gradient:W",
        "gradient:c",
        "loss:loss",
        "results",
        "steps",
        "facts",
        *(s.id for s in d.steps),
    }
    assert set(d.evidence.values()) == {PROVED}


def test_an_integer_read_past_the_end_does_not_hide_a_zero():
    """g[j-1] is read at j = 0 beside a row that is false there."""
    i, j, k = dv.indices("i j k")
    g = dv.tensor("g", k, dtype="int", below=i.size)
    y = dv.tensor("y", i, j)
    d = dv.backprop(dv.define("loss", (), dv.Sum(dv.sigmoid(y[g[k], k + 1]), k)), [y])
    assert not d.check().undecided


def test_the_adjoint_of_a_recurrence_is_proved_where_a_cotangent_arrives_at_every_step():
    b, t, i, j = dv.indices("b t i j")
    m = dv.index("m", size=j.size)
    x, U, W = dv.tensor("x", b, t, i), dv.tensor("U", i, j), dv.tensor("W", j, m)
    h, g = dv.define(
        "h g",
        (b, t, j),
        lambda h, g: (sympy.tanh(g[b, t, j]), dv.Sum(x[b, t, i] * U[i, j], i) + dv.Sum(h[b, t - 1, m] * W[m, j], m)),
    )
    for y in (h, g):
        assert dv.vjp(y, wrt=[W, U]).check().proved
    w, u = dv.tensor("w"), dv.tensor("u", t)
    alone = dv.define("alone", (t,), lambda h: w * h[t - 1] ** 2 + u[t])
    assert dv.vjp(alone, wrt=[w, u]).check().proved


def test_a_step_whose_quotient_a_later_guard_leaves_out_is_proved_where_it_exists():
    t = dv.parse(
        "index p q: N\nX: float[p,i] parameter\nr[p,q] = sqrt(sum[i]((X[p,i] - X[q,i])^2))\n"
        "l = sum[p,q](where(p < q, 1/r[p,q], 0))"
    )
    d = dv.backprop(t["l"], wrt=[t["X"]])
    evidence = d.check()
    assert evidence.proved
    said = [r for r in evidence.rows if r.detail == "where its quotients exist"]
    assert said
    s = next(s for s in d.steps if s.claim == "transpose" and s.target == "d_r_sum")
    wrong = replace(s.after, terms=tuple(replace(x, coef=3 * x.coef) for x in s.after.terms))
    checker = Checker(d, 0)
    found = decide("wrong", checker.step_cases, Steps(checker).claim(replace(s, after=wrong)), poles=True)
    assert found.verdict != PROVED
