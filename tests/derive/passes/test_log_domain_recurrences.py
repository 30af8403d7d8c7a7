"""Log-sum-exp of several tensors, and carried by a recurrence: finite and right at float32 extremes (law 13)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx

RNG = np.random.default_rng(0)


def arrays(*shape, scale=1.0):
    return (scale * RNG.normal(size=shape)).astype(np.float32)


def close(grads, want, tolerance=2e-3):
    for name, g in want.items():
        g = np.asarray(g)
        assert np.isfinite(grads[name]).all(), name
        np.testing.assert_allclose(grads[name], g, atol=tolerance * np.abs(g).max(), err_msg=name)


def hmm():
    b, t = dv.indices("b t")
    j, k = dv.indices("j k", size="K")
    u, A = dv.tensor("u", b, t, k), dv.tensor("A", j, k)
    al = dv.define(
        "al",
        (t, b, k),
        lambda al: (
            u[b, t, k]
            + sympy.Piecewise((0, sympy.Eq(t, 0)), (sympy.log(dv.Sum(sympy.exp(al[t - 1, b, j] + A[j, k]), j)), True))
        ),
    )
    loss = dv.define("l", (), dv.Sum(sympy.log(dv.Sum(sympy.exp(al[t.size - 1, b, k]), k)), b) / b.size)
    return dv.backprop(loss, wrt=[u, A])


def hmm_reference(u, A):
    def step(a, e):
        return jax.nn.logsumexp(a[:, :, None] + A, 1) + e, None

    rows = u.swapaxes(0, 1)
    a, _ = jax.lax.scan(step, rows[0], rows[1:])
    return jax.nn.logsumexp(a, 1).mean()


@pytest.mark.parametrize(("T", "scale", "shift"), [(1, 1, 0), (8, 1, -5), (1000, 1, -5), (1000, 1, 5), (64, 100, 0)])
def test_the_forward_algorithm(T, scale, shift):
    kern = nx.compile(hmm())
    u, A = arrays(3, T, 4, scale=scale) + np.float32(shift), arrays(4, 4, scale=scale)
    loss, grads = kern(u=u, A=A)
    want, slopes = jax.value_and_grad(hmm_reference, (0, 1))(jnp.asarray(u), jnp.asarray(A))
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    close(grads, {"u": slopes[0], "A": slopes[1]})


def test_the_forward_algorithm_is_proved():
    d = hmm()
    assert all(row.verdict == "proved" for row in d.check().rows)
    report = nx.verify(nx.compile(d))
    assert report.ok, str(report)


@pytest.mark.parametrize("loss", ["l[b,k]^2", "l[b,k]*l[b,k]*w[k]", "sin(l[b,k])"])
def test_log_matmul(loss):
    t = dv.parse(
        "x: float[b,j] parameter\nA: float[j,k] parameter\nw: float[k]\nl[b,k] = log(sum[j](exp(x[b,j]+A[j,k])))\n"
        f"loss = sum[b,k]({loss})"
    )
    d = dv.backprop(t["loss"], wrt=[t["x"], t["A"]])
    assert not any(row.verdict == "refuted" for row in d.check().rows)
    kern = nx.compile(d)
    x, A, w = arrays(2, 3, scale=100), arrays(3, 4, scale=100), arrays(4)
    outer = {"l[b,k]^2": lambda l: l**2, "sin(l[b,k])": jnp.sin}.get(loss, lambda l: l * l * w)

    def reference(x, A):
        return outer(jax.nn.logsumexp(x[:, :, None] + A, axis=1)).sum()

    inputs = {"x": x, "A": A} | ({"w": w} if "w" in loss else {})
    value, grads = kern(**inputs)
    want, slopes = jax.value_and_grad(reference, (0, 1))(jnp.asarray(x), jnp.asarray(A))
    np.testing.assert_allclose(value, want, rtol=1e-4)
    close(grads, {"x": slopes[0], "A": slopes[1]})


def test_a_sum_over_both_indices_of_a_shared_exponent():
    t = dv.parse(
        "x: float[b,j] parameter\nA: float[j,k] parameter\nl[b] = log(sum[j,k](exp(x[b,j]+A[j,k])))\nloss = sum[b](l[b]^2)"
    )
    kern = nx.compile(dv.backprop(t["loss"], wrt=[t["x"], t["A"]]))
    x, A = arrays(2, 3, scale=100), arrays(3, 4, scale=100)

    def reference(x, A):
        return (jax.nn.logsumexp(x[:, :, None] + A, axis=(1, 2)) ** 2).sum()

    value, grads = kern(x=x, A=A)
    want, slopes = jax.value_and_grad(reference, (0, 1))(jnp.asarray(x), jnp.asarray(A))
    np.testing.assert_allclose(value, want, rtol=1e-4)
    close(grads, {"x": slopes[0], "A": slopes[1]})
