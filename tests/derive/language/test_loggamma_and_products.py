"""What functions of other libraries are made of: products, running sums, pieces, matrices in text, gamma functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from jax.scipy import special

import derive as dv
import numerics as nx
from numerics.checks.ground import float64


def compiled(text, wrt=("x",), **options):
    t = dv.parse(text)
    d = dv.backprop(t["loss"], wrt=[t[w] for w in wrt])
    found = d.check()
    assert found.proved, str(found)
    return nx.compile(d, **options)


def same(kern, loss, **arrays):
    """Value and gradients are those of the function in JAX."""
    with float64():
        arrays = {n: jnp.asarray(a) for n, a in arrays.items()}
        wrt = [t.name for t in kern.derivation.wrt]
        value, grads = kern(**arrays)
        wanted, slopes = jax.value_and_grad(lambda given: loss(**{**arrays, **given}))({n: arrays[n] for n in wrt})
        np.testing.assert_allclose(value, wanted, rtol=1e-12)
        for n in wrt:
            np.testing.assert_allclose(grads[n], slopes[n], rtol=1e-10, atol=1e-12)


A = np.array([0.7, -1.3, 2.0])
POSITIVE = np.array([0.3, 1.0, 4.5])


@pytest.mark.parametrize(
    "text, function, at",
    [
        ("loggamma(x[i])", special.gammaln, POSITIVE),
        ("digamma(x[i])", special.digamma, POSITIVE),
        ("polygamma(1, x[i])", lambda x: special.polygamma(1, x), POSITIVE),
        ("polygamma(0, x[i])", special.digamma, POSITIVE),
        ("erfinv(x[i])", special.erfinv, np.array([-0.9, 0.0, 0.4])),
        ("ndtri(x[i])", special.ndtri, np.array([1e-6, 0.3, 0.9])),
        ("log_ndtr(x[i])", special.log_ndtr, np.array([-7.0, 0.2, 3.0])),
        ("log_ndtr(2*x[i] - 1/3)", lambda x: special.log_ndtr(2 * x - 1 / 3), A),
        ("erf(2*x[i] - 1/3)", lambda x: special.erf(2 * x - 1 / 3), A),
        ("(log_ndtr(ndtri(x[i])) + log(x[i]))", lambda x: 2 * jnp.log(x), np.array([1e-6, 0.3, 0.9])),
        ("exp(loggamma(x[i]) + loggamma(2) - loggamma(x[i] + 2))", lambda x: special.beta(x, 2.0), POSITIVE),
    ],
)
def test_gamma_functions_and_the_inverse_error_function(text, function, at):
    kern = compiled(f"x: float[i]; a: float[i]; loss = sum[i](a[i]*{text})")
    same(kern, lambda x, a: (a * function(x)).sum(), x=at, a=A)
    value, grads = kern(x=at.astype("float32"), a=A.astype("float32"))
    assert np.isfinite(value) and np.isfinite(grads["x"]).all()


def test_sympys_own_gamma_functions_are_ours_and_whole_numbers_do_not_overflow():
    i = dv.index("i")
    x, n = dv.tensor("x", i), dv.tensor("n", i, dtype="int", below=1000)
    body = sympy.loggamma(x[i]) + sympy.digamma(x[i]) * sympy.loggamma(n[i] + 1) + sympy.polygamma(2, x[i])
    d = dv.backprop(dv.define("loss", (), dv.Sum(body, i)), wrt=[x])
    assert d.check().proved
    value, _ = nx.compile(d)(x=POSITIVE, n=np.array([0, 5, 900]))
    assert np.isfinite(value)
    with pytest.raises(dv.UnsupportedError, match="the order is a whole number"):
        dv.parse("x: float[i]; loss = sum[i](polygamma(x[i], x[i]))")


@pytest.mark.parametrize("zeros", [(), (1,), (0, 2), (0, 1, 2)])
def test_the_derivative_of_a_product_is_right_where_factors_are_zero(zeros):
    kern = compiled("x: float[i]; loss = prod[i](x[i])")
    x = np.array([2.0, 3.0, 4.0])
    x[list(zeros)] = 0
    _, grads = kern(x=x)
    np.testing.assert_allclose(grads["x"], [np.prod(np.delete(x, n)) for n in range(3)])
    t = dv.parse("x: float[i]; loss = prod[i](x[i])")
    h = nx.compile(dv.hessian(t["loss"], wrt=[t["x"]]))(x=x).hessian["x", "x"]
    wanted = [[0 if n == m else np.prod(np.delete(x, [n, m])) for m in range(3)] for n in range(3)]
    np.testing.assert_allclose(h, wanted)


def test_products_of_expressions_over_several_indices_and_under_conditions():
    x = np.random.default_rng(0).normal(size=(3, 4))
    x[1, 2] = 0
    kern = compiled("x: float[b,i]; a: float[b]; loss = sum[b](a[b]*log(prod[i](1 + x[b,i]^2)))")
    same(kern, lambda x, a: (a * jnp.log(jnp.prod(1 + x**2, 1))).sum(), x=x, a=A)
    kern = compiled("x: float[b,i]; loss = prod[b,i](x[b,i]) + 2*prod[i](sum[b](x[b,i]))")
    same(kern, lambda x: jnp.prod(x) + 2 * jnp.prod(x.sum(0)), x=x)
    kern = compiled("index q : I; x: float[i]; loss = sum[i](prod[q](where(q <= i, x[q], 1)))")
    same(kern, lambda x: jnp.cumprod(x).sum(), x=x[1])
    i = dv.index("i")
    y = dv.tensor("x", i)
    d = dv.backprop(dv.define("loss", (), sympy.Product(y[i], (i, 1, i.size - 1))), wrt=[y])
    same(nx.compile(d), lambda x: jnp.prod(x[1:]), x=x[0])


@pytest.mark.parametrize(
    "body, count",
    [
        ("loss = sum[b](w[b]*prod[i](x[b,i]))", 2),
        ("loss = prod[b,i](x[b,i])", 4),
        ("c[b,i] = where(i == 0, x[b,i], c[b,i-1]*x[b,i]); loss = sum[b,i](c[b,i]*w[b])", 1),
        ("c[b,i] = (c[b,i-1] + [i == 0])*x[b,i]*w[b]; loss = sum[b](c[b,I-1])", 2),
    ],
)
def test_running_products_are_cumulative(body, count):
    def meaning(x, w):
        if count == 4:
            return jnp.prod(x)
        if "(c[b,i-1]" in body:
            return jnp.prod(x * w[:, None], axis=1).sum()
        return (w * (jnp.prod(x, 1) if "prod" in body else jnp.cumprod(x, 1).sum(1))).sum()

    x = np.random.default_rng(0).normal(size=(3, 4))
    x[1, 2] = 0
    for options in ({}, {"patterns": {"running-product": "scan"}}, {"dense": True}):
        kern = compiled("x: float[b,i]; w: float[b]; " + body, **options)
        code = kern.source.split("@jax.jit")[1]
        assert code.count("lax.cumprod") == (0 if options else count)
        given = {"x": x, "w": A}
        same(kern, lambda x, w=A: meaning(x, w), **{t.name: given[t.name] for t in kern.inputs})


def test_running_sums_are_cumulative():
    text = "index k : I; x: float[b,i]; w: float[b]; v: float[i]; loss = sum[b,i](v[i]*tanh(y[b,i])); y[b,i] = "
    x = np.random.default_rng(0).normal(size=(3, 4))
    given = {"x": x, "w": A, "v": np.arange(4.0)}
    for body, meaning in (
        ("w[b]*sum[k](x[b,k]^2*[k <= i])", lambda x, w: w[:, None] * jnp.cumsum(x**2, 1)),
        ("w[b]*sum[k]([i <= k]*x[b,k])", lambda x, w: w[:, None] * jnp.cumsum(x[:, ::-1], 1)[:, ::-1]),
    ):
        kern = compiled(text + body)
        assert kern.source.count("lax.cumsum") == 2 and "reverse=True" in kern.source
        loss = lambda x, w, v, meaning=meaning: (v * jnp.tanh(meaning(x, w))).sum()  # noqa: E731
        same(kern, loss, **given)
        same(compiled(text + body, patterns={"running-sum": "mask"}), loss, **given)
        same(compiled(text + body, dense=True), loss, **given)


def test_pieces_end_to_end_are_a_concatenation_and_a_stride_is_a_slice():
    text = "index m : I+J+2; x: float[i]; z: float[j]; w: float[m]; loss = sum[m](w[m]*y[m]^2); "
    text += "y[m] = piecewise((tanh(x[m]), m < I), (3, m < I + 2), z[m-I-2])"
    given = {"x": np.array([1.0, -2.0]), "z": A, "w": np.arange(7.0)}
    for options in ({}, {"dense": True}):
        kern = compiled(text, ("x", "z"), **options)
        same(kern, lambda x, z, w: (w * jnp.concatenate((jnp.tanh(x), jnp.full(2, 3.0), z)) ** 2).sum(), **given)
    assert "jnp.concatenate" in compiled(text, ("x", "z")).source
    kern = compiled("index u : I//2; x: float[i]; loss = sum[u](x[2*u]^3)", sizes={"I": 5})
    same(kern, lambda x: (x[:4:2] ** 3).sum(), x=np.arange(1.0, 6.0))


@pytest.mark.parametrize(
    "body", ["x[m]", "where(m < I + 1, x[m], 0)", "where(m < I, 1, x[m])", "where(m < J, x[m], 0)"]
)
def test_a_read_that_no_condition_keeps_inside_is_refused(body):
    t = dv.parse(f"index m : I+J; x: float[i]; y[m] = {body}; loss = sum[m](y[m])")
    with pytest.raises(dv.ShapeError, match=r"index m has size I \+ J, but axis 0 of x has size I"):
        dv.backprop(t["loss"], wrt=[t["x"]])


@pytest.mark.parametrize(
    "body, meaning",
    [
        (
            "logdet(A) + sum[i,j](y[i]*inv(A)[i,j]*y[j])",
            lambda A, y: jnp.linalg.slogdet(A)[1] + y @ jnp.linalg.inv(A) @ y,
        ),
        ("log(det[p,q](A[p,q] + [p == q])) * y[0]", lambda A, y: jnp.linalg.slogdet(A + jnp.eye(3))[1] * y[0]),
        ("sum[i](inverse[p,q](A[p,q] + y[p]*[p == q])[i,i])", lambda A, y: jnp.trace(jnp.linalg.inv(A + jnp.diag(y)))),
    ],
)
def test_matrix_functions_in_text(body, meaning):
    kern = compiled(f"index i j p q : N; A: float[i,j]; y: float[i]; loss = {body}", ("A",))
    X = np.random.default_rng(0).normal(size=(3, 3))
    same(kern, meaning, A=X @ X.T + np.eye(3), y=np.abs(A))


@pytest.mark.parametrize(
    "body, error, said",
    [
        ("inv(A)", dv.ParseError, "read at an element, as in inv"),
        ("logdet(y)", dv.ShapeError, "takes the name of a matrix"),
        ("det()", dv.ShapeError, "takes the name of a matrix"),
        ("sum[i](inv(A)[i])", dv.IndexCaptureError, "the two indices of the matrix"),
        ("logdet[i,b](C[i,b])", dv.ShapeError, "only a square one has"),
        ("sum[i](logdet[i,j](A[i,j]))", dv.IndexCaptureError, "already in use"),
    ],
)
def test_matrix_functions_in_text_that_make_no_sense(body, error, said):
    with pytest.raises(error, match=said):
        dv.parse(f"index i j : N; A: float[i,j]; y: float[i]; C: float[i,b]; loss = {body}")
