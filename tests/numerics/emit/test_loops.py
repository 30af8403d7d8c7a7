"""JavaScript of plain loops, run in Node: equal to the equations, to the JAX kernels, and safe whatever things are called."""

import subprocess
import sys

import mpmath
import numpy as np
import programs
import pytest
import sympy
from loops_in_node import against_jax, leaves, run, same, written
from reference_layers import LAYERS, derivation

import derive as dv
import numerics as nx
from derive.exact.functions import FUNCTIONS as CHECKER
from derive.language.functions import FUNCTIONS as LANGUAGE
from derive.language.matrices import MATRICES
from derive.networks import examples
from derive.networks.activations import ACTIVATIONS
from derive.networks.examples.networks import NETWORKS
from derive.networks.losses import LOSSES
from numerics.checks.opponent import label
from numerics.emit.loops.javascript import FUNCTIONS, helpers
from numerics.reference.programs import evaluate

TEXTS = {
    "gamma": "x: float[i] positive; loss = sum[i](loggamma(x[i]) + digamma(x[i])*polygamma(2, x[i]))",
    "errors": "x: float[i]; loss = sum[i](erf(3*x[i])*erfc(x[i]) + erfinv(x[i]/9))",
    "normal": "x: float[i]; loss = sum[i](ndtri(x[i]^2/(1 + x[i]^2)) * log_ndtr(x[i]))",
    "product": "x: float[b,i]; a: float[b]; loss = sum[b](a[b]*log(1 + prod[i](x[b,i])^2))",
    "running": "index k : I; x: float[b,i]; loss = sum[b,i](tanh(sum[k](x[b,k]*[k <= i])))",
    "pieces": "index m : I+J; x: float[i]; z: float[j]; w: float[m]; y[m] = where(m < I, x[m], z[m-I]); "
    "loss = sum[m](w[m]*y[m]^2)",
    "matrices": "index i j p q k : N; x: float[b,i,j]; y: float[i]; G[b,p,q] = sum[k](x[b,p,k]*x[b,q,k]) + 2*[p == q]; "
    "loss = sum[b](log(det[p,q](G[b,p,q])) + logdet[p,q](G[b,p,q])) + sum[b,i,j](y[i]*inverse[p,q](G[b,p,q])[i,j]*y[j])",
    "masked": "x: float[b,k]; m: int[b,k] < 2; s[b,k] = where(m[b,k] == 1, x[b,k], -inf); "
    "lse[b] = log(sum[k](exp(s[b,k]))); loss = sum[b,k](exp(s[b,k] - lse[b])^2)",
    "bools": "x: float[b,k]; m: bool[b,k]; loss = sum[b,k](where(m[b,k], x[b,k]^3, abs(x[b,k])))",
    "sums_of_exponentials": "x: float[b]; y: float[b]; loss = sum[b](log(exp(x[b]) + exp(2*x[b]) + exp(y[b])))",
    "powers": "x: float[i] positive; loss = sum[i](x[i]^3/3 - x[i]^-2 + x[i]^(1/3) + sqrt(x[i]) + x[i]^-0.5 - (1 - x[i])^2)",
}


def of_texts():
    found = {n: dv.parse(text) for n, text in TEXTS.items()}
    return {n: dv.backprop(t["loss"], wrt=[t["x"]]) for n, t in found.items()}


def of_kinds():
    """Every kind of program."""
    m = examples.load("softmax_regression")
    z, W = m.tensors["z"], m.tensors["W"]
    found = {"hessian": dv.hessian(m.loss, wrt=list(m.wrt)), "hvp": dv.hvp(m.loss, wrt=[W])}
    found |= {"vjp": dv.vjp(z, wrt=[W]), "jacobian": dv.jacobian(z, wrt=[W])}
    t = dv.parse(
        "x: float[t,u]; h[t,u] = tanh(h[t-1,u] + x[t,u]); s[t,u] = where(u <= t, x[t,u], -inf); top[t] = argmax[u](x[t,u])"
    )
    return found | {"forward": nx.compile([t["h"], t["s"], t["top"]]).derivation}


def evaluated(d, arrays, sizes):
    values = evaluate(d.program, dict(arrays), sizes, np)
    found = {}
    for group, value in d.results:
        for key, t in value.items() if hasattr(value, "items") else [(None, value)]:
            found[label(group, key)] = values[t.name]
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Every program of these tests, once."""
    derived = {n: examples.load(n).backprop() for n in examples.names()}
    derived |= {n: make() for n, make in programs.CASES.items()}
    derived |= {**of_texts(), **of_kinds()}
    made = {n: written(d) for n, d in derived.items()}
    found = run(tmp_path_factory.mktemp("loops"), {n: (source, arrays) for n, (source, arrays, _) in made.items()})
    return {n: (derived[n], *made[n], found[n]) for n in derived}


@pytest.mark.parametrize(
    "name", [*examples.names(), *programs.CASES, *TEXTS, "hessian", "hvp", "vjp", "jacobian", "forward"]
)
def test_loops_are_the_equations(ran, name):
    d, _, arrays, sizes, found = ran[name]
    same(leaves(d, found), evaluated(d, arrays, sizes))


def test_loops_are_the_jax_kernel(tmp_path):
    against_jax(tmp_path, {n: examples.load(n).backprop() for n in ("mlp", "rnn")})


def model(*layers, shape=(4,)):
    return dv.Sequential(list(layers), input_shape=shape)


@pytest.mark.slow
def test_every_text_of_the_catalogue_is_the_jax_kernel(tmp_path):
    against_jax(tmp_path, {n: examples.load(n).backprop() for n in examples.names()})


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_every_image_layer_is_the_jax_kernel(name, tmp_path):
    make, shape = LAYERS[name]
    against_jax(tmp_path, {"layer": derivation(model(make(), shape=shape))})


SEQUENCES = {
    "simple_rnn": lambda: model(dv.layers.SimpleRNN(3), shape=(5, 2)),
    "lstm": lambda: model(dv.layers.LSTM(3, return_sequences=True), shape=(5, 2)),
    "gru": lambda: model(dv.layers.GRU(3), shape=(5, 2)),
    "bidirectional": lambda: model(dv.layers.Bidirectional(dv.layers.LSTM(2)), shape=(5, 2)),
    "embedding": lambda: model(dv.layers.Embedding(7, 3), dv.layers.LSTM(2)),
    "attention": lambda: model(dv.layers.MultiHeadAttention(2, 2, causal=True, rotary=True), shape=(4, 4)),
    "transformer": lambda: model(dv.layers.TransformerBlock(2, units=3, causal=True, use_bias=False), shape=(4, 4)),
    "stack": lambda: model(dv.layers.Stack(dv.layers.TransformerBlock(2, units=3, use_bias=False), 2), shape=(4, 4)),
    "experts": lambda: model(dv.layers.MixtureOfExperts(3, 2), shape=(4, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEQUENCES)
def test_every_layer_of_sequences_is_the_jax_kernel(name, tmp_path):
    against_jax(tmp_path, {"layer": SEQUENCES[name]().backprop("mean_squared_error")})


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_catalogue_is_the_jax_kernel(name, tmp_path):
    halved = {"H": 32, "W": 32} if name == "vgg16" else None  # five times
    against_jax(tmp_path, {"network": NETWORKS[name]().backprop("sparse_softmax_cross_entropy")}, fixed=halved)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "threshold"])
def test_every_activation_is_the_jax_kernel(name, tmp_path):
    against_jax(tmp_path, {"layer": model(dv.layers.Dense(3, activation=name)).backprop("mean_squared_error")})


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_the_jax_kernel(name, tmp_path):
    gives = {"logits": None, "anything": None, "nonnegative": "softplus", "positive": "softplus"}
    last = gives.get(LOSSES[name].reads, "sigmoid" if LOSSES[name].reads == "bits" else "softmax")
    against_jax(tmp_path, {"loss": model(dv.layers.Dense(3, activation=last)).backprop(name)})


def test_every_function_of_the_language_has_its_loop():
    identities = {f.name for f in LANGUAGE.values() if f.jax == "identity"}
    assert {*LANGUAGE, *MATRICES} - {*FUNCTIONS, "relu"} == identities
    assert {f for f in FUNCTIONS.values() if "." not in f} <= set(helpers())


MEANT = {
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "erfinv": mpmath.erfinv,
    "ndtri": lambda p: CHECKER["ndtri"].real(mpmath.mp, p),
    "logNdtr": lambda x: CHECKER["log_ndtr"].real(mpmath.mp, x),
    "lgamma": lambda x: mpmath.log(abs(mpmath.gamma(x))),
    "digamma": lambda x: mpmath.psi(0, x),
    "polygamma1": lambda x: mpmath.psi(1, x),
    "polygamma4": lambda x: mpmath.psi(4, x),
}


def test_special_functions_have_the_digits_of_a_double(tmp_path):
    everywhere = np.concatenate([np.linspace(-6, 6, 97), [1e-9, -1e-9, 1.4999, 1.5001, 20.5]])
    positive = np.concatenate([np.linspace(0.02, 25, 101), [1e-6, 1, 2, 1e3, 1e9]])
    at = {n: everywhere if n in ("erf", "erfc", "logNdtr") else positive for n in MEANT}
    at["erfinv"] = np.concatenate([np.linspace(-0.999, 0.999, 101), [1 - 1e-12, 1e-300]])
    at["ndtri"] = np.concatenate([np.linspace(0.001, 0.999, 101), [1e-300, 1e-17, 1 - 1e-15, 0.5 + 1e-12]])
    at["logNdtr"] = np.concatenate([everywhere, [-40, -1e5, 30]])
    at["lgamma"] = np.concatenate([positive, [-0.5, -3.3, -20.1]])
    calls = {
        n: f"inputs.x.data.map((x) => {n.rstrip('14')}({f'{n[-1]}, ' if n[-1].isdigit() else ''}x))" for n in MEANT
    }
    source = "\n".join(dict.fromkeys(helpers().values()))
    cases = {
        n: (
            f"export function f(inputs) {{ return {{shape: [{at[n].size}], data: {calls[n]}}}; }}\n{source}",
            {"x": at[n]},
        )
        for n in MEANT
    }
    found = run(tmp_path, cases)
    for n, f in MEANT.items():
        assert "error" not in found[n], found[n]
        with mpmath.workdps(40):
            meant = np.array([float(f(mpmath.mpf(float(x)))) for x in at[n]])
        off = np.abs(np.array(found[n]["data"], float) - meant) / np.maximum(np.abs(meant), 0 if n == "erfc" else 0.1)
        assert off.max() < 3e-14, (n, at[n][off.argmax()], off.max())


HOSTILE = [
    "__proto__",
    "constructor",
    "toString",
    "x; process.exit(1) //",
    "a`${b}`",
    "a\u2028b",
    "重み",
    "let",
    "given",
    "Math",
    "b",
]


def test_names_are_only_names(tmp_path):
    b, i = dv.indices("b i")
    given = [dv.tensor(n, b, i) for n in HOSTILE]
    loss = dv.define("prototype", (), dv.Sum(sum(n * t[b, i] ** 2 for n, t in enumerate(given, 1)), b, i))
    d = dv.backprop(loss, wrt=given)
    source = nx.source(d, target="javascript")
    assert source.isascii() or all(ch.isprintable() or ch == "\n" for ch in source)
    arrays = {n: np.full((2, 3), k + 1.0) for k, n in enumerate(HOSTILE)}
    found = run(tmp_path, {"names": (source, arrays)})["names"]
    grads = leaves(d, found)
    assert list(found["grads"]) == HOSTILE
    for k, n in enumerate(HOSTILE, 1):
        np.testing.assert_array_equal(grads[n], np.full((2, 3), 2.0 * k * k))


def test_names_of_constants_are_names(tmp_path):
    """An index ``e`` was Euler's number: a wrong place, silently; so are ``pi`` and ``infinity`` of one's own."""
    b, e = dv.indices("b e")
    x, pi, infinity = dv.tensor("x", b, e), dv.tensor("pi"), dv.tensor("infinity", e)
    m = dv.define("m", (b,), dv.Max(x[b, e] * infinity[e], e))
    loss = dv.define("loss", (), dv.Sum(sympy.pi * pi[()] * m[b] + sympy.exp(1) * x[b, e] ** 2, b, e))
    against_jax(tmp_path, {"names": dv.backprop(loss, wrt=[x, pi, infinity])})


def test_sums_of_one_place_stand_beside_each_other(tmp_path):
    """Each gives its bound index from the free one: two variables in one block, of two names."""
    b, l = dv.indices("b l")
    o = dv.index("o", size=2 * l.size)
    u, v, w = dv.tensor("u", b, l), dv.tensor("v", b, l), dv.tensor("w", b, o)
    y = dv.define("y", (b, o), sympy.Piecewise((u[b, o], o < l.size), (v[b, o - l.size], True)))
    k = dv.index("k", size=2 * l.size)
    z = dv.define("z", (), dv.Sum(y[b, k] * w[b, k], b, k))
    against_jax(tmp_path, {"pieces": dv.backprop(z, wrt=[u, v, w])})


@pytest.mark.parametrize(
    "change, said",
    [
        ({"W": None}, "W: no array is given"),
        ({"W": np.ones((3, 2, 1))}, "W has shape (3,2,1), but it has 2 axes"),
        ({"c": np.ones(5)}, "c has shape (5), but it is (4)"),
        ({"label": np.array([0, 9])}, "label: 9 is out of the declared range 0 <= label < 4"),
        ({"label": np.array([0.5, 1])}, "label: 0.5 is out of the declared range"),
    ],
)
def test_wrong_inputs_are_told(change, said, tmp_path):
    t = examples.load("softmax_regression")
    right = {"x": np.ones((2, 3)), "W": np.ones((3, 4)), "c": np.ones(4), "label": np.array([0, 1])}
    assert {x.name for x in t.backprop().program.inputs} == set(right)
    given = {n: a for n, a in {**right, **change}.items() if a is not None}
    found = run(tmp_path, {"wrong": (nx.source(t.backprop(), target="javascript"), given)})["wrong"]
    assert said in found["error"]


def test_what_is_of_other_targets_is_refused():
    d = examples.load("mlp").backprop()
    for option in ({"backend": "gpu"}, {"dense": True}, {"patterns": {"pool": "windows"}}, {"checkpoint_every": 2}):
        with pytest.raises(nx.NumericsError, match="loops have one form"):
            nx.source(d, target="javascript", **option)
    t = dv.parse("size S; x: float[i]; loss = sum[i](x[i]^S)")
    with pytest.raises(nx.NumericsError, match="size S is fixed by no array"):
        nx.source(dv.backprop(t["loss"], wrt=[t["x"]]), target="javascript")
    with pytest.raises(nx.NumericsError, match="'jax', 'javascript'"):
        nx.source(d, target="fortran")


def test_it_needs_neither_jax_nor_numpy():
    code = """
import sys
sys.modules["jax"] = sys.modules["numpy"] = None
import numerics as nx
from derive.networks import examples
print(nx.source(examples.load("mlp").backprop(), target="javascript").count("for (let"))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and int(ran.stdout) > 20, ran.stderr


def test_equations_stand_above_their_loops_with_their_numbers():
    d = examples.load("softmax_regression").backprop()
    source = nx.source(d, target="javascript")
    for e in d.program:
        assert f"// ({e.number}) {e}" in source
    assert "import" not in source and max(map(len, source.splitlines())) <= 128
