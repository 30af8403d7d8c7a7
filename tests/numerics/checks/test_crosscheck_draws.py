"""What a cross-check sees: draws, sizes, second calls, small and vanishing leaves, second derivatives, bad inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from handwritten import MODELS
from slowkernel import SlowKernel

import derive as dv
import numerics as nx
from numerics.checks.crosscheck import crosscheck

b, i, k = dv.indices("b i k")


def least_squares():
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i)
    e = dv.define("e", (b,), dv.Sum(x[b, i] * w[i], i) - y[b])
    return dv.backprop(dv.define("loss", (), dv.Sum(e[b] ** 2, b) / b.size), [w])


def right(x, y, w):
    return {"w": 2 * x.T @ (x @ w - y) / len(x)}


def test_labels_out_of_range_are_refused_before_anything_is_compared():
    derivation, gradients = MODELS["softmax_regression"]
    rng, called = np.random.default_rng(0), []

    def fn(**arrays):
        called.append(1)
        return gradients("", **arrays)

    given = {
        "x": rng.normal(size=(6, 4)),
        "label": rng.integers(1, 4, 6),
        "W": rng.normal(size=(4, 3)),
        "c": np.ones(3),
    }
    with pytest.raises(nx.InputError, match="label.*= 3 is out of the declared range 0 <= label < K = 3"):
        crosscheck(SlowKernel(derivation()), fn, given)
    assert not called
    given["label"] = given["label"] - 1
    assert crosscheck(SlowKernel(derivation()), fn, given).ok


def test_nan_inputs_and_facts_that_do_not_hold_are_refused():
    given = {"x": np.full((4, 3), np.nan), "y": np.ones(4), "w": np.ones(3)}
    with pytest.raises(nx.InputError, match="x.*is NaN"):
        crosscheck(SlowKernel(least_squares()), right, given)


def test_a_buffer_reused_in_place_spoils_neither_tolerance_nor_inputs():
    def spoils(x, y, w):
        found = right(x, y, w)
        x[:] = np.inf
        return {"w": (found["w"] * 1.009).astype(np.float32)}

    report = crosscheck(SlowKernel(least_squares()), spoils)
    assert report["w"].kind == "factor"
    assert "the function changes its input x in place" in str(report)
    given = {"x": np.ones((4, 3), np.float32), "y": np.ones(4, np.float32), "w": np.ones(3, np.float32)}
    assert not crosscheck(SlowKernel(least_squares()), spoils, given).ok
    assert np.all(given["x"] == 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("times", [-1, 0, 2])
def test_a_leaf_a_billionth_of_the_largest_is_compared_in_its_own_right(times, dtype):
    x, w, v = dv.tensor("x", b, i), dv.tensor("w", i), dv.tensor("v", i)
    small = sympy.Rational(1, 10**9) * dv.Sum(x[b, i] * v[i], b, i)
    loss = dv.define("loss", (), dv.Sum((x[b, i] * w[i]) ** 2, b, i) + small)
    kern = SlowKernel(dv.backprop(loss, [w, v]))
    kind = jnp.dtype(dtype)

    def fn(x, w, v, times=times):
        smallest = (times * 1e-9 * x.sum(0)).astype(kind) if dtype != "float16" else np.zeros(v.shape, kind)
        return {"w": (2 * (x**2).sum(0) * w).astype(kind), "v": smallest}

    assert not crosscheck(kern, fn)["v"].ok
    assert crosscheck(kern, fn)["w"].ok
    if dtype != "float16":  # where 1e-9 is zero
        assert crosscheck(kern, lambda **a: fn(**a, times=1)).ok


def test_a_leaf_that_is_zero_up_to_rounding_may_round_otherwise():
    z, c = dv.tensor("z", b, k), dv.tensor("c", b)
    y = dv.define("y", (b, k), z[b, k] + c[b])
    lse = dv.define("lse", (b,), sympy.log(dv.Sum(sympy.exp(y[b, k]), k)))
    d = dv.backprop(dv.define("loss", (), dv.Sum(lse[b] - y[b, 0], b)), [z, c])  # c shifts all scores: gradient 0

    def fn(z, c):
        p = np.exp(z + c[:, None])
        dz = p / p.sum(1, keepdims=True)
        dz[:, 0] -= 1
        return {"z": dz, "c": dz[:, ::-1].sum(1)}

    assert crosscheck(SlowKernel(d), fn).ok
    assert not crosscheck(SlowKernel(d), lambda z, c: {"z": fn(z, c)["z"], "c": 1e-6 * c}).ok


def test_zero_inputs_that_make_a_leaf_vanish_are_said_and_drawn():
    """A low-rank update starts at B = 0, where the gradient of A is zero whatever it is computed from."""
    r, j = dv.indices("r j")
    x, A, B = dv.tensor("x", b, i), dv.tensor("A", i, r), dv.tensor("B", r, j)
    h = dv.define("h", (b, r), dv.Sum(x[b, i] * A[i, r], i))
    y = dv.define("y", (b, j), dv.Sum(h[b, r] * B[r, j], r))
    kern = SlowKernel(dv.vjp(y, [A, B], cotangent="dy"))
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=(5, 3)), "A": rng.normal(size=(3, 2)), "B": np.zeros((2, 4))}
    given["dy"] = rng.normal(size=(5, 4))

    def fn(x, A, B, dy, times=1):
        return {"A": times * x.T @ (dy @ B.T), "B": (x @ A).T @ dy}

    assert crosscheck(kern, fn, given).ok
    wrong = crosscheck(kern, lambda **a: fn(**a, times=2), given)
    assert not wrong.ok
    assert "the gradient of A vanishes at these inputs, where B is all zero" in str(wrong)
    assert "B drawn instead of all zero" in wrong["A"].text


def test_a_function_that_answers_differently_the_second_time_is_told():
    calls = []

    def fn(x, y, w):
        calls.append(1)
        return {"w": right(x, y, w)["w"] * (1 if len(calls) == 1 else 1.5)}

    report = crosscheck(SlowKernel(least_squares()), fn)
    assert report["w"].kind == "not repeatable"
    assert "it keeps a state" in report["w"].text


def test_a_function_wrong_only_for_some_sizes_is_found():
    def one_row(x, y, w):
        return {"w": right(x, y, w)["w"] * (2 if len(x) == 1 else 1)}

    def square(x, y, w):
        return {"w": right(x, y, w)["w"] * (2 if x.shape[0] == x.shape[1] else 1)}

    assert "wrong at B = 1" in crosscheck(SlowKernel(least_squares()), one_row)["w"].text
    assert "wrong at equal sizes" in crosscheck(SlowKernel(least_squares()), square)["w"].text
    fails = crosscheck(SlowKernel(least_squares()), lambda x, y, w: {"w": right(x, y, w)["w"] / (len(x) > 1)})
    assert not fails.ok


def test_conditions_that_no_input_met_are_named():
    z = dv.tensor("z", b)
    d = dv.backprop(dv.define("loss", (), dv.Sum(dv.relu(z[b] - 3) ** 2, b)), [z])
    given = {"z": np.array([0.5, -1.0, 2.0])}
    report = crosscheck(SlowKernel(d), lambda z: {"z": 2 * np.maximum(z - 3, 0)}, given)
    assert not report.ok and report.right
    assert report.not_seen == ("z[b] > 3",)
    assert "not seen: z[b] > 3" in str(report)
    assert crosscheck(SlowKernel(d), lambda z: {"z": 2 * np.maximum(z - 3, 0)}, given, allow_unseen=["z[b] > 3"]).ok
    assert not crosscheck(SlowKernel(d), lambda z: {"z": 0 * z}).ok


def quadratic():
    x, w, c = dv.tensor("x", b, i), dv.tensor("w", i), dv.tensor("c")
    return dv.define("loss", (), dv.Sum((dv.Sum(x[b, i] * w[i], i) + c[()]) ** 3, b)), w, c


def value(x, w, c):
    return jnp.sum((x @ w + c) ** 3)


def test_hessians_are_compared_by_pairs_or_nested_as_jax_returns_them():
    loss, w, c = quadratic()
    kern = SlowKernel(dv.hessian(loss, wrt=[w, c]))

    def nested(x, w, c):
        return jax.hessian(lambda p: value(x, **p))({"w": jnp.asarray(w), "c": jnp.asarray(c)})

    def pairs(x, w, c):
        return {(a, q): np.asarray(v) for a, row in nested(x, w, c).items() for q, v in row.items()}

    assert crosscheck(kern, nested).ok
    assert {v.tensor for v in crosscheck(kern, pairs).verdicts} == {f"hessian {a}, {q}" for a in "wc" for q in "wc"}
    wrong = crosscheck(kern, lambda **a: {key: -v for key, v in pairs(**a).items()})
    assert {v.kind for v in wrong.verdicts} == {"sign"}
    halved = crosscheck(kern, lambda **a: {key: v / 2 if key == ("w", "c") else v for key, v in pairs(**a).items()})
    assert [v.tensor for v in halved.verdicts if not v.ok] == ["hessian w, c"]
    first = crosscheck(kern, lambda **a: {**pairs(**a), "w": np.ones(a["w"].shape)})
    assert not first["w"].ok  # a gradient that is returned beside is compared, too


def test_jacobians_and_products_are_compared():
    x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    y = dv.define("y", (b,), sympy.exp(dv.Sum(x[b, i] * w[i], i)))
    kern = SlowKernel(dv.jacobian(y, [w]))
    assert crosscheck(kern, lambda x, w: {"w": np.exp(x @ w)[:, None] * x}).ok
    assert crosscheck(kern, lambda x, w: np.exp(x @ w)[:, None] * x).ok
    assert crosscheck(kern, lambda x, w: {"w": x})["jacobian w"].kind != "ok"
    loss, w, c = quadratic()
    kern = SlowKernel(dv.hvp(loss, wrt=[w]))

    def product(x, w, c, w_dir):
        return {"w": x.T @ (6 * (x @ w + c) * (x @ w_dir))}

    assert crosscheck(kern, product).ok
    both = {"grads": lambda x, w, c, **_: {"w": x.T @ (3 * (x @ w + c) ** 2)}, "hvp": product}
    assert crosscheck(kern, lambda **a: {g: f(**a) for g, f in both.items()}).ok
    doubled = crosscheck(kern, lambda **a: {"grads": both["grads"](**a), "hvp": {"w": 2 * product(**a)["w"]}})
    assert [(v.tensor, v.kind) for v in doubled.verdicts if not v.ok] == [("hvp w", "factor")]


def test_assert_gradients_is_crosscheck_as_a_test():
    kern = SlowKernel(least_squares())
    assert nx.assert_gradients(kern, right).ok
    with pytest.raises(AssertionError, match="the sign is wrong: theirs is minus ours"):
        nx.assert_gradients(kern, lambda **a: {"w": -right(**a)["w"]})


def test_float32_is_advised_only_where_the_difference_is_rounding():
    report = crosscheck(SlowKernel(least_squares()), lambda **a: {"w": right(**a)["w"] * (1 + 1e-7)})
    assert "float32" not in report["w"].text
    narrow = crosscheck(
        SlowKernel(least_squares()),
        lambda **a: {"w": right(**{n: v.astype(np.float32) for n, v in a.items()})["w"].astype(float)},
    )
    assert narrow["w"].kind == "precision"
    assert "return float32 if that is meant" in narrow["w"].text


def test_the_search_ends_after_a_number_of_evaluations():
    """Whatever the machine: noise is evaluated against no more than the budget."""
    from numerics.checks.alterations import BUDGET, Alterations
    from numerics.checks.mistakes import Case

    derivation, _ = MODELS["layer_norm"]
    d = derivation()
    kern, rng = SlowKernel(d), np.random.default_rng(0)
    report = crosscheck(
        kern,
        lambda x, y, gain, shift: {
            n: rng.normal(size=np.shape(a)) for n, a in (("x", x), ("gain", gain), ("shift", shift))
        },
    )
    assert {v.kind for v in report.verdicts} == {"unexplained"}
    arrays = {"x": rng.normal(size=(7, 5)), "y": rng.normal(size=(7, 5)), "gain": np.ones(5), "shift": np.ones(5)}
    sizes = dict(zip(d.program.sizes(), (7, 5), strict=True))
    search = Alterations(d, arrays, sizes, {"x": d.gradients["x"].name})
    ours = search.replay.base[d.gradients["x"].name]
    case = Case("x", ("b", "i"), ours, rng.normal(size=(7, 5)), 1.0, 1e-10, {"B": 7, "I": 5}, {})
    assert search.explain([case], []) == {}
    assert search.spent <= BUDGET + 10
