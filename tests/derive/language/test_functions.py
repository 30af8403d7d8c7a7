"""The table of scalar functions: every column of every row is what it says, and a gap is an error that names it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from jax import lax
from jax.scipy import special

import derive as dv
from derive.exact.functions import FUNCTIONS as CHECKER
from derive.exact.functions import compared
from derive.language.formulas.tree import ELEMENTWISE
from derive.language.functions import COLUMNS, FUNCTIONS, NAMES, OWN, STRUCTURAL, ScalarFunction
from derive.language.text.expressions import POINTWISE, UNARY
from derive.show.formulas.expressions import APPLIED, SHAPED
from derive.show.formulas.mathml import APPLIED as MATHML
from derive.show.formulas.tex import COMMANDS
from numerics.checks.ground import float64
from numerics.reference.functions import OWN as OWN_RULES
from numerics.reference.functions import RULES, rule

ROWS = FUNCTIONS.values()
ORDERS = {"polygamma": np.array([1.0, 2.0, 3.0])}  # what stands before the argument and is no argument itself


def test_every_reader_of_the_table_has_every_row_and_none_besides():
    assert set(CHECKER) == NAMES == {*FUNCTIONS, *STRUCTURAL}
    assert {f.__name__ for f in (*UNARY.values(), *POINTWISE.values()) if isinstance(f, type)} == set(FUNCTIONS)
    assert {n for f in ROWS for n in f.text} == {*UNARY, *POINTWISE} - {"sqrt"}
    assert {f.text[0] for f in ROWS if f.nargs == 1} == set(ELEMENTWISE) - {"sqrt"}
    assert {f.form for f in ROWS} - set(APPLIED) - set(SHAPED) == set()
    assert {f.text[0] for f in ROWS} <= set(COMMANDS) & set(MATHML)
    assert set(RULES) == set(FUNCTIONS)
    assert {f.name for f in ROWS if f.numpy == OWN} == set(OWN_RULES)


def inside(f: ScalarFunction) -> np.ndarray:
    low, high = max(f.domain[0], -2.0), min(f.domain[1], 2.0)
    return low + (high - low) * np.array([0.15, 0.4, 0.85])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jax_and_numpy_columns_are_the_function(name):
    f = FUNCTIONS[name]
    at = [inside(f), inside(f)[::-1] * 0.9][: f.nargs]
    at[0] = ORDERS.get(name, at[0])
    home, _, call = f.jax.rpartition(".")
    with float64():
        called = {"jnp": jnp, "lax": lax, "jax.nn": jax.nn, "jax.scipy.special": special}[home] if home else None
        ours = at[0] if called is None else getattr(called, call)(*map(jnp.asarray, at), *f.jax_more)
        np.testing.assert_allclose(ours, RULES[name](np, *at), rtol=1e-12)
    np.testing.assert_allclose(ours, [meant(f.form, p) for p in zip(*at, strict=True)], rtol=1e-9)


def meant(form: type, point) -> float:
    """The function as SymPy knows it, ours by their definitions."""
    known = {
        dv.relu: lambda x: sympy.Max(x, 0),
        dv.maximum: sympy.Max,
        dv.minimum: sympy.Min,
        dv.stop_gradient: lambda x: x,
    }
    point = [sympy.Integer(int(p)) if form is dv.polygamma and n == 0 else sympy.Float(p) for n, p in enumerate(point)]
    return float(known.get(form, getattr(form, "definition", form))(*point).evalf())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_derivative_exists_inside_the_domain_and_not_beyond(name):
    f = FUNCTIONS[name]
    x = sympy.Dummy("x", real=True)
    order = [sympy.Integer(2)] if name in ORDERS else []
    slope = f.form(*[*order, x, sympy.Integer(0)][: f.nargs]).fdiff(1 + len(order))
    for p in inside(f):
        assert sympy.re(slope.subs(x, sympy.Float(p))).is_finite is not False
    for edge in f.domain:
        if math.isfinite(edge):
            value = f.form(*order, sympy.Integer(int(edge)))
            limit = slope.subs(x, sympy.Integer(int(edge)))
            assert not (value.is_finite and limit.is_finite), name


def test_what_keeps_integers_gives_them():
    for f in (f for f in ROWS if f.keeps_integers):
        found = RULES[f.name](np, *[np.array([-2, 0, 3]), np.array([1, 1, 1])][: f.nargs])
        assert np.array_equal(found, np.rint(found)), f.name


@pytest.mark.parametrize("column", COLUMNS)
def test_a_row_without_a_column_is_an_error_that_names_it(column):
    whole = {"form": sympy.sec, "text": ("sec",), "latex": r"\sec", "mathml": "sec", "jax": "jnp.sec", "numpy": "sec"}
    ScalarFunction(**whole)
    with pytest.raises(dv.DeriveError, match=f"function sec: the column {column} is missing; it is .*"):
        ScalarFunction(**{**whole, column: type(whole[column])()})


def test_a_function_in_one_table_only_is_an_error_that_names_it_and_the_table():
    with pytest.raises(
        dv.DeriveError, match="function sec has a row in derive.language.functions and none in derive.exact"
    ):
        compared({*NAMES, "sec"}, NAMES)
    with pytest.raises(
        dv.DeriveError, match="function sec has a row in derive.exact.functions and none in derive.language"
    ):
        compared(NAMES, {*NAMES, "sec"})


@pytest.mark.parametrize("column", ["sec", "linalg.inv", OWN])
def test_what_the_evaluator_cannot_call_is_an_error_that_names_it(column):
    row = ScalarFunction(sympy.sec, 1, ("sec",), r"\sec", "sec", "jnp.sec", column)
    with pytest.raises(dv.UnsupportedError, match=f"function sec: its column numpy is '{column}'"):
        rule(row)
