"""The independent forward: every function and construct, against plain NumPy and jax.nn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
from derive.exact.functions import FUNCTIONS as LANGUAGE
from derive.language.functions import FUNCTIONS as ROWS
from derive.program.ingest import ingest
from numerics.checks.ground import float64
from numerics.reference.functions import RULES
from numerics.reference.grid import size_value
from numerics.reference.programs import evaluate


def run(tensor, sizes, xp=np, conventions=False, **arrays):
    bound = {dv.size(n): v for n, v in sizes.items()}
    with float64():
        return np.asarray(evaluate(ingest([tensor]), arrays, bound, xp, conventions)[tensor.name])


def test_the_table_has_every_function_of_the_language():
    structural = {"Pow", "Piecewise", "Iverson", "Unknown"}  # nodes with rules of their own, and one that has none
    assert set(LANGUAGE) - set(RULES) == structural
    assert set(RULES) <= set(LANGUAGE)


@pytest.mark.parametrize("name", sorted(RULES))
def test_numpy_and_jax_agree_on_every_function(name):
    low, high = np.clip(ROWS[name].domain, -2, 3)
    x = low + (high - low) * np.array([0.85, 0.1, 0.35])
    arguments = (x, x[::-1])[: ROWS[name].nargs]
    with float64():
        np.testing.assert_allclose(
            RULES[name](np, *arguments), RULES[name](jnp, *map(jnp.asarray, arguments)), rtol=1e-12
        )


@pytest.mark.parametrize("xp", [np, jnp])
def test_reads_out_of_range_are_zero_and_strides_and_diagonals_work(xp):
    i, u = dv.index("i"), dv.index("u", size="U")
    x = dv.tensor("x", i)
    a = np.array([1.0, 2.0, 3.0, 4.0])
    shifted = dv.define("s", (i,), x[i + 1] - x[i - 1])
    np.testing.assert_allclose(run(shifted, {"I": 4}, xp, x=a), [2, 2, 2, -3])
    strided = dv.define("s", (u,), x[2 * u])
    np.testing.assert_allclose(run(strided, {"I": 4, "U": 3}, xp, x=a), [1, 3, 0])
    p, q = dv.indices("p q", size="N")
    A = dv.tensor("A", p, q)
    square = np.arange(9.0).reshape(3, 3)
    np.testing.assert_allclose(run(dv.define("d", (p,), A[p, p]), {"N": 3}, xp, A=square), [0, 4, 8])
    np.testing.assert_allclose(run(dv.define("t", (p, q), A[q, p]), {"N": 3}, xp, A=square), square.T)


@pytest.mark.parametrize("xp", [np, jnp])
def test_gathers_maxes_and_pieces(xp):
    b, k = dv.indices("b k")
    z, label = dv.tensor("z", b, k), dv.tensor("label", b, dtype="int", below=k.size)
    values, labels = np.random.default_rng(0).normal(size=(4, 3)), np.array([2, 0, 2, 1])
    given = {"z": values, "label": labels}
    sizes = {"B": 4, "K": 3}
    np.testing.assert_allclose(
        run(dv.define("g", (b,), z[b, label[b]]), sizes, xp, **given), values[np.arange(4), labels]
    )
    np.testing.assert_allclose(run(dv.define("m", (b,), dv.Max(z[b, k], k)), sizes, xp, **given), values.max(axis=1))
    np.testing.assert_array_equal(
        run(dv.define("n", (b,), dv.argmax(z[b, k], k)), sizes, xp, **given), values.argmax(axis=1)
    )
    pieces = sympy.Piecewise((sympy.log(z[b, k]), z[b, k] > 0), (z[b, k] ** 2, True))
    with np.errstate(all="ignore"):
        expected = np.where(values > 0, np.log(np.abs(values)), values**2)
    np.testing.assert_allclose(run(dv.define("q", (b, k), pieces), sizes, xp, **given), expected)


def test_the_gradient_of_an_unselected_branch_is_zero_and_not_nan():
    (i,) = dv.indices("i")
    x = dv.tensor("x", i)
    loss = dv.define("loss", (), dv.Sum(sympy.Piecewise((sympy.sqrt(x[i]), x[i] > 0), (0, True)), i))
    program = ingest([loss])
    with float64():
        g = jax.grad(lambda a: evaluate(program, {"x": a}, {i.size: 3})["loss"])(jnp.array([4.0, 0.0, -1.0]))
    np.testing.assert_allclose(g, [0.25, 0, 0])


@pytest.mark.parametrize("xp", [np, jnp])
def test_a_recurrence_is_a_loop_from_zero(xp):
    t, l = dv.indices("t l")
    m = dv.index("m", size=l.size)
    x, U = dv.tensor("x", t, l), dv.tensor("U", m, l)
    h = dv.define("h", (t, l), lambda h: sympy.tanh(x[t, l] + dv.Sum(h[t - 1, m] * U[m, l], m)))
    rng = np.random.default_rng(0)
    xs, Us = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    state, expected = np.zeros(3), []
    for row in xs:
        state = np.tanh(row + state @ Us)
        expected.append(state)
    np.testing.assert_allclose(run(h, {"T": 4, "L": 3}, xp, x=xs, U=Us), expected, rtol=1e-12)


def test_ties_follow_the_conventions_on_request():
    (i,) = dv.indices("i")
    x = dv.tensor("x", i)
    top = dv.define("top", (), dv.Max(x[i], i))
    size = dv.define("size", (), dv.Sum(sympy.Abs(x[i]), i))
    pair = dv.define("pair", (), dv.Sum(dv.maximum(x[i], 1), i))
    for program, name, ours, theirs in (
        (ingest([top]), "top", [0, 1, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3]),
        (ingest([size]), "size", [0, 1, 1, 1], [1, 1, 1, 1]),
        (ingest([pair]), "pair", [0, 1, 1, 1], [0, 0.5, 0.5, 0.5]),
    ):
        with float64():
            found = [
                jax.grad(lambda a, c=c, p=program, n=name: evaluate(p, {"x": a}, {i.size: 4}, jnp, c)[n])(
                    jnp.array([0.0, 1.0, 1.0, 1.0])
                )
                for c in (True, False)
            ]
        np.testing.assert_allclose(found[0], ours)
        np.testing.assert_allclose(found[1], theirs, atol=1e-12)


def test_sizes_are_exact_and_must_be_whole():
    H, S = dv.size("H"), dv.size("S")
    assert size_value((H - 3) // S + 1, {H: 8, S: 2}) == 3
    with pytest.raises(dv.ShapeError, match="size H/2 is 7/2, not a whole number"):
        size_value(H / 2, {H: 7})
    with pytest.raises(dv.ShapeError, match="S has no value"):
        size_value(H + S, {H: 7})


def test_a_missing_input_is_named():
    (i,) = dv.indices("i")
    loss = dv.define("loss", (), dv.Sum(dv.tensor("x", i)[i], i))
    with pytest.raises(dv.ShapeError, match="no array for the input x"):
        evaluate(ingest([loss]), {}, {i.size: 2}, np)


@pytest.mark.parametrize("xp", [np, jnp])
def test_functions_of_plain_numbers_are_evaluated(xp):
    (i,) = dv.indices("i")
    x = dv.tensor("x", i)
    body = x[i] * (dv.relu(sympy.Rational(-1, 2)) + dv.maximum(1, 2) + sympy.exp(1) + sympy.pi + sympy.sqrt(2))
    found = run(dv.define("s", (i,), body), {"I": 2}, xp, x=np.array([1.0, 2.0]))
    np.testing.assert_allclose(found, np.array([1.0, 2.0]) * (2 + np.e + np.pi + np.sqrt(2)))
