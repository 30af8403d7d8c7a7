"""The exact evaluator: what sums, rows, reads, maxes and recurrences mean, element by element."""

import random
from fractions import Fraction

import pytest
import sympy
from programs import CASES
from sympy import Eq, Integer

import derive as dv
from derive.exact import Array, evaluate
from derive.exact import loops as loops_module
from derive.exact.case import Case
from derive.exact.check import Checker
from derive.exact.compile import Compiler, additive_terms, size_value
from derive.exact.field import RationalField
from derive.language.errors import DerivationError, UnsupportedError
from derive.language.index import Index
from derive.language.tensor import Tensor
from derive.program.ingest import ingest
from derive.program.program import Equation, Program, Row, Term

i, j = dv.index("i"), dv.index("j", size="I")
x = dv.tensor("x", i)


def value(body, idx=(), sizes=None, **inputs):
    """The array of ``out[idx] = body``, as nested lists of numbers."""
    program = ingest([dv.define("out", idx, body)])
    return evaluate(program, inputs, sizes or {"I": 3})["out"].nested()


def test_sums_products_and_sizes():
    assert value(dv.Sum(x[i] ** 2, i) / i.size, x=[1, 2, 3]) == Fraction(14, 3)
    assert value(x[i] * dv.Sum(x[j], j), (i,), x=[1, 2, 3]) == [6, 12, 18]
    assert value(dv.Sum(i * x[i], i), x=[1, 2, 3]) == 8


def test_reads_outside_are_zero():
    assert value(x[i + 1] - x[i], (i,), x=[1, 4, 9]) == [3, 5, -9]
    assert value(x[2 * i], (i,), x=[1, 4, 9]) == [1, 9, 0]
    assert value(x[i - 1], (i,), x=[1, 4, 9]) == [0, 1, 4]


def test_gathers_and_their_range():
    g = dv.tensor("g", i, dtype="int", below=i.size)
    assert value(x[g[i]], (i,), x=[5, 7, 9], g=[2, 2, 0]) == [9, 9, 5]
    assert value(x[g[g[i]]], (i,), x=[5, 7, 9], g=[2, 2, 0]) == [5, 5, 9]
    with pytest.raises(DerivationError, match=r"an integer read outside its tensor: g\[i \+ 1\].*the equation of out"):
        value(x[g[i + 1]], (i,), x=[5, 7, 9], g=[2, 2, 0])


def test_max_takes_the_first_maximiser_among_the_positions_that_exist():
    assert value(dv.argmax(x[i], i), x=[4, 9, 9]) == 1
    assert value(dv.Max(x[i], i), x=[-4, -9, -7]) == -4
    u = dv.index("u", size=3)
    windows = value(dv.Max(x[i + u], u), (i,), x=[-3, -1, -2])
    assert windows == [-1, -1, -2]  # the last windows are shorter; outside is no zero


def test_an_empty_window_is_refused():
    u = dv.index("u", size=2)
    with pytest.raises(DerivationError, match="a max over an empty window"):
        value(dv.Max(x[i + u + 2], u), (i,), x=[1, 2, 3])


def test_conditions_on_indices_and_values():
    assert value(sympy.Piecewise((x[i], i <= 1), (0, True)), (i,), x=[1, 2, 3]) == [1, 2, 0]
    assert value(dv.Iverson(x[i] > 1) * 10, (i,), x=[1, 2, 3]) == [0, 10, 10]
    mask = dv.tensor("mask", i, dtype="bool")
    assert value(x[i] * mask[i], (i,), x=[1, 2, 3], mask=[1, 0, 1]) == [1, 0, 3]


def test_recurrences_forward_and_backward():
    t = dv.index("t")
    a = dv.tensor("a", t)
    forward = dv.define("f", (t,), lambda f: a[t] + 2 * f[t - 1])
    backward = dv.define("r", (t,), lambda r: a[t] + 2 * r[t + 1])
    start = dv.define("s", (t,), lambda s: sympy.Piecewise((a[0], Eq(t, 0)), (s[t - 1] * a[t], True)))
    found = evaluate(ingest([forward, backward, start]), {"a": [1, 2, 3, 4]}, {"T": 4})
    assert found["f"].nested() == [1, 4, 11, 26]
    assert found["r"].nested() == [49, 24, 11, 4]
    assert found["s"].nested() == [1, 2, 6, 24]


def test_second_order_recurrence():
    t = dv.index("t")
    f = dv.define("f", (t,), lambda f: f[t - 1] + f[t - 2] + sympy.Piecewise((1, Eq(t, 0)), (0, True)))
    assert evaluate(ingest([f]), {}, {"T": 7})["f"].nested() == [1, 1, 2, 3, 5, 8, 13]


def test_irrational_values_continue_in_fifty_digits():
    found = value(dv.Sum(sympy.exp(x[i]), i), x=[0, 1, -1])
    assert abs(found - (1 + 2 * RationalField().mp.cosh(1))) < 1e-55
    assert value(sympy.sqrt(x[i]), (i,), x=[4, "9/16", 0]) == [2, Fraction(3, 4), 0]
    with pytest.raises(DerivationError, match="division by zero|negative power of zero"):
        value(1 / x[i], (i,), x=[1, 0, 2])


def test_strange_names_are_only_names():
    t = dv.tensor("x; import os", dv.index("lambda", size="I"))
    n = dv.index("lambda", size="I")
    assert value(dv.Sum(t[n], n), **{"x; import os": [1, 2, 3]}) == 6


def equation(terms, idx=(i,)):
    return Equation(Tensor("out", tuple(n.size for n in idx), idx, role="computed", digest="test:out"), idx, terms)


@pytest.mark.parametrize("stride, shift", [(1, 0), (1, -1), (2, 0), (2, 1), (3, -2), (-1, 2), (-2, 3)])
def test_an_equality_row_gives_the_index_or_nothing(stride, shift):
    """sum_u x[u] [stride*u + shift == i] by solving the row, against the definition."""
    u = Index("u", i.size, 1)
    e = equation((Term(Integer(1), (x[u],), (u,), (Row("==", stride * u + shift, i),)),))
    data = [Fraction(n + 1) for n in range(5)]
    got = evaluate(Program((x,), (e,), (e.tensor,)), {"x": data}, {"I": 5})["out"].nested()
    assert got == [sum(data[n] for n in range(5) if stride * n + shift == m) for m in range(5)]


def test_rows_of_every_relation():
    u = Index("u", i.size, 1)
    for op, holds in (("<", lambda a, b: a < b), ("<=", lambda a, b: a <= b), ("!=", lambda a, b: a != b)):
        e = equation((Term(Integer(1), (x[u],), (u,), (Row(op, u, i),)),))
        got = evaluate(Program((x,), (e,), (e.tensor,)), {"x": [1, 2, 3]}, {"I": 3})["out"].nested()
        assert got == [sum(n + 1 for n in range(3) if holds(n, m)) for m in range(3)]


@pytest.mark.parametrize("name", ("conv2d", "tanh_rnn", "embedding", "flatten", "two_gathers_in_a_sum", "max_pool"))
def test_planned_loops_equal_the_plain_ones(name, monkeypatch):
    """Solved rows, hoisted factors and cut loops change nothing: every step equation, planned and enumerated."""
    d = CASES[name]()
    checker = Checker(d, 0)
    case = next(checker.cases.each("modular", 0))
    equations = [e for s in d.steps for e in (s.after, *s.before) if e.reduce is None]

    def run():
        return [case.machine(e.tensors()).result(e).data for e in equations]

    planned = run()

    def plain(t, frame):
        total, coef = loops_module._careful_sum(t, frame), frame.value(t.coef)

        def term(I):
            out = total(I)
            return out if out is None else frame.F.mul(coef(I), out)

        return term

    monkeypatch.setattr("derive.exact.machine.product_sum", plain)
    assert run() == planned and any(any(v for v in data) for data in planned)


def test_size_expressions():
    H, S = dv.size("H"), dv.size("S")
    assert size_value((H + 2 - 3) // S + 1, {"H": 6, "S": 2}) == 3
    assert size_value(H / S, {"H": 6, "S": 4}) == Fraction(3, 2)
    with pytest.raises(UnsupportedError, match="sizes are made of"):
        size_value(sympy.sin(H), {"H": 1})


def test_arguments_are_multiplied_out():
    a, b = x[i], x[i + 1]
    assert len(additive_terms(sympy.Mul(2, a + b, a - 1, evaluate=False))) == 4
    compiler = Compiler(RationalField(), {"I": 3}, {"x": Array((3,), [Fraction(2), Fraction(5), Fraction(7)])})
    terms = compiler.argument(3 * (a - b) / 2 + i, {i: 0})([1])
    assert sorted(c for c, _ in terms) == [Fraction(-3, 2), 1, Fraction(3, 2)]
    assert compiler.F.total(terms) == Fraction(3, 2) * (5 - 7) + 1


def test_functions_outside_the_table_are_refused():
    compiler = Compiler(RationalField(), {"I": 3}, {})
    with pytest.raises(UnsupportedError, match="the function gamma is outside the closed set exp, log"):
        compiler.value(sympy.gamma(x[i]), {i: 0})


def test_inputs_keep_their_facts():
    b, k = dv.index("b"), dv.index("k")
    p = dv.tensor("p", b, k, facts=[dv.positive, dv.sums_to(1, k)])
    s = dv.tensor("s", b, k, facts=[dv.sums_to(2, b)])
    n, m = dv.indices("n m", size="N")
    A = dv.tensor("A", n, m, facts=[dv.symmetric])
    g = dv.tensor("g", b, dtype="int", below=k.size)
    loss = dv.define("loss", (), dv.Sum(p[b, k] * s[b, k], b, k) + dv.Sum(A[n, m], n, m) + dv.Sum(p[b, g[b]], b))
    for kind in ("modular", "real"):
        case = Case(ingest([loss]), kind, {"B": 3, "K": 4, "N": 3}, 0, frozenset(), 0)
        F, arrays = case.field, case.arrays
        assert all(F.sign(v) == 1 for v in arrays["p"].data)
        for row in range(3):
            assert F.same(F.total(tuple((1, arrays["p"][row, c]) for c in range(4))), F.one)
        for c in range(4):
            assert F.same(F.total(tuple((1, arrays["s"][row, c]) for row in range(3))), F.rational(Fraction(2)))
        assert all(arrays["A"][a, c] == arrays["A"][c, a] for a in range(3) for c in range(3))
        labels = arrays["g"].data
        assert all(0 <= v < 4 for v in labels) and len(set(labels)) < len(labels)


def test_random_matrix_products_agree_with_python():
    rng = random.Random(1)
    q, r, s = dv.indices("q r s")
    A, B = dv.tensor("A", q, r), dv.tensor("B", r, s)
    a = [[rng.randrange(-5, 6) for _ in range(3)] for _ in range(2)]
    b = [[rng.randrange(-5, 6) for _ in range(4)] for _ in range(3)]
    got = value(dv.Sum(A[q, r] * B[r, s], r), (q, s), {"Q": 2, "R": 3, "S": 4}, A=a, B=b)
    assert got == [[sum(a[m][n] * b[n][o] for n in range(3)) for o in range(4)] for m in range(2)]
