"""Every scalar function of the checker: its value, its tangent rule, and its laws mod p."""

import random
from fractions import Fraction

import mpmath
import pytest
import sympy

from derive.exact.field import DualField, ModularField, RationalField, RealField, Undefined
from derive.exact.functions import FUNCTIONS
from derive.exact.modular import P
from derive.language import nodes
from derive.language.functions import FUNCTIONS as LANGUAGE
from derive.language.functions import NAMES

CANDIDATES = ("-1.3", "-0.6", "0.3", "0.45", "1.7", "2.5")
POINTS = {f.name: [p for p in CANDIDATES if f.domain[0] < float(p) < f.domain[1]] for f in LANGUAGE.values()}
UNARY = [n for n, p in FUNCTIONS.items() if p.nargs == 1]
BINARY = [n for n, p in FUNCTIONS.items() if p.nargs == 2 and n != "polygamma"]  # whose first argument is no number
OWN = {n: f.form for n, f in LANGUAGE.items() if f.form.__module__ == nodes.__name__}


def test_the_checker_knows_every_function_of_the_language():
    assert set(FUNCTIONS) == NAMES


def modular(seed=0):
    return ModularField(random.Random(seed))


def arg(*values):
    return tuple((Fraction(1), v) for v in values)


def sympy_value(name, *points):
    """The function as SymPy knows it, to 60 digits; ours by their definitions."""
    meaning = {
        "relu": lambda x: sympy.Max(x, 0),
        "maximum": sympy.Max,
        "minimum": sympy.Min,
        "stop_gradient": lambda x: x,
        "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
        "logaddexp": lambda a, b: sympy.log(sympy.exp(a) + sympy.exp(b)),
        "softplus": lambda x: sympy.log(1 + sympy.exp(x)),
        "ndtri": lambda p: sympy.sqrt(2) * sympy.erfinv(2 * p - 1),
        "log_ndtr": lambda x: sympy.log(sympy.erfc(-x / sympy.sqrt(2)) / 2),
    }.get(name) or getattr(sympy, name)
    return meaning(*(sympy.Rational(p) for p in points)).evalf(60)


@pytest.mark.parametrize("name", UNARY)
def test_real_value_is_sympys(name):
    F = RealField()
    for point in POINTS[name]:
        got = F.call(name, arg(F.mp.mpf(Fraction(point).numerator) / Fraction(point).denominator))
        assert abs(got - F.mp.mpf(str(sympy_value(name, point)))) < F.mp.mpf(10) ** -50, (name, point)


@pytest.mark.parametrize("name", UNARY)
def test_tangent_is_the_numerical_derivative(name):
    F = RealField()
    D = DualField(F)
    for point in POINTS[name]:
        x = F.rational(Fraction(point))
        value, tangent = D.call(name, ((Fraction(1), (x, F.one)),))
        if name == "stop_gradient":
            assert value == x and tangent == 0
            continue
        step = F.mp.mpf(10) ** -20
        wanted = (F.call(name, arg(x + step)) - F.call(name, arg(x - step))) / (2 * step)
        assert abs(tangent - wanted) < F.mp.mpf(10) ** -35, (name, point, tangent, wanted)


@pytest.mark.parametrize("name", BINARY)
def test_tangents_of_two_arguments(name):
    F = RealField()
    D = DualField(F)
    for a, b in (("0.3", "1.1"), ("1.1", "0.3")):
        x, y = F.rational(Fraction(a)), F.rational(Fraction(b))
        value, tangent = D.call(name, ((Fraction(1), (x, F.mp.mpf(2))),), ((Fraction(1), (y, F.mp.mpf(5))),))
        if name == "logaddexp":
            share = 1 / (1 + F.mp.exp(y - x))
            assert abs(value - F.mp.mpf(str(sympy_value(name, a, b)))) < F.mp.mpf(10) ** -50
            assert abs(tangent - 2 * share - 5 * (1 - share)) < F.mp.mpf(10) ** -50
            continue
        if name == "atan2":
            assert abs(value - F.mp.atan2(x, y)) < F.mp.mpf(10) ** -50
            assert abs(tangent - (2 * y - 5 * x) / (x**2 + y**2)) < F.mp.mpf(10) ** -50
            continue
        assert value == F.mp.mpf(str(sympy_value(name, a, b))) or abs(value - x) * abs(value - y) == 0
        assert tangent == (2 if value == x else 5)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_polygamma_is_the_derivative_of_the_one_before(order):
    F = RealField()
    D = DualField(F)
    x = F.rational(Fraction(7, 3))
    value, tangent = D.call("polygamma", ((Fraction(order), D.one),), ((Fraction(1), (x, F.mp.mpf(2))),))
    assert abs(value - F.mp.psi(order, x)) < F.mp.mpf(10) ** -50
    assert abs(tangent - 2 * F.mp.psi(order + 1, x)) < F.mp.mpf(10) ** -50
    M = modular()
    assert M.call("polygamma", ((1, M.one),), arg(5)) != M.call("polygamma", ((2, M.one),), arg(5))


def test_a_tie_goes_to_the_first_argument():
    F = RealField()
    D = DualField(F)
    for name in set(BINARY) - {"logaddexp", "atan2"}:  # which have no kink
        _, tangent = D.call(name, ((Fraction(1), (F.one, F.mp.mpf(2))),), ((Fraction(1), (F.one, F.mp.mpf(5))),))
        assert tangent == 2, name


def test_kinks_at_zero():
    D = DualField(RealField())
    for name in ("relu", "Abs", "sign"):
        _, tangent = D.call(name, ((Fraction(1), (D.base.zero, D.base.one)),))
        assert tangent == 0, name


@pytest.mark.parametrize("name", [n for n in UNARY if FUNCTIONS[n].rational is not None])
def test_rational_rules_are_the_real_ones(name):
    F, R = RationalField(), RealField()
    for q in (Fraction(-7, 3), Fraction(0), Fraction(5, 2)):
        exact = F.call(name, arg(q))
        assert isinstance(exact, Fraction)
        assert abs(R.rational(exact) - R.call(name, arg(R.rational(q)))) < 1e-50


def test_rationals_stay_exact_where_they_can():
    F = RationalField()
    assert F.power(Fraction(9, 4), Fraction(-3, 2)) == Fraction(8, 27)
    assert F.call("exp", arg(Fraction(0))) == 1 and F.call("sigmoid", arg(Fraction(0))) == Fraction(1, 2)
    two = F.power(Fraction(2), Fraction(1, 2))
    assert abs(two * two - 2) < 1e-60 and F.sign(F.sub(two, Fraction(1))) == 1
    assert abs(F.call("tanh", arg(Fraction(1))) - mpmath.mpf("0.76159415595576488811945828260479")) < 1e-15


# -- laws mod p ----------------------------------------------------------------------------------------------------


def test_exp_is_a_homomorphism_of_terms():
    F = modular()
    a, b = F.draw(), F.draw()
    both = F.exp(((1, a), (1, b)))
    assert both == F.mul(F.exp(arg(a)), F.exp(arg(b)))
    assert F.mul(F.exp(((-1, a),)), F.exp(arg(a))) == 1
    assert F.mul(F.exp(((Fraction(1, 2), a),)), F.exp(((Fraction(1, 2), a),))) == F.exp(arg(a))
    assert F.power(F.exp(arg(a)), Fraction(1, 2)) == F.exp(((Fraction(1, 2), a),))
    assert F.exp(()) == 1 and F.exp(((1, 0),)) == 1


def test_exp_sees_through_registered_sums_and_multiples():
    F = modular()
    a, b = F.draw(), F.draw()
    z = F.add(F.mul(3, a), b)
    F.register(z, ((3, a), (1, b)))
    assert F.exp(arg(z)) == F.mul(F.power(F.exp(arg(a)), 3), F.exp(arg(b)))
    assert F.exp(arg(F.mul(2, a))) == F.power(F.exp(arg(a)), 2)
    assert F.exp(arg(F.neg(z))) == F.div(1, F.exp(arg(z)))


def test_exp_and_log_are_inverse():
    F = modular()
    v = F.draw()
    assert F.exp(arg(F.log(v))) == v
    assert F.exp(((-2, F.log(v)),)) == F.power(v, -2)
    assert F.log(F.power(v, -1)) == F.neg(F.log(v))
    a = F.draw()
    assert F.log(F.exp(arg(a))) == a
    assert F.log(1) == 0
    with pytest.raises(Undefined, match="log of zero"):
        F.log(0)


def test_different_arguments_give_different_values():
    F = modular()
    a, b = F.draw(), F.draw()
    for name in ("exp", "sin", "cos", "erf", "atan", "tanh", "sigmoid", "softplus", "floor"):
        assert F.call(name, arg(a)) != F.call(name, arg(b)), name
    assert F.exp(arg(F.add(a, b))) != F.exp(arg(a))


def test_circle():
    F = modular()
    a, b = F.draw(), F.draw()
    cos, sin = F.turn(arg(a))
    assert F.add(F.mul(cos, cos), F.mul(sin, sin)) == 1
    assert F.call("cos", ((-1, a),)) == cos and F.call("sin", ((-1, a),)) == F.neg(sin)
    cos_b, sin_b = F.turn(arg(b))
    assert F.call("sin", arg(a, b)) == F.add(F.mul(sin, cos_b), F.mul(cos, sin_b))
    assert F.call("cos", ((2, a),)) == F.sub(F.mul(2, F.mul(cos, cos)), 1)
    assert F.call("cos", arg(F.pi)) == P - 1 and F.call("sin", ((Fraction(1, 2), F.pi),)) == 1


def test_roots_are_multiplicative_and_positive():
    F = modular()
    a, b = F.draw_positive(), F.draw_positive()
    for q in (Fraction(1, 2), Fraction(1, 3), Fraction(3, 4), Fraction(-1, 2)):
        assert F.mul(F.power(a, q), F.power(b, q)) == F.power(F.mul(a, b), q)
    assert F.mul(F.power(a, Fraction(-1, 2)), F.power(a, Fraction(1, 2))) == 1
    v = F.draw()
    assert F.power(F.mul(v, v), Fraction(1, 2)) == F.call("Abs", arg(v))
    assert F.sign(v) == -F.sign(F.neg(v)) and F.sign(F.exp(arg(v))) == 1
    minus_square = F.neg(F.mul(v, v))
    with pytest.raises(Undefined, match="no root"):
        F.power(minus_square, Fraction(1, 2))
    with pytest.raises(Undefined):
        F.power(0, -1)


def test_orders_and_atoms_are_reported():
    F = modular()
    assert not F.used
    F.mul(F.draw(), 3)
    assert not F.used
    F.call("relu", arg(F.draw()))
    assert F.used == {"order"}
    F.call("erf", arg(F.draw()))
    assert F.used == {"order", "atom"}


@pytest.mark.parametrize("name", [n for n in UNARY if n not in ("floor", "sign", "stop_gradient", "Abs", "relu")])
def test_modular_tangents_obey_the_chain_rule_of_identities(name):
    """d f(3x + 2) along x is 3 f'(3x + 2), and second derivatives through nested duals are symmetric."""
    F = modular(3)
    D = DualField(F)
    H = DualField(D)
    for _ in range(200):
        x = F.draw()
        try:
            inner = F.add(F.mul(3, x), 2)
            _, whole = D.call(name, ((Fraction(3), (x, 1)), (Fraction(2), (1, None))))
            _, slope = D.call(name, ((Fraction(3), (x, None)), (Fraction(2), (1, None)), (Fraction(1), (0, 1))))
            assert whole == F.mul(3, slope)
            y = H.call(name, ((Fraction(1), ((inner, 1), (7, None))),))
            z = H.call(name, ((Fraction(1), ((inner, 7), (1, None))),))
            assert y[1][1] == z[1][1]
            return
        except Undefined:
            continue
    pytest.fail(f"no draw gives {name} a value")
