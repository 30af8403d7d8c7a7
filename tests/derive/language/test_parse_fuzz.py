"""Any text parses or raises a DeriveError; nothing else, ever."""

import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derive.language.errors import DeriveError, ParseError
from derive.language.tensor import Tensor
from derive.language.text.expressions import CONSTANTS, FUNCTION_NAMES
from derive.language.text.parse import parse, parse_expression
from derive.language.text.syntax import REDUCTIONS

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

VALID = """
x: float[b,i]   label: int[b] < K
size S; index p q : N; index u : (I + 2*P - R)//S + 1
W: float[i,k] parameter   A: float[p,q] symmetric  y: float[b,k] sums to 1 over k
z[b,k] = sum[i](x[b,i]*W[i,k]) - 1e-3
h[t,b] = tanh(where(t == 0, 0, h[t-1,b])) + max[i](x[b,i])^2
m[p] = max[q](where(q <= p, A[p,q], -inf))
loss = sum[b](log(sum[k](exp(z[b,k]))) - z[b,label[b]]) / B
"""

WORDS = [
    "x",
    "b",
    "i",
    "x[b,i]",
    "label[b]",
    "B",
    "N",
    "p",
    "q",
    "z",
    "=",
    ":",
    "float",
    "int",
    "index",
    "size",
    "sums",
    "to",
    "over",
    "positive",
    "and",
    "or",
    "not",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    "\n",
    "+",
    "-",
    "*",
    "/",
    "//",
    "^",
    "**",
    "<",
    "<=",
    "==",
    "!=",
    "2",
    "0",
    "1e-5",
    "1e99",
    "0.5",
    "999",
    "#",
    "$",
    "é",
    "'",
    '"',
    "\t",
    "\\",
    ".",
    *CONSTANTS,
    *FUNCTION_NAMES,
    *REDUCTIONS,
]


def parses_or_refuses(text, function=parse, *more):
    try:
        found = function(text, *more)
    except DeriveError as e:
        if isinstance(e, ParseError):
            assert e.line >= 1 and e.column >= 1 and str(e).startswith(f"line {e.line}, column {e.column}: ")
        return None
    return found


@QUIET
@given(st.text(max_size=60))
def test_any_characters(text):
    parses_or_refuses(text)


@QUIET
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_any_words(text):
    parses_or_refuses(text)
    parses_or_refuses("x: float[b,i]  label: int[b] < I\nz[b] = " + text)


@QUIET
@given(st.data())
def test_a_valid_text_with_pieces_cut_swapped_or_put_in(data):
    text = VALID
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        to = data.draw(st.integers(at, min(len(text), at + 8)))
        text = text[:at] + data.draw(st.sampled_from(WORDS + [""]) | st.text(string.printable, max_size=2)) + text[to:]
    found = parses_or_refuses(text)
    assert found is None or all(isinstance(t, Tensor) for t in found.values())


ATOMS = st.sampled_from(["x[b,i]", "x[b,2*i-1]", "3", "0", "0.5", "1e-5", "B", "b", "pi", "inf", "c", "x[label[b],i]"])
CONDITIONS = st.sampled_from(["b < 2", "x[b,i] > 0", "i <= b", "c == 1", "1 < 2", "not b == i", "c < inf"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from("+-*/^"), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(FUNCTION_NAMES), part).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(st.sampled_from(["max", "min"]), part, part).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(REDUCTIONS), part).map(lambda t: f"{t[0]}[j](x[j,i]*{t[1]})"),
        st.tuples(CONDITIONS, part, part).map(lambda t: f"where({t[0]}, {t[1]}, {t[2]})"),
        CONDITIONS.map(lambda c: f"[{c}]"),
        part.map(lambda e: f"-{e}"),
    ),
    max_leaves=6,
)


@QUIET
@given(EXPRESSIONS)
def test_well_formed_expressions(text):
    head = "index j: B\nx: float[b,i]  label: int[b] < B  c: float\n"
    found = parses_or_refuses(f"{head}z[b,i] = {text}")
    if found is not None:
        scope = {name: found[name] for name in ("x", "label", "c")}
        again = parses_or_refuses(text.replace("j", "b'"), parse_expression, scope)
        assert again is not None


def test_deep_and_long_texts():
    for text in (
        "(" * 5000,
        "(" * 5000 + "1" + ")" * 5000,
        "-" * 5000 + "1",
        "[" * 5000,
        "not " * 5000 + "1",
        "^".join("2" * 3000),
        "f(" * 3000,
        "x[" * 3000,
        "sum[i](" * 3000 + "1" + ")" * 3000,
    ):
        assert parses_or_refuses(f"z = {text}") is None
        assert parses_or_refuses(text, parse_expression, {}) is None
    long = parse("a: float[b]\nz[b] = " + " + ".join(["a[b]"] * 3000))["z"]
    assert str(long.definition.body) == "3000*a[b]"
    chain = "a: float[b]\nz0[b] = a[b]\n" + "\n".join(f"z{n + 1}[b] = z{n}[b] + 1" for n in range(1500))
    assert len(parse(chain)) == 1502
