"""nx.check_vjp: the kinds of backward passes, structures, lengths, what is said of a value, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_backwards import normal

import derive as dv
import numerics as nx


def custom(f, fwd, bwd, **options):
    made = jax.custom_vjp(f, **options)
    made.defvjp(fwd, bwd)
    return made


def test_structures_options_and_several_results():
    def lin(params, x, act):
        h = x @ params["w"] + params["b"]
        return {"h": h, "s": jnp.sum(h**2)}

    def bwd(right, act, residuals, ct):
        params, x = residuals
        dh = ct["h"] + 2 * (x @ params["w"] + params["b"]) * ct["s"]
        return {"w": x.T @ dh, "b": dh.sum(0) if right else dh.mean(0)}, dh @ params["w"].T

    args = ({"w": normal(3, 4), "b": normal(4)}, normal(5, 3), "relu")
    for right in (True, False):
        f = custom(lin, lambda p, x, a: (lin(p, x, a), (p, x)), functools.partial(bwd, right), nondiff_argnums=(2,))
        report = nx.check_vjp(f, *args, axes={"x": "B I"})
        assert report.ok == right and report["w"].ok and report["x"].ok
    assert report["b"].kind == "factor" and "1/B" in report["b"].text


def test_integers_are_not_differentiated_and_repeated_ones_add():
    def bwd(residuals, dy):
        table, at = residuals
        return jnp.zeros_like(table).at[at].set(dy), None

    f = custom(lambda table, at: table[at], lambda table, at: (table[at], (table, at)), bwd)
    report = nx.check_vjp(f, normal(5, 3), np.array([0, 2, 1, 2]))
    assert [v.tensor for v in report.verdicts] == ["table"] and not report.ok
    assert report["table"].kind == "repeated index" and "yours keeps the last of them" in report["table"].text


def test_conditions_are_met_both_ways_also_under_jit():
    def leaky(x):
        return jnp.where(x > 0, x, 0.1 * x)

    right = custom(leaky, lambda x: (leaky(x), x), lambda x, dy: (jnp.where(x > 0, dy, 0.1 * dy),))
    report = nx.check_vjp(jax.jit(right), normal(4, 3))
    assert report.ok and len(report.coverage.seen) == 2
    wrong = custom(leaky, lambda x: (leaky(x), x), lambda x, dy: (dy,))
    assert not nx.check_vjp(wrong, np.ones((4, 3), "f")).ok  # right where the arguments are


def test_numbers_with_none_are_held_and_float32_inside_is_said():
    def norm(x, eps=1e-3):
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps)

    def bwd(right, residuals, dy):
        x, eps = residuals[0].astype(jnp.float32), residuals[1] if right else 0
        r = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps)
        dx = r * (dy - x * r * jnp.mean(dy * x * r, -1, keepdims=True))
        return dx.astype(residuals[0].dtype), None

    f = custom(norm, lambda x, eps: (norm(x, eps), (x, eps)), functools.partial(bwd, True))
    for report in (nx.check_vjp(f, normal(4, 6)), nx.check_vjp(lambda x: f(x, 1e-2), normal(4, 6))):
        assert (
            report.ok
            and [v.tensor for v in report.verdicts] == ["x"]
            and any("narrower float" in n for n in report.notes)
        )


def test_what_float32_would_hide_is_seen_without_the_casts():
    def norm(x):
        ms = jnp.mean(x * x, -1, keepdims=True)
        return x * jax.lax.rsqrt(ms + 1e-6)

    def bwd(x, dy):
        x32 = x.astype(jnp.float32)
        r = jax.lax.rsqrt(jnp.mean(x32 * x32, -1, keepdims=True) + 1e-12)
        return ((r * (dy - x32 * r * jnp.mean(dy * x32 * r, -1, keepdims=True))).astype(x.dtype),)

    report = nx.check_vjp(custom(norm, lambda x: (norm(x), x), bwd), normal(4, 6))
    assert not report.ok and "the term 1e-6 is missing" in report["x"].text, str(report)


def test_numpy_backward_and_the_line_where_it_goes_wrong():
    def forward(x, g):
        r = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-3)
        xhat = x * r
        return xhat * g, (xhat, r, g)

    def backward(residuals, dy):
        xhat, r, g = residuals
        dxhat = dy
        dx = r * (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True))
        return {"x": dx, "g": dy * xhat}

    report = nx.check_vjp(backward, normal(4, 6), normal(6), forward=forward)
    assert report["g"].kind == "missing sum" and not report["x"].ok
    assert any("dxhat = dy  (right with" in place for place in report.places)
    with pytest.raises(AssertionError, match="crosscheck of backward"):
        nx.assert_gradients(backward, normal(4, 6), normal(6), forward=forward)


def test_torch_function():
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return 2 * x**2 * dy

    report = nx.check_vjp(Cube, torch.randn(4, 3), forward=lambda x: x**3)
    assert report["x"].kind == "factor" and "0.666667" in report["x"].text
    with pytest.raises(nx.InputError, match="needs forward="):
        nx.check_vjp(Cube, torch.randn(4, 3))


def test_a_forward_in_torch_gives_its_names():
    torch = pytest.importorskip("torch")

    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, g):
            r = torch.rsqrt((x**2).mean(-1, keepdim=True) + 1e-3)
            ctx.save_for_backward(x, g, r)
            return x * r * g

        @staticmethod
        def backward(ctx, dy):
            x, g, r = ctx.saved_tensors
            dxhat = dy * g
            return r * (dxhat - x * r * (dxhat * x * r).sum(-1, keepdim=True)), (dy * x * r).sum(0)

    def norm(x, g):
        xhat = x * torch.rsqrt((x**2).mean(-1, keepdim=True) + 1e-3)
        return xhat * g

    report = nx.check_vjp(Norm, torch.randn(4, 6), torch.randn(6), forward=norm)
    assert report["g"].ok and "1/I is missing" in report["x"].text and "xhat" in report["x"].text
    with pytest.raises(
        dv.UnsupportedError, match=r"forward=: aten.sort.* at test_check_vjp.py:.*an order has no formula"
    ):
        nx.check_vjp(Norm, torch.randn(4, 6), torch.randn(6), forward=lambda x, g: torch.sort(x)[0] * g)


def test_lengths_that_are_not_accepted_are_said():
    def bwd(x, dy):
        return (3 * x.reshape(2, 3) ** 2 * dy,)

    report = nx.check_vjp(custom(lambda x: x**3, lambda x: (x**3, x), bwd), normal(2, 3))
    assert report.ok and report.sizes == "B=2 I=3" and sum("fixed: " in n for n in report.notes) == 2


def test_the_value_of_fwd_is_compared():
    def cube(x):
        return x**3

    report = nx.check_vjp(custom(cube, lambda x: (x**3 + 1, x), lambda x, dy: (3 * x**2 * dy,)), normal(4, 3))
    assert report["x"].ok and report["out"].kind == "other value" and not report.ok


def test_what_is_refused():
    with pytest.raises(nx.InputError, match="has no backward pass of its own; accepted: a jax.custom_vjp"):
        nx.check_vjp(lambda x: jnp.sin(x), normal(4))
    with pytest.raises(nx.InputError, match="takes a function with a backward pass"):
        nx.check_vjp(3, normal(4))
    with pytest.raises(nx.InputError, match="call f.defvjp"):

        def f(x):
            return x

        nx.check_vjp(jax.custom_vjp(f), normal(4))
    with pytest.raises(nx.InputError, match=r"called as backward\(residuals, dy\)"):
        nx.check_vjp(lambda x: x, normal(4), forward=jnp.sin)
    with pytest.raises(nx.InputError, match="no argument of .* is an array of floats"):
        nx.check_vjp(custom(lambda n: n, lambda n: (n, None), lambda _, dy: (None,)), np.arange(3))
    with pytest.raises(dv.UnsupportedError, match="sort"):
        nx.check_vjp(custom(jnp.sort, lambda x: (jnp.sort(x), None), lambda _, dy: (dy,)), normal(4))
    short = custom(lambda x, y: x * y, lambda x, y: (x * y, y), lambda y, dy: (y * dy,))
    report = nx.check_vjp(short, normal(4), normal(4))
    assert not report.ok and "bwd returns 1 gradients; expected 2" in report["x"].text
