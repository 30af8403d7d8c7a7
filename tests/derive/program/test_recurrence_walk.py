"""What a recurrence must be able to do, each against autodiff of an unrolled loop, float64: shifts, starts, masks, chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx
from derive.networks import layers as L

SIZES = {"B": 2, "T": 5, "L": 3}


def agrees(d, forward, arrays, tolerance=1e-12):
    with jax.enable_x64(True):
        kern = nx.compile(d)
        loss, gradients = kern(**{t.name: arrays[t.name] for t in kern.inputs})[:2]
        held = {n: jnp.asarray(a) for n, a in arrays.items()}
        wanted, expected = jax.value_and_grad(lambda p: forward(**{**held, **p}))({n: held[n] for n in gradients})
        assert abs(loss - wanted) <= tolerance * abs(wanted)
        top = max(float(jnp.abs(e).max()) for e in expected.values())
        for n, e in expected.items():
            error = float(jnp.abs(gradients[n] - e).max())
            assert error <= tolerance * max(float(jnp.abs(e).max()), 1e-3 * top), n


def letters():
    return dv.indices("b t l")


@pytest.mark.parametrize("T", [1, 2, 3, 17])
@pytest.mark.parametrize("shifts", [(2,), (1, 3), (-2,), (-1, -2)])
def test_any_constant_shift_forwards_and_backwards(shifts, T):
    b, t, l = letters()  # noqa: E741
    x, w = dv.tensor("x", b, t, l), dv.tensor("w", len(shifts), l)
    h = dv.define(
        "h", (b, t, l), lambda h: sympy.tanh(x[b, t, l] + sum(w[n, l] * h[b, t - s, l] for n, s in enumerate(shifts)))
    )
    loss = dv.define("loss", (), dv.Sum(h[b, t, l] ** 2 * (t + 1), b, t, l))
    d = dv.backprop(loss, [w, x])
    rng = np.random.default_rng(T)
    arrays = {"x": rng.normal(size=(2, T, 3)), "w": rng.normal(size=(len(shifts), 3))}

    def forward(x, w):
        states = {}
        for now in range(T) if shifts[0] > 0 else reversed(range(T)):
            states[now] = jnp.tanh(x[:, now] + sum(w[n] * states.get(now - s, 0) for n, s in enumerate(shifts)))
        return sum((states[n] ** 2).sum() * (n + 1) for n in range(T))

    agrees(d, forward, arrays)


@pytest.mark.parametrize("shifts", [(2,), (1, 3), (-1, -2)])
def test_shifts_are_proved(shifts):
    b, t, l = letters()  # noqa: E741
    x, w = dv.tensor("x", b, t, l), dv.tensor("w", len(shifts), l)
    h = dv.define(
        "h", (b, t, l), lambda h: sympy.tanh(x[b, t, l] + sum(w[n, l] * h[b, t - s, l] for n, s in enumerate(shifts)))
    )
    evidence = dv.backprop(dv.define("loss", (), dv.Sum(h[b, t, l] ** 2, b, t, l)), [w]).check()
    assert evidence.ok and not evidence.undecided


def test_a_recurrence_over_a_recurrence():
    b, t, l = letters()  # noqa: E741
    x, u, v = dv.tensor("x", b, t, l), dv.tensor("u", l), dv.tensor("v", l)
    h = dv.define("h", (b, t, l), lambda h: sympy.tanh(x[b, t, l] + u[l] * h[b, t - 1, l]))
    g = dv.define("g", (b, t, l), lambda g: sympy.sin(h[b, t, l] + v[l] * g[b, t + 1, l] * h[b, t - 1, l]))
    d = dv.backprop(dv.define("loss", (), dv.Sum(g[b, 0, l] ** 2, b, l)), [u, v])
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(2, 5, 3)), "u": rng.normal(size=3), "v": rng.normal(size=3)}

    def forward(x, u, v):
        states, last, after = [], 0.0, 0.0
        for n in range(5):
            last = jnp.tanh(x[:, n] + u * last)
            states.append(last)
        for n in reversed(range(5)):
            after = jnp.sin(states[n] + v * after * (states[n - 1] if n else 0))
        return (after**2).sum()

    agrees(d, forward, arrays)
    assert d.check().ok


def test_a_loss_at_a_step_that_the_data_gives():
    b, t, l = letters()  # noqa: E741
    x, w = dv.tensor("x", b, t, l), dv.tensor("w", l)
    last = dv.tensor("last", b, dtype="int", below=t.size)
    h = dv.define("h", (b, t, l), lambda h: sympy.tanh(x[b, t, l] + w[l] * h[b, t - 1, l]))
    d = dv.backprop(dv.define("loss", (), dv.Sum(h[b, last[b], l] ** 2, b, l)), [w, x])
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(2, 5, 3)), "w": rng.normal(size=3), "last": np.array([1, 4])}

    def forward(x, w, last):
        states, now = [], 0.0
        for n in range(5):
            now = jnp.tanh(x[:, n] + w * now)
            states.append(now)
        return (jnp.stack(states, 1)[jnp.arange(2), last] ** 2).sum()

    agrees(d, forward, arrays)


def test_opposite_shifts_in_one_cycle_are_refused_by_name():
    b, t, l = letters()  # noqa: E741
    x = dv.tensor("x", b, t, l)
    f, g = dv.define("f g", (b, t, l), lambda f, g: (g[b, t - 1, l] + x[b, t, l], f[b, t + 1, l] ** 2))
    with pytest.raises(dv.UnsupportedError, match="f -> g -> f read each other in a cycle that no constant shift"):
        dv.backprop(dv.define("loss", (), dv.Sum(f[b, t, l], b, t, l)), [x])


def test_the_states_of_a_layer_are_returned():
    x = dv.Input((5, 3))
    y, h, c = L.LSTM(4, return_sequences=True, return_state=True)(x)
    model = dv.Model(x, {"y": y, "h": h, "c": c})
    kern = nx.compile(model.forward())
    rng = np.random.default_rng(0)
    arrays = {n: rng.normal(size=p.shape).astype(np.float32) for n, p in model.parameters.items()}
    found = kern(x=rng.normal(size=(2, 5, 3)).astype(np.float32), **arrays)
    assert np.array_equal(found["h"], found["y"][:, -1]) and found["c"].shape == (2, 4)


def test_truncation_longer_than_the_sequence_and_a_state_of_another_batch():
    with pytest.raises(nx.InputError, match="truncation after 20 steps, but 11 elements in 1 streams are 10 steps"):
        nx.windows(np.arange(11), 1, 20)
    import optax

    model = dv.Sequential(
        [L.Embedding(7, 3), L.LSTM(4, return_sequences=True, initial_state="carried"), L.Dense(7)], input_shape=(5,)
    )
    t = nx.Trainer(model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam(1e-2), clip_norm=1.0)
    x, y = nx.windows(np.arange(61) % 7, 3, 5)
    with pytest.raises(nx.InputError, match="accepted are batch sizes that divide 12"):
        t.fit(x, y, batch_size=5, verbose=False)
    t.fit(x, y, batch_size=3, verbose=False)
    arrays = {**t.params, "x": x[:2], "y": y[:2], **t.carried}
    with pytest.raises(nx.NumericsError, match="lstm_1_"):
        t.kernel(**{name: arrays[name] for name in (i.name for i in t.kernel.inputs)})
