"""The text form: what it means (equal to the same definitions made by hand), and what its errors say."""

import pytest
import sympy
from sympy import Eq, Piecewise, Rational

import derive as dv
from derive import Max, Sum
from derive.exact.functions import FUNCTIONS
from derive.language.define import define
from derive.language.errors import DeriveError, IndexCaptureError, ParseError, ShapeError, UnsupportedError
from derive.language.text.expressions import FUNCTION_NAMES, POINTWISE, UNARY
from derive.language.text.parse import parse, parse_expression
from derive.program.ingest import ingest

SOFTMAX = """
    # softmax regression
    x: float[b,i]   label: int[b] < K
    W: float[i,k]   c: float[k]
    z[b,k] = sum[i](x[b,i]*W[i,k]) + c[k]
    lse[b] = log(sum[k](exp(z[b,k])))
    loss = sum[b](lse[b] - z[b,label[b]]) / B
"""


def body(text, name="z"):
    return parse(text)[name].definition.body


def test_softmax_regression_is_the_same_as_by_hand():
    b, i, k = dv.indices("b i k")
    x, W, c = dv.tensor("x", b, i), dv.tensor("W", i, k), dv.tensor("c", k)
    label = dv.tensor("label", b, dtype="int", below=k.size)
    z = define("z", (b, k), Sum(x[b, i] * W[i, k], i) + c[k])
    lse = define("lse", (b,), sympy.log(Sum(sympy.exp(z[b, k]), k)))
    loss = define("loss", (), Sum(lse[b] - z[b, label[b]], b) / b.size)
    found = parse(SOFTMAX)
    assert list(found) == ["x", "label", "W", "c", "z", "lse", "loss"]
    assert found == {"x": x, "label": label, "W": W, "c": c, "z": z, "lse": lse, "loss": loss}


def test_a_changed_text_is_a_different_loss():
    assert parse(SOFTMAX)["loss"] != parse(SOFTMAX.replace("lse[b] - z", "lse[b] + z"))["loss"]


def test_definitions_may_stand_in_any_order():
    lines = SOFTMAX.strip().split("\n")
    assert parse("\n".join(lines[::-1]))["loss"] == parse(SOFTMAX)["loss"]


def test_index_and_size_lines_roles_and_facts():
    found = parse("""
        index p q : N; index u : (H + 2*P - R)//S + 1
        size S P
        A: float[p,q] symmetric
        y: float[b,k] sums to 1 over k   v: float[i] positive parameter
        img: float[b, H, 32]   noise: float[u] random, nonnegative
    """)
    assert found["A"].axes == (dv.size("N"),) * 2 and found["A"].facts == (dv.symmetric,)
    k = dv.index("k")
    assert found["y"].facts == (dv.sums_to(1, k),)
    assert (found["v"].role, found["v"].facts) == ("parameter", (dv.positive,))
    assert found["img"].axes == (dv.size("B"), dv.size("H"), 32)
    H, P, R, S = map(dv.size, "HPRS")
    assert found["noise"].axes == (sympy.floor((H + 2 * P - R) / S) + 1,)
    assert (found["noise"].role, found["noise"].facts) == ("random", (dv.nonnegative,))


def test_primed_letters_share_the_size():
    found = parse("index p: N; x: float[p]; s = sum[p,p'](x[p]*x[p'])")
    first, second = found["s"].definition.body.binders
    assert (first.name, second.name) == ("p", "p'") and first.size == second.size == dv.size("N")


def test_names_that_sympy_would_sympify():
    found = parse("I: float[b]; E: float; S[b] = I[b]*E; N = sum[b](S[b])/B")
    b = dv.index("b")
    I, E = dv.tensor("I", b), dv.tensor("E")
    assert found["S"].definition.body == I[b] * E[()]
    assert found["N"].definition.body == Sum(found["S"][b], b) / b.size


@pytest.mark.parametrize(
    "text, value",
    [
        ("2^3^2", 512),
        ("-2^2", -4),
        ("2^-1", Rational(1, 2)),
        ("2**3", 8),
        ("1 - 2 - 3", -4),
        ("8/4/2", 1),
        ("2*3 + 4", 10),
        ("2 + 3*4", 14),
        ("-(1 + 2)*3", -9),
        ("1e-5", Rational(1, 100000)),
        (".5", Rational(1, 2)),
        ("2.50", Rational(5, 2)),
        ("3e2", 300),
        ("0.1 + 0.2", Rational(3, 10)),
        ("[1 < 2 <= 2]*5", 5),
        ("[1 < 2 < 2]", 0),
        ("[1 < 2 and 3 > 4]", 0),
        ("[1 < 2 or 3 > 4]", 1),
        ("[not 1 != 1]", 1),
        ("1 ≤ 2", None),
        ("2·3 − 1", 5),
        ("where(1 > 2, 3, 4)", 4),
        ("piecewise((1, 2 < 1), (7, true))", 7),
        ("+3", 3),
        ("2 - -3", 5),
        ("sqrt(16)", 4),
        ("6*2/3*2", 8),
        ("7//2", 3),
    ],
)
def test_arithmetic_is_exact_and_binds_as_usual(text, value):
    if value is None:
        with pytest.raises(ParseError, match="found a condition, expected a number"):
            body(f"z = {text}")
    else:
        assert body(f"z = {text}") == value


def test_reductions_and_pointwise_extremes():
    b = dv.index("b")
    x = dv.tensor("x", b)
    assert body("x: float[b]; z = max[b](x[b])") == Max(x[b], b)
    assert body("x: float[b]; z = min[b](x[b])") == -Max(-x[b], b)
    assert body("x: float[b]; z = mean[b](x[b])") == Sum(x[b], b) / b.size
    assert parse("x: float[b]; z = argmax[b](x[b])")["z"].below == b.size
    assert body("x: float[b]; z[b] = max(x[b], 0, 2)") == dv.maximum(dv.maximum(x[b], 0), 2)
    assert body("x: float[b]; z[b] = min(x[b], 0)") == dv.minimum(x[b], 0)


def test_conditions():
    p, q = dv.indices("p q", size="N")
    s = dv.tensor("s", p, q)
    head = "index p q: N; s: float[p,q]; "
    assert body(head + "z[p,q] = [q <= p]*s[p,q]") == dv.Iverson(q <= p) * s[p, q]
    assert body(head + "z[p] = max[q](where(q <= p, s[p,q], -inf))") == Max(
        Piecewise((s[p, q], q <= p), (-sympy.oo, True), evaluate=False), q
    )
    m = dv.tensor("m", p, dtype="bool")
    assert body("index p: N; m: bool[p]; z[p] = where(m[p], 1, 2)") == Piecewise(
        (1, sympy.Ne(m[p], 0)), (2, True), evaluate=False
    )


def test_affine_reads_and_gathers():
    u, r, b, t, d, v = dv.indices("u r b t d v")
    x, S = dv.tensor("x", "I"), dv.size("S")
    assert body("size S; x: float[I]; z[u,r] = x[S*u + 2*r - 1]") == x[S * u + 2 * r - 1]
    tok, E = dv.tensor("tok", b, t, dtype="int", below="V"), dv.tensor("E", v, d)
    assert body("tok: int[b,t] < V; E: float[v,d]; z[b,t,d] = E[tok[b,t], d]") == E[tok[b, t], d]


def test_a_recurrence_reads_itself_and_others_at_an_earlier_step():
    t, b = dv.indices("t b")
    x = dv.tensor("x", t, b)
    h, c = define("h c", (t, b), lambda h, c: (sympy.tanh(c[t - 1, b]) + x[t, b], dv.sigmoid(h[t, b]) * c[t - 1, b]))
    found = parse("x: float[t,b]; h[t,b] = tanh(c[t-1,b]) + x[t,b]; c[t,b] = sigmoid(h[t,b])*c[t-1,b]")
    assert (found["h"], found["c"]) == (h, c)
    assert found["h"].partners == (h, c)


def test_a_recurrence_through_tensors_of_different_axes():
    found = parse("x: float[t,b]; h[t,b] = tanh(s[t-1]) + x[t,b]; s[t] = sum[b](h[t,b]); loss = sum[t](s[t]^2)")
    names = [e.name for e in ingest([found["loss"]]).equations]
    assert set(names) == {"h", "s", "loss"}
    other = parse("x: float[t,b]; h[t,b] = tanh(s[t-1]) + x[t,b]; s[t] = 2*sum[b](h[t,b]); loss = sum[t](s[t]^2)")
    assert other["h"] != found["h"]  # the identity of each includes the other's right-hand side


def test_an_initial_state_is_a_choice():
    t, b = dv.indices("t b")
    h0 = dv.tensor("h0", b)
    found = parse("h0: float[b]; h[t,b] = tanh(where(t == 0, h0[b], h[t-1,b]))")["h"]
    assert found == define(
        "h", (t, b), lambda h: sympy.tanh(Piecewise((h0[b], Eq(t, 0)), (h[t - 1, b], True), evaluate=False))
    )


def test_parsed_definitions_are_a_program():
    program = ingest([parse(SOFTMAX)["loss"]])
    assert [t.name for t in program.inputs] and {t.name for t in program.inputs} == {"x", "label", "W", "c"}
    assert program.equation("loss") is not None


def test_every_function_of_the_language_has_a_name_in_the_text_form():
    made = {f.__name__ for f in (*UNARY.values(), *POINTWISE.values()) if isinstance(f, type)}
    written = {"Pow": "^ and sqrt", "Piecewise": "where", "Iverson": "[ ]", "Unknown": "f(u)"}
    assert set(FUNCTIONS) - set(written) == made
    assert body("x: float; z = x^2") == dv.tensor("x")[()] ** 2


ERRORS = [
    ("z = 2 +", 1, 8, "found the end of the text, expected a number, a name"),
    ("a: float[b]\nz[b] = a[b]*(a[b]+2))", 2, 21, r"found '\)', expected an operator, a new line or ';'"),
    ("a: float[b]\nz[b] = (a[b]+2\nw[b] = 2", 2, 8, r"this '\(' is never closed"),
    ("a: float[b]\nz = 2 a[b]", 2, 7, r"found name a, expected an operator.*write \* between"),
    ("a: float[b]\nz[b] = ab[b]", 2, 8, "unknown tensor 'ab'; did you mean 'a'"),
    ("z = relo(2)", 1, 5, "unknown function 'relo'; did you mean 'relu'"),
    ("z = prod(2)", 1, 5, "unknown function 'prod'; known are exp, log"),
    ("lear: float\nz = learn + 1", 2, 5, "unknown name 'learn'.*did you mean 'lear'"),
    ("a: flot[b]", 1, 4, "found name flot, expected a type: float, int or bool; did you mean 'float'"),
    ("a: float[b] paramter", 1, 13, "found 'paramter', expected a role.*did you mean 'parameter'"),
    ("a: float[b] sums over b", 1, 18, "found name over, expected 'to'"),
    ("z = 3 $ 4", 1, 7, r"found the character '\$'"),
    ("z = 3x", 1, 5, r"3x is neither a number nor a name"),
    ("z = 1e500", 1, 5, "a number beyond 1e308"),
    ("z = exp(1, 2)", 1, 5, "exp takes one argument, found 2"),
    ("z = max(1)", 1, 5, r"takes two arguments or more, found 1; over an index, write max\[k\]"),
    ("z = where(1, 2, 3)", 1, 11, "found a number, expected a condition"),
    ("z = where(1 < 2, 3)", 1, 5, "where.* takes three arguments, found 2"),
    ("z = piecewise((1, 2 < 3))", 1, 5, r"expected piecewise\(\(a, condition\)"),
    ("z = (1, 2)", 1, 5, "found a list in parentheses"),
    ("a: float[t]\nh[0] = a[0]", 2, 3, r"found number 0, expected an index letter .*where\(t == 0"),
    ("z = 1\nw = 2\nz = 3", 3, 1, "the name z is defined twice, first on line 1"),
    ("index p: N\nindex p: M", 2, 7, "the index p is declared twice"),
    ("and: float", 1, 1, "'and' is a word of the language"),
    ("z 3", 1, 3, "found number 3, expected ':' to declare z or '=' to define it"),
    ("x: float[I]\nz = sum[3](x[3])", 2, 9, "sum.* takes index letters"),
    ("z = sum[k]", 1, 5, "unknown tensor 'sum'; sum.* reduces over indices and is followed by"),
    ("[z] = 1", 1, 1, r"found '\[', expected a declaration"),
    ("z = " + "(" * 70 + "1" + ")" * 70, 1, 65, "nested more than 60 levels deep"),
]


@pytest.mark.parametrize("text, line, column, message", ERRORS)
def test_parse_errors_say_where_and_what(text, line, column, message):
    with pytest.raises(ParseError, match=message) as caught:
        parse(text)
    said = str(caught.value)
    assert said.startswith(f"line {line}, column {column}: ")
    assert (caught.value.line, caught.value.column) == (line, column)
    *_, shown, caret = said.split("\n")
    source = text.split("\n")[line - 1]
    if column <= 60:
        assert shown == f"    {source[:110]}" and caret == " " * (column + 3) + "^"


@pytest.mark.parametrize(
    "text, kind, message",
    [
        ("a: float[b]\nz[b] = a[i]", IndexCaptureError, r"line 2, column 10: index i is unbound.*sum\[i\]"),
        ("a: float[b]\nz[b,b] = a[b]", IndexCaptureError, r"line 2, column 1: .*index b is free twice"),
        ("a: float[b]\nz[b] = sum[b](a[b])", IndexCaptureError, "line 2, column 12: index b is already in use"),
        ("a: float[b]\nz = sum[b](sum[b](a[b]))", IndexCaptureError, "index b is already in use"),
        ("a: float[b]\nz[b] = a[b,b]", ShapeError, "line 2, column 8: .* reads 2 indices"),
        ("a: float[b]\nz = a + 1", ShapeError, r"a has 1 axes; read it at indices, as in a\[b\]"),
        ("a: float[b, 0]", ShapeError, "line 1, column 13: size 0: a size is a positive whole number"),
        ("a: float[b] symmetric", ShapeError, "line 1, column 1: .*symmetric needs two axes"),
        ("a: float[b] < K", DeriveError, "declares the range of an integer tensor"),
        (
            "a: float[b]\nz[b] = a[b/2]",
            UnsupportedError,
            "line 2, column 11: an index of a is a whole-number expression",
        ),
        ("a: float[b]\nz[b] = a[a[b]]", UnsupportedError, "an index of a is a whole-number expression"),
        ("a: float[b]\nz[b] = a[b//2]", UnsupportedError, "// divides sizes"),
        ("z = 1/0", UnsupportedError, "line 1, column 6: division by zero"),
        ("z = 0^-1", UnsupportedError, "zero to a negative power"),
        ("z = log(0)", UnsupportedError, "not a real number"),
        ("z = sqrt(-2)", UnsupportedError, "not a real number"),
        ("z = (-8)^(1/3)", UnsupportedError, "not a real number"),
        ("z = 1 - inf", UnsupportedError, "inf may only stand as a branch"),
        ("z = 9^9^9", UnsupportedError, "too large to be exact"),
        ("z = sqrt(-1) < 2", DeriveError, "no real value"),
    ],
)
def test_texts_that_parse_but_make_no_sense(text, kind, message):
    with pytest.raises(DeriveError, match=message) as caught:
        parse(text)
    assert type(caught.value) is kind or kind is DeriveError


def test_what_is_not_a_text_is_refused():
    with pytest.raises(DeriveError, match="parse takes a text, not int"):
        parse(3)


def test_code_in_a_text_is_never_run(tmp_path):
    target = tmp_path / "made"
    for text in (f"z = __import__('os').mkdir('{target}')", f"z = open({str(target)!r}, 'w')", "z = ().__class__"):
        with pytest.raises(ParseError):
            parse(text)
    assert not target.exists()
    assert body("exec: float; z = exec + 1") == dv.tensor("exec")[()] + 1


def test_parse_expression_reads_known_tensors():
    b, i, k = dv.indices("b i k")
    x, dz = dv.tensor("x", b, i), dv.tensor("dz", b, k)
    scope = {"x": x, "dz": dz}
    assert parse_expression("sum[b](x[b,i]*dz[b,k]) / B", scope) == Sum(x[b, i] * dz[b, k], b) / b.size
    assert parse_expression("x[b,i]*[i == 2]", scope) == x[b, i] * dv.Iverson(Eq(i, 2))
    with pytest.raises(ParseError, match="unknown tensor 'dx'"):
        parse_expression("dx[b,i]", scope)
    with pytest.raises(ParseError, match="found '=', expected an operator or the end"):
        parse_expression("x[b,i] = 2", scope)
    with pytest.raises(IndexCaptureError, match="index j is unbound"):
        parse_expression("x[b,j]", scope)


def test_parse_expression_uses_the_letters_the_tensors_were_declared_with():
    p, q = dv.indices("p q", size="N")
    A = dv.tensor("A", p, q)
    assert parse_expression("A[q,p] + A[p,p']", {"A": A}) == A[q, p] + A[p, dv.index("p'", size="N")]


def test_function_names_are_unique():
    assert len(set(FUNCTION_NAMES)) == len(FUNCTION_NAMES)


def test_missing_labels_are_declared_in_text():
    found = dv.parse("""
        z: float[b, k] parameter
        y: int[b] < K missing -100
        label[b] = where(y[b] == -100, 0, y[b])
        loss = sum[b](where(y[b] == -100, 0, z[b, label[b]]))
    """)
    assert [f.text(found["y"]) for f in found["y"].facts] == ["y[b] is -100 where there is none (declared)"]
    d = dv.backprop(found["loss"], [found["z"]])
    assert str(d.gradient("z")) == "dz[b,k] = [y[b] != -100] [k = label[b]]" and d.check().proved
    with pytest.raises(DeriveError, match=r"line 1.*missing\(1/2\): accepted is a whole number"):
        dv.parse("y: int[b] < K missing 1/2")
