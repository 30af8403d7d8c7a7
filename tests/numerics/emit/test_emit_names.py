"""Any name is safe in generated source, and the closed tables cover the language."""

import ast
import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import CASES, check
from sympy import Function

import derive as dv
import numerics as nx
from derive.exact.functions import FUNCTIONS as LANGUAGE
from derive.language.functions import STRUCTURAL
from numerics.emit.source.names import RESERVED, Names, comment, identifier, literal
from numerics.emit.terms.functions import FUNCTIONS


def test_the_table_of_functions_is_the_language():
    assert set(LANGUAGE) - set(FUNCTIONS) == set(STRUCTURAL)
    assert set(FUNCTIONS) <= set(LANGUAGE)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_is_emitted(name):
    import sympy

    from derive.language import nodes

    b = dv.index("b")
    x, y = dv.tensor("x", b), dv.tensor("y", b)
    f = getattr(nodes, name, None) or getattr(sympy, name)
    low = (1.2 + x[b] ** 2) if name in ("acosh", "log") else x[b] / (1 + x[b] ** 2)
    low = 1 / (1 + x[b] ** 2) if name == "ndtri" else low  # between 0 and 1
    body = (
        f(1, 1 + low**2)
        if name == "polygamma"
        else f(low, y[b])
        if name in ("maximum", "minimum", "logaddexp", "atan2")
        else f(low)
    )
    loss = dv.define("loss", (), dv.Sum(body * x[b], b))
    check(dv.backprop(loss, wrt=[x]))


def test_a_function_outside_the_table_is_refused_by_name():
    from sympy import Integer

    from derive.derivation.derivation import Derivation
    from derive.language.tensor import Tensor
    from derive.program.program import Equation, Program, Term

    x = dv.tensor("x")
    loss = Tensor("loss", (), (), role="computed", digest="test:loss")
    p = Program((x,), (Equation(loss, (), (Term(Integer(1), (Function("bessel")(x[()]),)),), number=1),))
    d = Derivation("backprop", "odd", p, p, (x,), (("loss", loss), ("grads", {})))
    with pytest.raises(dv.UnsupportedError, match="no source is known for the function bessel; the functions are Abs"):
        nx.compile(d)


def test_names_that_are_keywords_modules_or_code_compute_the_same():
    source = check(CASES["strange_names"]())
    tree = ast.parse(source)
    assert [type(n).__name__ for n in tree.body] == ["Expr", *2 * ["Import"], *2 * ["FunctionDef"]]
    arguments = [a.arg for a in tree.body[-1].args.args]
    assert arguments == ["lambda_", "x_import_os", "B", "jnp_", "dtype"]
    assert "B_size = lambda_.shape[0]" in source


def test_colliding_names_stay_apart():
    b = dv.index("b")
    names = ["x'", "x_prime", "x prime", "loss_and_grads", "b", "dtype", "jax", "lax", "x²", "2x", "None", "print"]
    tensors = [dv.tensor(n, b) for n in names]
    product = 1
    for n, t in enumerate(tensors):
        product = product * (t[b] + n)
    check(dv.backprop(dv.define("B", (), dv.Sum(product, b)), wrt=tensors[:3]), {"B": 2})


@given(st.text(max_size=30))
def test_identifiers_are_identifiers(name):
    found = identifier(name)
    assert found.isidentifier() and found not in RESERVED and not keyword.iskeyword(found) and found.isascii()


@given(st.lists(st.text(max_size=6), max_size=8))
def test_names_are_unique(names):
    pool = Names({"jnp"})
    given_names = [pool.fresh(n) for n in names]
    assert len(set(given_names)) == len(names) and "jnp" not in given_names


@given(st.text(max_size=40))
def test_text_cannot_leave_a_string_or_a_comment(text):
    assert ast.literal_eval(literal(text)) == text
    module = ast.parse(f'"""{comment(text)}\n"""\nx = 1  # {comment(text)}\n')
    assert len(module.body) == 2 and module.body[1].value.value == 1
