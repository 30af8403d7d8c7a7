"""What is printed parses back, by Python's own parser, to the tree that it was printed from; and computes the same."""

import ast
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import CASES, check, data, free_sizes
from programs import CASES as PROGRAMS
from random_programs import Maker, Powers
from sympy import Rational, exp

import derive as dv
import numerics as nx
from derive.language.errors import DerivationError
from numerics.emit import equation
from numerics.emit.module import emit
from numerics.emit.source import printer
from numerics.emit.source.code import (
    Assign,
    Attribute,
    Binary,
    Call,
    Code,
    Compare,
    Constant,
    Dict,
    Each,
    FunctionDef,
    Gap,
    Lambda,
    Name,
    Number,
    Return,
    Slice,
    Subscript,
    Text,
    Tuple,
    Unary,
    minus,
    number_of,
    plus,
    times,
)

# -- from our tree to Python's, knowing nothing of the printer ------------------------------------------------------

OPERATORS = {
    "+": ast.Add,
    "-": ast.Sub,
    "*": ast.Mult,
    "/": ast.Div,
    "//": ast.FloorDiv,
    "**": ast.Pow,
    "@": ast.MatMult,
    "&": ast.BitAnd,
    "|": ast.BitOr,
    "==": ast.Eq,
    "!=": ast.NotEq,
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
}


def pythons(node):
    """The same expression in Python's classes."""
    match node:
        case None:
            return None
        case Name(name):
            return ast.Name(name, ast.Load())
        case Number(value) | Text(value) | Constant(value):
            return ast.Constant(value)
        case Attribute(of, name):
            return ast.Attribute(pythons(of), name, ast.Load())
        case Call(function, arguments, keywords):
            named = [ast.keyword(key, pythons(value)) for key, value in keywords]
            return ast.Call(pythons(function), [pythons(a) for a in arguments], named)
        case Unary(op, of):
            return ast.UnaryOp({"-": ast.USub, "~": ast.Invert}[op](), pythons(of))
        case Binary(left, op, right):
            return ast.BinOp(pythons(left), OPERATORS[op](), pythons(right))
        case Compare(left, op, right):
            return ast.Compare(pythons(left), [OPERATORS[op]()], [pythons(right)])
        case Subscript(of, parts):
            index = pythons(parts[0]) if len(parts) == 1 else ast.Tuple([pythons(p) for p in parts], ast.Load())
            return ast.Subscript(pythons(of), index, ast.Load())
        case Slice(start, stop, step):
            return ast.Slice(pythons(start), pythons(stop), pythons(step))
        case Tuple(items):
            return ast.Tuple([pythons(i) for i in items], ast.Load())
        case Dict(items):
            return ast.Dict([pythons(k) for k, _ in items], [pythons(v) for _, v in items])
        case Lambda(parameters, body):
            return ast.Lambda(signature(parameters), pythons(body))
        case Each(body, name, over, listed):
            loop = ast.comprehension(ast.Name(name, ast.Store()), pythons(over), [], 0)
            return (ast.ListComp if listed else ast.GeneratorExp)(pythons(body), [loop])
    raise TypeError(node)


def signature(names):
    return ast.arguments([], [ast.arg(n) for n in names], None, [], [], None, [])


def statement(s):
    match s:
        case Assign(target, value):
            stored = ast.parse(ast.unparse(ast.Assign([pythons(target)], ast.Constant(0), lineno=0))).body[0].targets
            return ast.Assign(stored, pythons(value))
        case Return(value):
            return ast.Return(pythons(value))
        case FunctionDef(name, parameters, body, decorators):
            names = [p.name for p in parameters]
            lines = [statement(line) for line in body if not isinstance(line, Gap)]
            return ast.FunctionDef(name, signature(names), lines, [pythons(d) for d in decorators], type_params=[])
    raise TypeError(s)


def dumped(tree) -> str:
    """Python's tree as text, without the fields that only newer Pythons have and nobody fills."""
    return ast.dump(tree).replace(", type_params=[]", "")


def parsed(text: str):
    return ast.parse(text, mode="eval").body


def parses_back(made) -> bool:
    """Whether the function of a generated module is the tree it was printed from."""
    (found,) = (n for n in ast.parse(made.source).body if isinstance(n, ast.FunctionDef) and n.name == made.function)
    del found.body[0]  # the docstring
    return dumped(found) == dumped(statement(made.tree))


# -- random trees -----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["x", "W", "dtype", "a_long_name_of_an_array"])
NUMBERS = st.one_of(st.integers(0, 10**20), st.floats(0, allow_infinity=False, allow_nan=False).map(abs))
LEAVES = st.one_of(
    NAMES.map(Name),
    NUMBERS.map(Number),
    st.text(max_size=8).map(Text),
    st.sampled_from([True, False, None, ...]).map(Constant),
)


def larger(inner):
    part = st.one_of(inner, st.builds(Slice, *[st.one_of(st.none(), inner)] * 3))
    several = st.lists(inner, max_size=3).map(tuple)
    called = st.one_of(NAMES.map(Name), st.builds(Attribute, inner, NAMES))
    keywords = st.dictionaries(NAMES, inner, max_size=2).map(lambda d: tuple(d.items()))
    binary = st.sampled_from(["+", "-", "*", "/", "//", "**", "@", "&", "|"])
    return st.one_of(
        st.builds(Binary, inner, binary, inner),
        st.builds(Binary, inner, binary, inner),
        st.builds(Unary, st.sampled_from("-~"), inner),
        st.builds(Compare, inner, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), inner),
        st.builds(Call, called, several, keywords),
        st.builds(Attribute, inner, NAMES),
        st.builds(Subscript, inner, st.lists(part, min_size=1, max_size=3).map(tuple)),
        st.builds(Tuple, several),
        st.builds(Dict, st.lists(st.tuples(inner, inner), max_size=2).map(tuple)),
        st.builds(Lambda, st.sampled_from([(), ("x",), ("x", "W")]), inner),
        st.builds(Each, inner, NAMES, inner, st.booleans()),
    )


TREES = st.recursive(LEAVES, larger, max_leaves=12)
FAST = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
THOROUGH = settings(FAST, max_examples=8000)


def same(node: Code) -> bool:
    return dumped(parsed(printer.expression(node))) == dumped(pythons(node))


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # "x" is 3, (1)[0]: nonsense is grammar too
@FAST
@given(TREES)
def test_a_random_tree_parses_back(node):
    assert same(node), printer.expression(node)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@THOROUGH
@given(TREES)
def test_thousands_of_random_trees_parse_back(node):
    assert same(node), printer.expression(node)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@FAST
@given(st.lists(st.tuples(TREES, TREES, st.sampled_from(["", "(3)", "(4), (5)"])), min_size=1, max_size=4))
def test_random_lines_parse_back_however_they_are_folded(lines):
    body = [Assign(Tuple((Name("a"), Name("b"))), Tuple((x, y)), margin=margin) for x, y, margin in lines]
    body += [Gap(), FunctionDef("step", (Name("x"),), tuple(body)), Assign(Name("c"), plus(*lines[0][:2]))]
    f = FunctionDef("f", (Name("x"), Name("y")), (*body, Return(Tuple(tuple(x for x, *_ in lines)))))
    (found,) = ast.parse(printer.function(f)).body
    assert dumped(found) == dumped(statement(f)), printer.function(f)


@pytest.mark.parametrize(
    "node,text",
    [
        (Binary(Name("x"), "**", Binary(Unary("-", Number(1)), "/", Number(3))), "x ** (-1 / 3)"),
        (Binary(Unary("-", Name("x")), "**", Number(2)), "(-x) ** 2"),
        (Unary("-", Binary(Name("x"), "**", Number(2))), "-x ** 2"),
        (Binary(Binary(Name("x"), "@", Name("W")), "*", Name("c")), "(x @ W) * c"),
        (Binary(Name("a"), "-", Binary(Name("b"), "-", Name("c"))), "a - (b - c)"),
        (minus(plus(Name("a"), minus(Name("b"), Name("c"))), Name("d")), "a + b - c - d"),
        (times([Name("a"), times([Name("b"), Name("c")]), Binary(Name("n"), "//", Number(2))]), "a * b * c * (n // 2)"),
        (Binary(Compare(Name("a"), ">", Number(0)), "&", Unary("~", Name("m"))), "(a > 0) & ~m"),
        (Call(Attribute(Number(2), "astype"), (Name("dtype"),)), "(2).astype(dtype)"),
        (Subscript(Name("x"), (Slice(Number(1)), Constant(None), Constant(...))), "x[1:, None, ...]"),
        (Each(Name("n"), "n", Name("s"), listed=True), "[n for n in s]"),
        (Call(Name("sum"), (Each(Name("n"), "n", Name("s"), listed=False),)), "sum(n for n in s)"),
        (Text('"\\'), r"""'"\\'"""),
    ],
)
def test_brackets_stand_where_they_are_needed(node, text):
    assert printer.expression(node) == text and same(node)


def test_a_negative_is_taken_out_of_products_and_never_out_of_a_rounding():
    a, b = Name("a"), Name("b")
    for node, negative in (
        (times([a, b]), "-a * b"),
        (Binary(a, "/", b), "-a / b"),
        (Binary(a, "//", b), "-(a // b)"),
        (Binary(a, "@", b), "-(a @ b)"),
        (plus(a, b), "-(a + b)"),
        (number_of(-2), "2"),
    ):
        assert printer.expression(node.opposite) == negative
        assert node.opposite.opposite == node and node.opposite.is_negated is not node.is_negated


@pytest.mark.parametrize("value", [-1, -0.0, float("inf"), float("nan"), True])
def test_a_literal_is_finite_and_has_no_sign(value):
    with pytest.raises(ValueError, match="a literal is finite and has no sign"):
        Number(value)


# -- modules ----------------------------------------------------------------------------------------------------------


def emitted(d, **options):
    """The module of a derivation, sizes that no array fixes given."""
    sizes, free = data(d)[0], free_sizes(d)
    return emit(d, {s: n for s, n in sizes.items() if s.name in free}, **options)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("name", [*CASES, *PROGRAMS])
def test_every_golden_and_program_parses_back(name, dense):
    d = (CASES.get(name) or PROGRAMS[name])()
    assert parses_back(emitted(d, dense_fallback=dense))


def random_derivation(kind, seed):
    """The derivation of a random program, or None of one that reaches its inputs through steps only."""
    made = kind(seed, definitions=2, depth=2)
    try:
        return dv.backprop(made.loss, wrt=made.wrt) if made.wrt else None
    except DerivationError as refusal:
        assert "zero everywhere" in str(refusal)
        return None


@pytest.mark.parametrize("seed", range(20))
def test_a_random_program_parses_back(seed):
    if (d := random_derivation(Powers, seed)) is not None:
        made = emitted(d)
        assert parses_back(made), made.source


@pytest.mark.slow
def test_hundreds_of_random_programs_parse_back():
    found = [d for seed in range(20, 360) if (d := random_derivation(Powers, seed)) is not None]
    found += [d for seed in range(40) if (d := random_derivation(Maker, seed)) is not None]
    assert len(found) >= 200
    for d in found:
        made = emitted(d)
        assert parses_back(made), made.source


@pytest.mark.parametrize("seed", range(4))
def test_a_random_program_computes_what_the_dense_fallback_does(seed):
    if (d := random_derivation(Powers, seed)) is not None:
        check(d, tolerance=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 40))
def test_more_random_programs_compute_what_the_dense_fallback_does(seed):
    if (d := random_derivation(Powers, seed)) is not None:
        check(d, tolerance=1e-8)


# -- powers ------------------------------------------------------------------------------------------------------------

b, i = dv.indices("b i")
X, Y, P = dv.tensor("x", b, i, facts=[dv.positive]), dv.tensor("y", b, i), dv.tensor("p", i)


@pytest.mark.parametrize(
    "body",
    [
        X[b, i] ** Rational(-1, 3),
        Y[b, i] * X[b, i] ** Rational(-2, 3),
        2 ** (-Y[b, i] / 3),
        X[b, i] ** (-P[i] * Y[b, i]),
        X[b, i] ** (-1 / i.size),
        X[b, i] ** (-P[i] / 3 - 1),
        1 / (1 + X[b, i]) ** Rational(2, 3),
        exp(-(X[b, i] ** Rational(4, 3))) / X[b, i] ** Rational(1, 7),
        (1 / X[b, i]) ** Rational(1, 3) * Y[b, i],
    ],
    ids=str,
)
def test_a_power_with_any_exponent_is_right_forward_and_backward(body):
    loss = dv.define("loss", (), dv.Sum(body, b, i))
    d = dv.backprop(loss, wrt=[t for t in (X, Y, P) if body.has(t[tuple(t.letters)])])
    check(d)
    report = nx.verify(nx.compile(d))
    assert report.ok, str(report)


def test_a_negative_fraction_of_a_determinant():
    p, q = dv.indices("p q", size="N")
    S = dv.tensor("S", p, q, facts=[dv.positive_definite])
    d = dv.backprop(dv.define("loss", (), dv.det(S) ** Rational(-1, 3)), [S])
    assert nx.verify(nx.compile(d)).ok
    assert parses_back(emitted(d))


# -- that these tests see a fault --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault,name",
    [
        ({"/": printer.UNARY}, "cube root"),  # what x ** -1 / 3 once was
        ({"-": printer.UNARY}, "tanh_rnn"),
    ],
)
def test_a_wrong_precedence_is_seen(monkeypatch, fault, name):
    made = dv.define("loss", (), dv.Sum(X[b, i] ** Rational(-1, 3), b, i))
    d = dv.backprop(made, wrt=[X]) if name == "cube root" else CASES[name]()
    assert parses_back(emitted(d))
    monkeypatch.setattr(printer, "PRECEDENCE", printer.PRECEDENCE | fault)
    assert not parses_back(emitted(d))


# -- the order of patterns -----------------------------------------------------------------------------------------------


def test_the_last_pattern_of_each_list_takes_what_is_left():
    d = CASES["mlp"]()
    assert equation.EQUATIONS[-1].applies(None, d.program.equations[0])
    for patterns in (equation.EQUATIONS, equation.TERMS, equation.SUMS, equation.LINES):
        names = [p.name for p in patterns]
        assert len(set(names)) == len(names)
        assert all(name in textwrap.dedent(equation.__doc__) for name in names)
