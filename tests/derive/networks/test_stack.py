"""A stack is a recurrence over depth: written by hand or by ``L.Stack``, told and computed once, whatever the depth."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy

import derive as dv
import numerics as nx
from derive import layers as L


def by_hand():
    """Two named tensors inside of a recurrence over depth, one of them shared by a softmax."""
    n, b, p, i = dv.indices("n b p i")
    q, r, j = dv.index("q", size="P"), dv.index("r", size="P"), dv.index("j", size="I")
    x0, W, U = dv.tensor("x0", b, p, i), dv.tensor("W", n, i, j), dv.tensor("U", n, i, j)
    named = {}

    def block(x):
        u = dv.define("u", (n, b, p, i), sympy.Piecewise((x0[b, p, i], sympy.Eq(n, 0)), (x[n - 1, b, p, i], True)))
        s = dv.define("s", (n, b, p, q), dv.Sum(u[n, b, p, i] * u[n, b, q, i], i))
        a = dv.define("a", (n, b, p, q), sympy.exp(s[n, b, p, q]) / dv.Sum(sympy.exp(s[n, b, p, r]), r))
        m = dv.define("m", (n, b, p, i), dv.Sum(a[n, b, p, q] * u[n, b, q, i], q))
        named["a"] = a
        return u[n, b, p, i] + sympy.tanh(dv.Sum(m[n, b, p, j] * W[n, j, i], j)) + dv.Sum(u[n, b, p, j] * U[n, j, i], j)

    x = dv.define("x", (n, b, p, i), block)
    return dv.define("loss", (), dv.Sum(x[n.size - 1, b, p, i] ** 2, b, p, i)), [W, U], named["a"]


def forward(W, U, x):
    for w, u in zip(W, U, strict=True):
        a = jax.nn.softmax(jnp.einsum("bpi,bqi->bpq", x, x))
        x = x + jnp.tanh(jnp.einsum("bpq,bqi,ij->bpj", a, x, w)) + x @ u
    return (x**2).sum()


@pytest.mark.parametrize("depth", [1, 4])
def test_a_stack_written_in_indices(depth):
    loss, wrt, weights = by_hand()
    d = dv.backprop(loss, wrt, outputs=[weights])  # what the block names is a tensor like any other outside
    kern = nx.compile(d)
    assert kern.source.count("lax.scan(") == 2 and "dW = jnp.einsum" in kern.source  # no gradient inside of a scan
    with jax.enable_x64(True):
        rng = np.random.default_rng(depth)
        W, U, x0 = (rng.normal(size=s) / 2 for s in [(depth, 4, 4), (depth, 4, 4), (2, 3, 4)])
        value, found, outputs = kern(W=W, U=U, x0=x0)
        wanted, expected = jax.value_and_grad(forward, (0, 1))(W, U, x0)
        np.testing.assert_allclose(value, wanted, rtol=1e-12)
        np.testing.assert_allclose(found["W"], expected[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found["U"], expected[1], rtol=1e-9, atol=1e-9)
        assert outputs["a"].shape == (depth, 2, 3, 3)


def test_it_is_proved():
    loss, wrt, _ = by_hand()
    assert dv.backprop(loss, wrt).check().proved


def gpt(depth, dropout=0.0):
    x = dv.Input((5,), dtype="int", below=7)
    h = L.PositionalEmbedding(5)(L.Embedding(7, 6)(x))
    h = L.Stack(L.TransformerBlock(2, causal=True, dropout=dropout), depth)(h)
    return dv.Model(x, L.Dense(7)(L.LayerNorm()(h)))


def test_told_and_written_once_whatever_the_depth():
    steps, lines = set(), set()
    for depth in (2, 48):
        model = gpt(depth)
        d = model.backprop("sparse_softmax_cross_entropy")
        steps.add((len(d.steps), len(d.program.equations)))
        lines.add(nx.compile(d, sizes=model.sizes).source.count("\n"))
    assert len(steps) == len(lines) == 1


def test_shared_parameters_have_no_axis_of_depth():
    with jax.enable_x64(True):
        model = dv.Sequential([L.Stack(L.Dense(3, activation="tanh"), 4, shared=True)], input_shape=(3,))
        assert model.parameters["stack_1_kernel"].shape == (3, 3)
        kern = nx.compile(model.backprop("mean_squared_error"), sizes=model.sizes)
        rng = np.random.default_rng(0)
        W, c, x, y = (rng.normal(size=s) for s in [(3, 3), (3,), (5, 3), (5, 3)])

        def loss(p):
            h = x
            for _ in range(4):
                h = jnp.tanh(h @ p[0] + p[1])
            return ((h - y) ** 2).mean()

        value, found = kern(stack_1_kernel=W, stack_1_bias=c, x=x, y=y)[:2]
        wanted, expected = jax.value_and_grad(loss)((jnp.asarray(W), jnp.asarray(c)))
        np.testing.assert_allclose(value, wanted, rtol=1e-12)
        np.testing.assert_allclose(found["stack_1_kernel"], expected[0], rtol=1e-9)


@pytest.mark.slow
def test_trained_saved_loaded_and_frozen(tmp_path):
    model = gpt(3, dropout=0.1)
    assert model.random["stack_1_mlp_dropout_mask"].tensor.axes[0] == model.parameters["stack_1_up_bias"].tensor.axes[0]
    rng = np.random.default_rng(0)
    X = rng.integers(0, 7, (32, 5))
    t = nx.Trainer(model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam(1e-2), seed=0)
    history = t.fit(X, (X + 1) % 7, batch_size=8, epochs=4, verbose=0)
    assert history["loss"][-1] < history["loss"][0]
    t.save(tmp_path / "run")
    again = nx.load(tmp_path / "run", optimizer=optax.adam(1e-2))
    np.testing.assert_array_equal(again.predict(X), t.predict(X))
    again.freeze("stack_1")
    assert not any(n.startswith("stack_1") for n in again.derivation.gradients)


def test_running_averages_of_every_block():
    model = dv.Sequential([L.Stack(L.BatchNorm(), 3), L.Dense(2)], input_shape=(4,))
    assert model.state["stack_1_mean"].shape == (3, 4)
    assert model.state["stack_1_mean"].update.name == "stack_1_mean_new"


REFUSED = {
    "depth of Dense is 0": lambda: L.Stack(L.Dense(3), 0),
    "makes (B, 5) of (B, 6)": lambda: dv.Sequential([L.Stack(L.Dense(5), 2)], input_shape=(6,)),
    "makes (B, 24) of (B, 4, 6)": lambda: dv.Sequential([L.Stack(L.Flatten(), 2)], input_shape=(4, 6)),
    "a recurrence inside of a block": lambda: dv.Sequential(
        [L.Stack(L.LSTM(6, return_sequences=True), 2)], input_shape=(4, 6)
    ),
    "the block is int": lambda: L.Stack(3, 2),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_stack_is_refused(said):
    with pytest.raises(dv.DeriveError) as error:
        REFUSED[said]()
    assert said in str(error.value)


class Mine(L.Layer):
    """A gain of your own."""

    kind = "mine"

    def __init__(self, start=1.0, name=None, trainable=True):
        super().__init__(name, trainable)
        self.start = start

    def connect(self, x, new):
        gain = new.parameter("gain", x.letters[-1], init=self.start)
        return new.define("h", x.letters, gain[x.letters[-1]] * x[x.letters])


def test_a_layer_of_your_own_is_saved_by_its_name_and_never_imported():
    model = dv.Sequential([L.Stack(Mine(2.0), 3), L.Dense(2)], input_shape=(4,))
    data = model.to_dict()
    assert data["layers"][0]["block"]["class"] == f"{__name__}.Mine"
    assert dv.Model.from_dict(data).output == model.output
    elsewhere = {**data, "layers": [{**data["layers"][0], "block": {"class": "their.module.Mine", "start": 2.0}}]}
    with pytest.raises(dv.DeriveError, match="from their.module import Mine before loading, or give it"):
        dv.Model.from_dict(elsewhere)
    assert dv.Model.from_dict(elsewhere, layers=[Mine]).parameters["stack_1_gain"].shape == (3, 4)


@pytest.mark.slow
def test_48_blocks_with_layer_norms_are_proved():
    evidence = gpt(48).backprop("sparse_softmax_cross_entropy").check()
    assert evidence.proved and evidence.seconds < 60  # 9 s on a machine of its own


def encoder_and_decoder(stacked):
    """The decoder reads a memory that is the last step of another recurrence over depth, under a mask."""
    x, y = dv.Input((3, 4), name="x"), dv.Input((2, 4), name="y")
    there = dv.Input((3,), name="there", dtype="int", below=2)
    encoder, decoder = ({}, {"cross": True, "causal": True})

    def deep(given, name, options):
        if stacked:
            return L.Stack(L.TransformerBlock(2, **options), 2, name=name)(given)
        for n in range(2):
            given = [L.TransformerBlock(2, name=f"{name}{n}", **options)(given), *given[1:]]
        return given[0]

    memory = L.LayerNorm()(deep([x, there], "encoder", encoder))
    return dv.Model([x, y, there], {"h": deep([y, memory, there], "decoder", decoder)})


def test_a_stack_reads_what_another_stack_made():
    stacked, written_out = encoder_and_decoder(True), encoder_and_decoder(False)
    rng = np.random.default_rng(0)
    params = {n: rng.normal(size=p.shape).astype(np.float32) for n, p in stacked.parameters.items()}
    apart = {}
    for n, a in params.items():
        stack, _, role = n.partition("_")
        every = {f"{stack}{k}_{role}": a[k] for k in range(2)} if stack in ("encoder", "decoder") else {n: a}
        apart |= every
    x, y = rng.normal(size=(2, 3, 4)).astype(np.float32), rng.normal(size=(2, 2, 4)).astype(np.float32)
    given = {"x": x, "y": y, "there": np.array([[1, 1, 0], [1, 1, 1]], np.int32)}
    found, wanted = (
        nx.compile(model.forward(), sizes=model.sizes)(**given, **p)["h"]
        for model, p in ((stacked, params), (written_out, apart))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(found).max() > 1


@pytest.mark.slow
def test_an_encoder_and_a_decoder_are_proved():
    assert encoder_and_decoder(True).backprop("mean_squared_error").check().ok


def test_a_function_is_a_layer_of_several_symbols():
    def product(given, new):
        x, y = given
        new.same(x.axes[1], y.axes[1], "product")
        return new.define("h", x.letters, x[x.letters] * y[x.letters])

    a, b = dv.Input((3,), name="a"), dv.Input((3,), name="b")
    model = dv.Model([a, b], L.Function(product)([L.Dense(3)(a), b]))
    assert model.backprop("mean_squared_error").check().proved


class Branches(L.Layer):
    """Layers of one's own that hold others: the sum of what they give."""

    def __init__(self, branches, rates=(1, 2), options=None, name=None, trainable=True):
        super().__init__(name, trainable)
        self.branches, self.rates, self.options = branches, rates, options

    def connect(self, x, new):
        rate = self.rates[0] + (self.options or {}).get("more", 0)
        return new.define("h", x.letters, rate * x[x.letters])


def test_a_layer_of_ones_own_is_saved_with_what_it_holds():
    held = [L.Dense(4, activation="relu"), Branches([L.Dense(2)])]
    model = dv.Sequential([Branches(held, (np.float32(0.5), 3), {"more": 2}), L.Dense(1)], input_shape=(4,))
    written = json.loads(json.dumps(model.to_dict()))
    again = dv.Model.from_dict(written, layers=[Branches]).layers[0].layer
    assert [type(b) for b in again.branches] == [L.Dense, Branches] and again.branches[0].activation.name == "relu"
    assert type(again.branches[1].branches[0]) is L.Dense
    assert list(again.rates) == [0.5, 3] and again.options == {"more": 2}
    for given, message in (
        ({"branches": [lambda x: x]}, "its branches is a function of your own"),
        ({"branches": [], "rates": np.arange(2)}, r"its rates is ndarray, .*as array.tolist\(\) makes them"),
    ):
        with pytest.raises(dv.DeriveError, match=message):
            dv.Sequential([Branches(**given)], input_shape=(4,)).to_dict()
    with pytest.raises(dv.DeriveError, match=r"accepted is a list of subclasses of L.Layer"):
        dv.Model.from_dict(written, layers=Branches)
