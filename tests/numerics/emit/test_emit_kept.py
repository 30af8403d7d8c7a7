"""What is written so that XLA on a CPU keeps it, or does not: kinks in sums, error functions, roots, gathers of differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
import numerics as nx

GIVEN = {n: np.random.default_rng(k).normal(size=(5, 3)).astype("f") for k, n in enumerate("xy")}
GIVEN["a"] = np.random.default_rng(3).integers(0, 3, 5)


def compiled(text, **options):
    t = dv.parse("x: float[b,j]; y: float[b,j]; " + text)
    d = dv.backprop(t["loss"], wrt=[t["x"]])
    assert d.check().ok
    return nx.compile(d, **options)


def given(kern):
    return {t.name: GIVEN[t.name] for t in kern.inputs}


def same(kern, loss):
    value, grads = kern(**given(kern))
    wanted, slope = jax.value_and_grad(loss)(*GIVEN.values())
    np.testing.assert_allclose(value, wanted, rtol=2e-6)
    np.testing.assert_allclose(grads["x"], slope, rtol=2e-5, atol=1e-6)


HINGE = "u[b,j] = relu(1 - x[b,j]*y[b,j]); loss = sum[b,j](u[b,j])"


@pytest.mark.parametrize(
    "text, loss, line",
    [
        (HINGE, lambda x, y, a: jnp.maximum(1 - x * y, 0).sum(), "u = jnp.where(z < 0, 0, z) "),
        (
            "loss = sum[b,j](min(x[b,j], 1/2))",
            lambda x, y, a: jnp.minimum(x, 0.5).sum(),
            "loss = jnp.where(x > 0.5, 0.5, x).sum() ",
        ),
        (
            "loss = sum[b,j](max(1/4, x[b,j] - y[b,j]))",
            lambda x, y, a: jnp.maximum(x - y, 0.25).sum(),
            "loss = jnp.where(z < 0.25, 0.25, z).sum() ",
        ),
    ],
    ids=["named", "a minimum", "in the sum"],
)
def test_a_kink_that_a_sum_reads_is_a_choice(text, loss, line):
    kern = compiled(text)
    assert line in kern.source and "kink as a choice" in {rule for rule, _, _ in kern.choices}
    same(kern, loss)
    poisoned = given(kern) | {"x": np.where(np.arange(15).reshape(5, 3) == 7, np.nan, GIVEN["x"])}
    assert np.isnan(kern(**poisoned)[0])  # jnp.where(z > 0, z, 0) would hide it


def test_kinks_elsewhere_stay():
    kern = compiled("u[b,j] = relu(x[b,j]*y[b,j]); loss = sum[b,j](u[b,j]^2 + y[b,j]*max(x[b,j], y[b,j]))")
    assert "jnp.maximum(x * y, 0)" in kern.source and "jnp.maximum(x, y)" in kern.source
    assert "jnp.where(z" not in compiled(HINGE, dense=True).source
    assert "jnp.where(z" not in nx.compile(compiled(HINGE).derivation, backend="gpu").source


def test_an_error_function_is_multiplied_by_what_is_kept():
    kern = compiled("u[b,j] = x[b,j]*(1 + erf(x[b,j]/2^(1/2)))/2; loss = sum[b,j](u[b,j]^2)")
    assert "u = x / 2 * lax.erfc(-x / 2 ** 0.5)" in kern.source and "+ u * lax.erfc(-x / 2 ** 0.5)" in kern.source
    same(kern, lambda x, y, a: (jax.nn.gelu(x, approximate=False) ** 2).sum())
    assert nx.verify(kern, dtypes=("float64",)).ok
    elsewhere = compiled("u[b,j] = x[b,j]*erf(x[b,j])/2; loss = sum[b,j](u[b,j]*y[b,j])")
    assert "u = x * lax.erf(x) / 2" in elsewhere.source


def test_one_over_a_root_reads_the_root_where_it_is_taken():
    kern = compiled("h[b,j] = (x[b,j] + sqrt(x[b,j]^2 + 4))/2; loss = sum[b,j](h[b,j]^2)")
    assert "rsqrt" not in kern.source and "x / jnp.sqrt(x * x + 4)" in kern.source
    same(kern, lambda x, y, a: (jax.nn.squareplus(x) ** 2).sum())
    assert "rsqrt" in compiled("loss = sum[b,j]((x[b,j]^2 + 4)^(-1/2))").source


def test_a_mask_stands_inside_the_number_of_a_scaled_value():
    kern = compiled("h[b,j] = min(relu(x[b,j] + 3), 6)/6; loss = sum[b,j](h[b,j]^2)")
    assert "jnp.where((x + 3 > 0) & (x + 3 <= 6), h, 0) / 3" in kern.source
    same(kern, lambda x, y, a: (jax.nn.hard_sigmoid(x) ** 2).sum())


def cross_entropy(x, y, a):
    return -jnp.take_along_axis(jax.nn.log_softmax(x), a[:, None], axis=1).mean()


def test_a_gather_reads_through_differences():
    logarithms = lambda x, a: -jax.nn.log_softmax(x)[jnp.arange(x.shape[0]), a].mean()  # noqa: E731
    kern = nx.compile(nx.from_jax(logarithms, GIVEN["x"], GIVEN["a"]).backprop())
    assert "gather-inside" in {rule for rule, _, _ in kern.choices} and "(x, a) - " in kern.source
    value, grads = kern(x=GIVEN["x"], a=GIVEN["a"])
    wanted, slope = jax.value_and_grad(cross_entropy)(*GIVEN.values())
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(grads["x"], slope, rtol=1e-5, atol=1e-7)
    far, _ = kern(x=GIVEN["x"] + 1e6, a=GIVEN["a"])
    np.testing.assert_allclose(far, cross_entropy(GIVEN["x"] + np.float32(1e6), None, GIVEN["a"]), rtol=1e-6)


def test_what_is_positive_in_each_branch_is_not_asked():
    rel_entr = jax.scipy.special.rel_entr
    a, c = np.abs(GIVEN["x"]) - 0.5, np.abs(GIVEN["y"]) + 0.1
    vg = nx.value_and_grad(lambda p, q: jnp.where(p > 0, rel_entr(p, q), 0).sum())
    kern = nx.compile(vg.trace(a, c).model.backprop())
    assert "signs-known" in {rule for rule, _, _ in kern.choices} and "!= 0" not in kern.source.split("import jax\n")[1]
    _, slope = vg(a, c)
    wanted = jax.grad(lambda p: jnp.where(p > 0, rel_entr(p, c), 0).sum())(a)
    np.testing.assert_allclose(slope, np.where(a > 0, wanted, 0), rtol=1e-5)
    other = compiled("u[b,j] = where(y[b,j] > 0, x[b,j], 1); loss = sum[b,j](where(u[b,j] > 0, u[b,j]^2, 0))")
    assert "u > 0" in other.source


def test_scalars_are_multiplied_before_arrays():
    kern = compiled("h = log(sum[b,j](exp(x[b,j]))); loss = h^2")
    assert "2 * h / " in kern.source
    same(kern, lambda x, y, a: jax.nn.logsumexp(x) ** 2)
