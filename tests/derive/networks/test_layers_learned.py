"""PReLU, Maxout, RBF and EmbeddingBag: proved, against plain JAX in float64, their shapes, options and refusals."""

import jax.numpy as jnp
import numpy as np
import pytest
from reference_layers import alone, derivation, error_against_jax

import derive as dv
import numerics as nx
from derive.language.errors import DeriveError, ShapeError
from derive.networks import layers as L
from derive.networks.losses import LOSSES

LAYERS = {
    "prelu": (lambda: L.PReLU(), (4,)),
    "prelu_image": (lambda: L.PReLU(), (2, 3, 4)),
    "prelu_shared": (lambda: L.PReLU(shared=True), (3, 4)),
    "maxout": (lambda: L.Maxout(3, pieces=4), (5,)),
    "maxout_steps": (lambda: L.Maxout(2, pieces=3, use_bias=False), (4, 5)),
    "rbf": (lambda: L.RBF(4), (3,)),
    "rbf_steps": (lambda: L.RBF(2), (4, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_proved_and_as_jax_says(name):
    make, shape = LAYERS[name]
    evidence = derivation(alone(make(), shape)).check()
    assert evidence.ok and evidence.proved
    assert error_against_jax(alone(make(), shape)) < 1e-12


@pytest.mark.parametrize("name", LAYERS)
def test_saved_as_data(name):
    make, shape = LAYERS[name]
    model = alone(make(), shape)
    assert dv.Sequential.from_dict(model.to_dict()).output == model.output


def test_the_pieces_of_a_maxout_are_drawn_like_dense_kernels():
    model = alone(L.Maxout(400, pieces=3, kernel_initializer="he_normal"), (200,))
    drawn = np.asarray(nx.init(model)["maxout_1_kernel"])
    assert drawn.shape == (200, 400, 3)
    assert drawn.std(axis=(0, 1)) == pytest.approx(np.full(3, np.sqrt(2 / 200)), rel=0.02)
    assert "he_normal" in str(model.summary())


def test_a_shared_slope_is_a_scalar():
    assert alone(L.PReLU(shared=True), (3, 4)).parameters["prelu_1_slope"].shape == ()
    assert alone(L.PReLU(), (3, 4)).parameters["prelu_1_slope"].shape == (4,)


def test_the_slope_learns_at_the_kink_as_its_left_piece():
    kern = nx.compile(derivation(alone(L.PReLU(), (2,))))
    _, grads = kern(x=jnp.array([[0.0, -2.0]]), prelu_1_slope=jnp.array([0.5, 0.5]), y=jnp.array([[1.0, 0.0]]))
    assert np.asarray(grads["x"]).tolist() == [[-0.5, -0.5]]  # dh = (-1, -1), times the slope
    assert np.asarray(grads["prelu_1_slope"]).tolist() == [0, 2]


def bag(mode, weighted):
    tokens = dv.Input((4,), dtype="int", below=6)
    layer = L.EmbeddingBag(6, 3, mode=mode, weighted=weighted)
    if not weighted:
        return dv.Model(tokens, layer(tokens))
    weights = dv.Input((4,), name="w")
    return dv.Model([tokens, weights], layer([tokens, weights]))


@pytest.mark.parametrize(
    "mode, weighted", [("sum", False), ("mean", False), ("max", False), ("sum", True), ("mean", True)]
)
def test_bags(mode, weighted, x64):
    model = bag(mode, weighted)
    d = model.backprop("mean_squared_error")
    assert d.check().proved
    rng = np.random.default_rng(1)
    table, x, w = rng.normal(size=(6, 3)), rng.integers(0, 6, (5, 4)), rng.random((5, 4))
    given = {"embedding_bag_1_table": table, "x": x, "y": rng.normal(size=(5, 3)), **({"w": w} if weighted else {})}
    _, _, out = nx.compile(d)(**given)
    rows = table[x] * (w[..., None] if weighted else 1)
    wanted = {
        "sum": rows.sum(1),
        "max": rows.max(1),
        "mean": rows.sum(1) / (w.sum(1, keepdims=True) if weighted else 4),
    }[mode]
    assert np.abs(np.asarray(out[model.output.name]) - wanted).max() < 1e-14
    report = nx.verify(nx.compile(d))
    assert report.ok and report.forward.startswith("jax.nn reference"), report


def test_an_empty_bag_gives_zero_and_no_gradient(x64):
    model = bag("mean", weighted=True)
    d = dv.backprop(
        model.loss("mean_squared_error"),
        [p.tensor for p in model.parameters.values()] + [model.inputs["w"]],
        outputs=[model.output],
    )
    table, w = np.arange(18.0).reshape(6, 3), np.array([[0.0, 0, 0, 0], [1, 1, 0, 0]])
    _, grads, out = nx.compile(d)(
        embedding_bag_1_table=table, x=np.array([[5, 5, 5, 5], [0, 1, 5, 5]]), w=w, y=np.ones((2, 3))
    )
    found = np.asarray(out[model.output.name])
    assert found.tolist() == [[0, 0, 0], [1.5, 2.5, 3.5]]
    assert np.isfinite(np.asarray(grads["w"])).all()
    assert np.asarray(grads["embedding_bag_1_table"])[2:].tolist() == np.zeros((4, 3)).tolist()


@pytest.mark.parametrize(
    "make, error, message",
    [
        (
            lambda: alone(L.Maxout(3, pieces=0), (2,)),
            ShapeError,
            r"Maxout\(3\): pieces is 0; accepted is a positive whole",
        ),
        (lambda: alone(L.RBF(0), (2,)), ShapeError, r"RBF\(0\): units is 0"),
        (
            lambda: L.PReLU(alpha_initializer="he_norml"),
            DeriveError,
            "PReLU: alpha_initializer: unknown initializer 'he_norml'; did you mean 'he_normal'",
        ),
        (lambda: L.EmbeddingBag(6, 3, mode="avg"), DeriveError, "unknown mode 'avg'.*accepted are sum, mean, max"),
        (lambda: L.EmbeddingBag(6, 3, mode="max", weighted=True), DeriveError, "mode 'max' takes no weights"),
        (
            lambda: dv.Model(x := dv.Input((4,)), L.EmbeddingBag(6, 3)(x)),
            ShapeError,
            r"reads token numbers \(B, T\), integers of a declared range; x is float \(B, 4\); write dv.Input",
        ),
        (
            lambda: dv.Model(
                [x := dv.Input((4,), dtype="int", below=6), w := dv.Input((3,), name="w")],
                L.EmbeddingBag(6, 3, weighted=True)([x, w]),
            ),
            ShapeError,
            r"x \(B, 4\), w \(B, 3\)",
        ),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


PAIRS = [
    (layer, name)
    for layer in ("prelu", "maxout", "rbf")
    for name, loss in LOSSES.items()
    if loss.admits({"prelu": "values", "maxout": "values", "rbf": "nonnegative"}[layer])
]


def pair(layer, loss):
    """Proved, and autodiff of the jax.nn reference to 1e-12."""
    make, shape = LAYERS[layer]
    model = alone(make(), shape)
    d = model.backprop(loss)
    assert d.check().proved, (layer, loss)
    unmet = (
        ["loss_in[b] <= 0"] if (layer, loss) == ("rbf", "categorical_hinge") else []
    )  # bumps are from 0 to 1: never below
    report = nx.verify(nx.compile(d), dtypes=("float64",), allow_unseen=unmet)
    assert report.ok and report.forward.startswith("jax.nn reference"), (layer, loss, report)


@pytest.mark.parametrize("layer, loss", [("prelu", "huber"), ("maxout", "categorical_hinge"), ("rbf", "poisson")])
def test_some_under_a_loss(layer, loss):
    pair(layer, loss)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["prelu", "maxout", "rbf"])
def test_all_under_every_loss(layer):
    found = [name for one, name in PAIRS if one == layer]
    assert len(found) >= 12
    for loss in found:
        pair(layer, loss)


def test_an_unknown_layer_is_told_the_nearest():
    with pytest.raises(
        AttributeError, match="derive.networks.layers has no 'Maxuot'; did you mean 'Maxout'.; the catalogue has Activ"
    ):
        L.Maxuot(3)
    assert not hasattr(L, "__wrapped__")
