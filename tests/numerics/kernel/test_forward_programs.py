"""Programs that only go forward: any definitions, their values, documents and evidence."""

import pickle

import jax
import numpy as np
import pytest

import derive as dv
import numerics as nx
from numerics.emit import module

TEXT = """
index j : K; index u : T
x: float[b,i]; W: float[i,k]; label: int[b] < K; y: float[t,b]; A: float[p,p] positive definite
z[b,k] = sum[i](x[b,i]*W[i,k])
p[b,k] = exp(z[b,k]) / sum[j](exp(z[b,j]))
best[b] = argmax[k](z[b,k])
right[b] = [best[b] == label[b]]
h[t,b] = tanh(h[t-1,b] + y[t,b])
masked[t,u] = where(u <= t, y[u,0], -inf)
size = logdet(A)
"""
T = dv.parse(TEXT)
rng = np.random.default_rng(0)
X, W = rng.normal(size=(3, 2)).astype("float32"), rng.normal(size=(2, 4)).astype("float32")


def test_several_definitions_come_back_by_name_in_the_order_asked_for():
    kern = nx.compile([T["z"], T["p"], T["best"]])
    found = kern(x=X, W=W)
    assert list(found) == ["z", "p", "best"] and found["best"].dtype == np.int32
    z = X @ W
    np.testing.assert_allclose(found["z"], z, rtol=1e-5)
    np.testing.assert_allclose(found["p"], jax.nn.softmax(z), rtol=1e-5)
    np.testing.assert_array_equal(found["best"], z.argmax(1))
    assert repr(kern) == "<kernel z, p, best(W, x) -> z, p, best>"
    assert kern.source.startswith('"""Outputs of z, p, best, generated from its definitions, for cpu.')
    assert "grad" not in kern.source and "label" not in kern.source
    many = jax.vmap(jax.jit(kern.fn), in_axes=(None, 0))(W, np.stack([X, 2 * X]))
    np.testing.assert_allclose(many["z"][1], 2 * z, rtol=1e-5)


def test_softmax_stays_finite_and_right_at_float32_extremes():
    p = nx.compile(T["p"])(x=1e4 * X, W=W)["p"]
    np.testing.assert_array_equal(p, np.eye(4)[(X @ W).argmax(1)])


@pytest.mark.parametrize("name", [n for n, t in T.items() if not t.is_input])
def test_each_is_proved_verified_told_and_written(name, tmp_path):
    kern = nx.compile(T[name])
    d = kern.derivation
    assert d.check().proved
    assert f"How is {name} computed?" in " ".join(str(d).split()) or f"How are {name} computed?" in " ".join(
        str(d).split()
    )
    assert "Backward" not in str(d) and d.to_latex() and d.to_html() and d.to_markdown()
    report = nx.verify(kern, dtypes=("float64",))
    assert report.ok, str(report)
    assert "definitions" in kern.evidence["summary"]
    saved = kern.save(tmp_path / "program.py").read_text()
    assert saved == kern.source and nx.source(T[name]).splitlines()[-1] == saved.splitlines()[-1]


def test_it_is_pickled_checked_and_refuses_wrong_arrays():
    kern = nx.compile([T["z"], T["right"]])
    again = pickle.loads(pickle.dumps(kern))
    label = np.array([0, 1, 3])
    np.testing.assert_array_equal(again(x=X, W=W, label=label)["right"], kern(x=X, W=W, label=label)["right"])
    with pytest.raises(nx.NumericsError, match="out of the declared range"):
        kern.validate(label=label + 1, W=W)
    with pytest.raises(nx.NumericsError, match="size I"):
        kern(x=X.T, W=W, label=label)


def test_a_wrong_program_is_not_verified(monkeypatch):
    d = nx.compile(T["z"]).derivation
    whole = module.emit

    def wrong(*args, **options):
        made = whole(*args, **options)
        return module.Module(made.source.replace("x @ W", "2 * x @ W"), *list(vars(made).values())[1:])

    monkeypatch.setattr(module, "emit", wrong)
    report = nx.verify(nx.compile(d, check=False), dtypes=("float64",))
    assert not report.ok
    with pytest.raises(nx.NumericsError, match="z"):
        nx.compile(d)


def test_a_forward_of_ones_own_is_the_opponent():
    kern = nx.compile([T["z"], T["p"]])
    own = lambda x, W: {"z": x @ W, "p": jax.nn.softmax(x @ W)}  # noqa: E731
    assert nx.verify(kern, forward=own).ok
    assert not nx.verify(kern, forward=lambda x, W: {"z": x @ W, "p": x @ W}).ok


def test_what_needs_a_gradient_refuses_with_the_reason():
    kern = nx.compile(T["z"])
    with pytest.raises(nx.NumericsError, match="only goes forward: it has no gradients"):
        kern.as_custom_vjp()
    with pytest.raises(nx.NumericsError, match="only goes forward, so there is no gradient to compare"):
        nx.crosscheck(kern, lambda x, W: {})
    with pytest.raises(dv.DeriveError, match="only goes forward: it has no gradients"):
        kern.derivation.gradient("W")


@pytest.mark.parametrize(
    "given, error, said",
    [
        (T["x"], dv.DeriveError, "x is an input, not a definition"),
        ([T["z"], T["z"]], dv.DeriveError, "names z twice"),
        ([], nx.NumericsError, "takes a derivation"),
        ("z", nx.NumericsError, "takes a derivation"),
        ([T["z"], "p"], nx.NumericsError, "or definitions"),
    ],
)
def test_what_is_no_definition_is_refused(given, error, said):
    with pytest.raises(error, match=said):
        nx.compile(given)


def test_integers_alone_are_enough():
    t = dv.parse("label: int[b] < K; x: float[k]; hot[b,k] = [label[b] == k]")
    hot = nx.compile(t["hot"], sizes={"K": 4})(label=np.array([3, 0]))["hot"]
    np.testing.assert_array_equal(hot, np.eye(4)[[3, 0]])
