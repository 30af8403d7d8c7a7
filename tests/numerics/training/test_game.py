"""Steps of your own: two players on one batch, each with its derived gradients."""

import jax
import numpy as np
import optax
import pytest
import sympy

import derive as dv
import numerics as nx
from derive import layers as L
from numerics.errors import InputError, NumericsError


def adversaries():
    """A critic w x + e that tells data from noise moved by m; the one who moves it wants to be taken for data."""
    b = dv.index("b")
    x, z = dv.tensor("x", b), dv.tensor("z", b)
    w, e, m = dv.tensor("w"), dv.tensor("e"), dv.tensor("m")
    real = dv.define("real", (b,), w * x[b] + e)
    fake = dv.define("fake", (b,), w * (z[b] + m) + e)
    told = dv.define(
        "told",
        (),
        dv.Sum(sympy.log(1 + sympy.exp(-real[b])) + sympy.log(1 + sympy.exp(fake[b])), b) / b.size + w**2 / 4,
    )
    taken = dv.define("taken", (), dv.Sum(sympy.log(1 + sympy.exp(-fake[b])), b) / b.size)
    return dv.backprop(told, wrt=[w, e]), dv.backprop(taken, wrt=[m])


def players(rate=0.2):
    critic, mover = adversaries()
    return {"critic": nx.Player(critic, optax.sgd(rate)), "mover": nx.Player(mover, optax.sgd(rate))}


def step(turn, batch, generator):
    turn("critic", {**batch, "z": generator.normal(size=32)})
    turn("mover", {"z": generator.normal(size=32)})


START = {"w": 0.0, "e": 0.0, "m": 0.0}
X = np.random.default_rng(0).normal(3.0, 1.0, 640)


def test_two_players_meet_where_noise_looks_like_data():
    params, history = nx.play(players(), START, {"x": X}, step, epochs=40)
    assert abs(float(params["m"]) - X.mean()) < 0.3
    assert abs(float(params["w"])) < 0.2
    assert {name: len(v) for name, v in history.items()} == {"critic": 40, "mover": 40}
    again, _ = nx.play(players(), START, {"x": X}, step, epochs=40)
    assert {n: float(a) for n, a in params.items()} == {n: float(a) for n, a in again.items()}


def test_a_turn_changes_its_own_parameters_by_its_own_gradient():
    batch = {"x": X[:32].astype(np.float32), "z": np.linspace(-1, 1, 32, dtype=np.float32)}
    start = {"w": np.float32(0.3), "e": np.float32(-0.1), "m": np.float32(0.5)}
    seen = {}

    def once(turn, given, generator):
        seen["critic"], seen["mover"] = float(turn("critic", batch)), float(turn("mover", batch))

    params, _ = nx.play(players(0.1), start, {"x": X[:32]}, once)

    def told(w, e, m):
        real, fake = w * batch["x"] + e, w * (batch["z"] + m) + e
        return (jax.nn.softplus(-real) + jax.nn.softplus(fake)).mean() + w**2 / 4

    def taken(m, w, e):
        return jax.nn.softplus(-(w * (batch["z"] + m) + e)).mean()

    w, e, m = (float(v) for v in start.values())
    dw, de = jax.grad(told, (0, 1))(w, e, m)
    w2, e2 = w - 0.1 * float(dw), e - 0.1 * float(de)
    assert seen == pytest.approx({"critic": float(told(w, e, m)), "mover": float(taken(m, w2, e2))}, rel=1e-5)
    expected = {"w": w2, "e": e2, "m": m - 0.1 * float(jax.grad(taken)(m, w2, e2))}
    assert {n: float(a) for n, a in params.items()} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nx.play({"a": players()["mover"], "b": players()["mover"]}, START, {"x": X}, step),
            "a and b both train m; a parameter belongs to one player",
        ),
        (lambda: nx.play(players(), {"w": 0.0, "e": 0.0}, {"x": X}, step), "params lacks m, which mover trains"),
        (
            lambda: nx.play(players(), START, {"x": X}, lambda turn, batch, generator: turn("critics", batch)),
            "there is no player 'critics'; there are critic, mover",
        ),
        (
            lambda: nx.play(players(), START, {"x": X}, lambda turn, batch, generator: turn("critic", batch)),
            "its program reads z, which is neither a parameter nor in the batch; there are w, e, m, x",
        ),
        (
            lambda: nx.play(players(), START, {"x": X}, step, batch_size=641),
            "batch_size is 641, but there are 640 examples",
        ),
        (lambda: nx.play(players(1e30), START, {"x": X}, step), "the loss of critic became .* in epoch 1"),
        (lambda: nx.Player("critic", optax.sgd(0.1)), "takes a derivation of dv.backprop.*given str"),
    ],
)
def test_what_is_not_a_game_is_refused(make, message):
    with np.errstate(all="ignore"), pytest.raises((InputError, NumericsError), match=message):
        make()


def test_models_called_on_one_another_play():
    """A GAN of two models: the forger's numbers get the mean of the real ones."""
    loss = "sigmoid_binary_cross_entropy"
    forger = dv.Sequential([L.Dense(1)], input_shape=(1,), name="forger")
    critic = dv.Sequential([L.Dense(8, activation="tanh"), L.Dense(1)], input_shape=(1,), name="critic")
    real = dv.Input((1,), name="real")
    judged = dv.Model([real, forger.input], {"real": critic(real), "fake": critic(forger.output)})
    forged = dv.Model(forger.input, critic(forger.output))
    players = {
        "critic": nx.Player(judged, optax.adam(2e-2), loss={"real": loss, "fake": loss}, frozen="forger"),
        "forger": nx.Player(forged, optax.adam(1e-2), loss=loss, frozen="critic"),
    }
    assert set(players["forger"].own) == {"forger_dense_1_kernel", "forger_dense_1_bias"}
    assert all(n.startswith("critic_") for n in players["critic"].own)

    def turns(turn, batch, generator):
        n = len(batch["real"])
        noise, one = generator.normal(size=(n, 1)), np.ones((n, 1))
        turn("critic", {**batch, "x": noise, "y_real": one, "y_fake": 0 * one})
        turn("forger", {"x": noise, "y": one})

    x = 1.5 + 0.5 * np.random.default_rng(0).normal(size=(1024, 1))
    params, _ = nx.play(players, nx.init(judged), {"real": x}, turns, batch_size=64, epochs=25)
    samples = nx.compile(dv.Model(forger.input, forger(forger.input)).forward(), sizes=forger.sizes)
    noise = np.random.default_rng(1).normal(size=(500, 1)).astype(np.float32)
    given = {"x": noise, **{t.name: params[t.name] for t in samples.inputs if t.name in params}}
    (made,) = samples(**given).values()
    assert abs(float(made.mean()) - 1.5) < 0.4


def test_a_model_that_does_not_play():
    net = dv.Sequential([L.Dense(2), L.Dropout(0.5)], input_shape=(2,))
    with pytest.raises(NumericsError, match="give its loss"):
        nx.Player(net, optax.sgd(0.1))
    with pytest.raises(NumericsError, match=r"model draws masks \(dropout_1_mask\), which play does not hand"):
        nx.Player(net, optax.sgd(0.1), loss="mean_squared_error")
    with pytest.raises(NumericsError, match="are those of a model"):
        nx.Player(adversaries()[0], optax.sgd(0.1), frozen="m")
