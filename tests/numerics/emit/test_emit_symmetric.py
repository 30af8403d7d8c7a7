"""Symmetric blocks, diagonals and added products: each form says what it is, and equals the generic fallback."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from second_order_programs import log_sum_exp, logistic, matrix_factorization, softmax_regression
from sympy import Eq, Piecewise, exp, log, tanh

import derive as dv
import numerics as nx
from numerics.checks.ground import everything
from numerics.emit.source import library
from numerics.reference.sampling import draw_arrays, draw_sizes


def from_text(name):
    """A function of the library, made of the text that generated modules hold."""
    namespace = {"jax": jax, "jnp": jnp, "lax": lax}
    exec("\n".join([*library.imports([name]), *library.sources([name])]), namespace)
    return namespace[name]


gram, class_pairs, products = map(from_text, ("gram", "class_pairs", "products"))


def classes_first():
    """Softmax regression with a kernel of shape (classes, features), and a penalty on it."""
    b, i, k = dv.indices("b i k")
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W, lam = dv.tensor("W", k, i), dv.tensor("lam")
    z = dv.define("z", (b, k), dv.Sum(x[b, i] * W[k, i], i))
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, k]), k)))
    fit = dv.Sum(lse[b] - z[b, label[b]], b) / b.size
    return dv.define("loss", (), fit + lam[()] * dv.Sum(W[k, i] ** 2, k, i) / 2), [W]


def penalized():
    loss, (w,) = logistic()
    i = dv.index("i")
    lam = dv.tensor("lam")
    return dv.define("total", (), loss[()] + lam[()] * dv.Sum(w[i] ** 2, i)), [w]


PROGRAMS = {
    "logistic": (logistic, "gram(x, s * (1 - s))"),
    "softmax_regression": (softmax_regression, "class_pairs(x, "),
    "classes_first": (classes_first, "class_pairs(x, "),
    "log_sum_exp": (log_sum_exp, ".at[k, k].add(dx)"),
    "penalized": (penalized, ".at[i, i].add(2 * lam)"),
    "factorization": (matrix_factorization, "gram(V)"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_form_equals_the_fallback(name, x64):
    make, text = PROGRAMS[name]
    d = dv.hessian(*make())
    kernel = nx.compile(d)
    assert text in kernel.source
    program = everything(d)
    arrays = draw_arrays(program, draw_sizes(program), {}, np.random.default_rng(3), d.wrt)
    given = {t.name: arrays[t.name] for t in kernel.inputs}
    plain = {"gram": "plain", "class-pairs": "plain", "diagonal": "mask", "products": "plain"}
    found, expected = kernel(**given).hessian, nx.compile(d, dense=True)(**given).hessian
    other = nx.compile(d, patterns=plain)
    assert text not in other.source
    for pair, block in expected.items():
        np.testing.assert_allclose(found[pair], block, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(other(**given).hessian[pair], block, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("columns", [3, 127, 128, 200, 700])
def test_strips_cover_the_matrix(columns, x64):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(11, columns)), rng.normal(size=11)
    np.testing.assert_allclose(gram(x, w), (x * w[:, None]).T @ x, atol=1e-12)
    np.testing.assert_allclose(gram(x), x.T @ x, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns", "classes"), [(5, 3, 2), (700, 60, 8), (1200, 60, 8), (3, 2, 1)])
def test_pairs_of_classes_come_back_in_their_places(rows, columns, classes, x64):
    """At 60 columns and 36 pairs, 485 rows are taken at a time: none, one and two times with a rest."""
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(rows, columns)), rng.normal(size=(rows, classes, classes))
    w = w + w.transpose(0, 2, 1)
    expected = np.einsum("bi,bj,bkl->ikjl", x, x, w, optimize=True)
    np.testing.assert_allclose(class_pairs(x, w), expected, atol=1e-10)


@pytest.mark.parametrize("shape", [(4, 30, 40), (300, 6, 7)])
def test_products_are_added(shape, x64):
    rng = np.random.default_rng(2)
    (a, c), (e, f) = ((rng.normal(size=(shape[0], shape[1])), rng.normal(size=(shape[0], shape[2]))) for _ in range(2))
    np.testing.assert_allclose(products((a, c), (e, f)), a.T @ c + e.T @ f, atol=1e-11)


def test_a_product_rule_is_one_product_of_stacked_rows(x64):
    b, i, j, k = dv.indices("b i j k")
    x, y, U, V = dv.tensor("x", b, i), dv.tensor("y", b, k), dv.tensor("U", i, j), dv.tensor("V", j, k)
    h = dv.define("h", (b, j), tanh(dv.Sum(x[b, i] * U[i, j], i)))
    loss = dv.define("loss", (), dv.Sum((dv.Sum(h[b, j] * V[j, k], j) - y[b, k]) ** 2, b, k) / 2)
    d = dv.hvp(loss, [U, V])
    kernel = nx.compile(d)
    line = next(text for text in kernel.source.splitlines() if "V_hvp = " in text)
    assert "products((" in line and "products as stacked" in kernel.source
    arrays = draw_arrays(everything(d), draw_sizes(everything(d)), {}, np.random.default_rng(4), d.wrt)
    given = {t.name: arrays[t.name] for t in kernel.inputs}
    np.testing.assert_allclose(kernel(**given).hvp["V"], nx.compile(d, dense=True)(**given).hvp["V"], rtol=1e-12)


def test_weights_that_are_not_symmetric_are_left_alone():
    """sum_b x[b,i] x[b,i'] (a[b,k] c[b,k'] + [k = k'] a[b,k]): mirrored, it would be wrong."""
    b, i, k = dv.indices("b i k")
    j, l = dv.index("j", i.size), dv.index("l", k.size)
    x, a, c = dv.tensor("x", b, i), dv.tensor("a", b, k), dv.tensor("c", b, k)

    tied = Piecewise((a[b, k], Eq(k, l)), (0, True))
    y = dv.define(
        "y", (i, k, j, l), dv.Sum(x[b, i] * x[b, j] * a[b, k] * c[b, l], b) + dv.Sum(x[b, i] * x[b, j] * tied, b)
    )
    kernel = nx.compile(dv.vjp(y, [x]))
    assert "class_pairs" not in kernel.source


def test_the_choice_is_in_the_header_and_can_be_overruled():
    d = dv.hessian(*logistic())
    assert "gram as strips in (6)" in " ".join(nx.compile(d).source.split())
    assert "gram as plain in (6): asked for" in nx.compile(d, patterns={"gram": "plain"}).source
    small = nx.compile(d, sizes={"I": 8})
    assert "(x * (s * (1 - s))[:, None]).T @ x" in small.source, "few columns are one plain product"
    with pytest.raises(nx.NumericsError, match="gram: strips, plain"):
        nx.compile(d, patterns={"gram": "fast"})
