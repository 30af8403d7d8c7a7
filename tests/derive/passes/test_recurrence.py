"""What a derived recurrence looks like: scans without parameter gradients, minimal carries; and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
from derive.language.errors import DeriveError, ShapeError, UnsupportedError
from derive.networks import layers as L
from numerics.data import sequences
from numerics.errors import InputError, NumericsError
from numerics.kernel.compile import compile
from numerics.training import Trainer

SIZES = {"B": 2, "T": 5, "I": 3, "L": 7}


def kernel(layer, T=5, F=3):
    model = dv.Sequential([layer], input_shape=(T, F))
    return model, compile(model.backprop("mean_squared_error"))


def scans(jaxpr):
    """Every scan of a jaxpr, also of those inside it."""
    for eq in jaxpr.eqns:
        if eq.primitive.name == "scan":
            yield eq
        for v in eq.params.values():
            inner = getattr(v, "jaxpr", None)
            if inner is not None and eq.primitive.name != "scan":
                yield from scans(inner)


def inner(scan):
    return getattr(scan.params["jaxpr"], "jaxpr", scan.params["jaxpr"])


@pytest.mark.parametrize(
    "layer, carried",
    [
        (L.SimpleRNN(7, return_sequences=True), [1, 1]),
        (L.LSTM(7, return_sequences=True), [2, 2]),
        (L.GRU(7, return_sequences=True), [1, 2]),
    ],
)
def test_no_parameter_gradient_in_a_scan_and_minimal_carries(layer, carried):
    model, kern = kernel(layer)
    arrays = []
    for t in kern.inputs:
        arrays.append(jnp.zeros([SIZES[str(a)] if str(a) in SIZES else int(a) for a in t.axes]))
    found = list(scans(jax.make_jaxpr(kern.fn)(*arrays).jaxpr))
    assert [
        sum(
            outside.aval.shape == inside.aval.shape
            for outside, inside in zip(eq.outvars, inner(eq).outvars, strict=True)
        )
        for eq in found
    ] == carried  # what is stacked has one axis more outside
    assert [eq.params["reverse"] for eq in found] == [False, True]
    shapes = {p.shape for p in model.parameters.values() if len(p.shape) > 1}
    for eq in found:
        inside = [v.aval.shape for e in inner(eq).eqns if e.primitive.name == "dot_general" for v in e.outvars]
        assert inside and not shapes & set(inside)
    body = kern.source.split("def ")[2:]
    assert all(f"d_{name}" not in step.split("return")[0] for step in body for name in model.parameters)


def test_the_input_projection_is_hoisted():
    _, kern = kernel(L.LSTM(7, return_sequences=True))
    assert ("hoist", 1) in [choice[:2] for choice in kern.choices]
    step = kern.source.split("_step(")[1].split("lax.scan")[0]
    assert "lstm_1_recurrent" in step and "lstm_1_kernel" not in step and "x," not in step


def test_the_gates_are_stacked_and_time_comes_first():
    _, kern = kernel(L.LSTM(7, return_sequences=True))
    assert "jnp.stack((" in kern.source and "stack" in [choice[0] for choice in kern.choices]
    assert "jnp.moveaxis(o1" not in kern.source and "h1_out = jnp.moveaxis(h1, 0, 1)" in kern.source


def test_derivation_does_not_depend_on_the_length():
    assert kernel(L.GRU(7), T=3)[1].source == kernel(L.GRU(7), T=3000)[1].source


def test_a_state_read_at_a_step_given_by_the_data():
    model = dv.Sequential([L.SimpleRNN(4, return_sequences=True)], input_shape=(5, 3))
    h = model.output
    b, t, l = h.letters  # noqa: E741
    last = dv.tensor("last", b, dtype="int", below=t.size)
    loss = dv.define("loss", (), dv.Sum(h[b, last[b], l] ** 2, b, l))
    d = dv.backprop(loss, [p.tensor for p in model.parameters.values()])
    evidence = d.check()
    assert evidence.ok and not evidence.undecided
    assert "[t = last[b]]" in str(d.gradient("h1"))


def test_a_cycle_without_a_shift_is_named():
    b, t = dv.indices("b t")
    x = dv.tensor("x", b, t)
    f, g = dv.define("f g", (b, t), lambda f, g: (g[b, t] + x[b, t], f[b, t] ** 2))
    with pytest.raises(UnsupportedError, match="f -> g -> f read each other in a cycle"):
        dv.backprop(dv.define("loss", (), dv.Sum(f[b, t], b, t)), [x])


def test_coupled_definitions_may_differ_in_their_axes():
    b, t, q = dv.index("b"), dv.index("t"), dv.index("q", 2)
    with pytest.raises(ShapeError, match="2 names but 1 tuples of axes"):
        dv.define("z h", [(b, t, q)], lambda z, h: (h[b, t - 1], z[b, t, 0]))


def test_training_on_token_numbers():
    optax = pytest.importorskip("optax")
    model = dv.Sequential([L.Embedding(7, 3), L.GRU(4), L.Dense(2)], input_shape=(5,))
    t = Trainer(model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam(0.05), metrics=["accuracy"])
    X = np.random.default_rng(0).integers(0, 7, (32, 5))
    history = t.fit(X, (X[:, -1] > 3).astype(int), batch_size=16, epochs=30, verbose=False)
    assert history["accuracy"][-1] > 0.9 and t.predict(X).shape == (32, 2)
    with pytest.raises(InputError, match=r"X\[0, 1\] is 9; the model reads token numbers in \[0, 7\)"):
        t.predict([[0, 9, 1, 1, 1]])
    with pytest.raises(InputError, match=r"X holds sequences of unequal lengths \(4, 5\); nx.pad\(X\) makes"):
        t.predict([[0, 1, 1, 1], [0, 1, 1, 1, 1]])


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer, shape, message",
    [
        (L.LSTM(4), (5,), r"LSTM\(4\) reads sequences \(B, T, F\); it was given \(B, 5\); a series"),
        (L.TimeDistributed(L.Dense(2)), (5,), r"TimeDistributed reads \(B, T, ...\); it was given \(B, 5\)"),
        (L.TimeDistributed(L.BatchNorm()), (5, 3), "BatchNorm.* cannot treat each step by itself"),
    ],
)
def test_shapes_that_are_no_sequences(layer, shape, message):
    with pytest.raises(DeriveError, match=message):
        dv.Sequential([layer], input_shape=shape)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: L.GRU(4, reset_after="between"), "reset_after is 'between'; accepted are True"),
        (lambda: L.LSTM(0), r"LSTM\(0\): units is 0; accepted is a positive whole number"),
        (lambda: L.LSTM(4, initial_state="zero"), "unknown initial_state 'zero'; did you mean 'zeros'"),
        (lambda: L.SimpleRNN(4, activation="softmax"), "'softmax' looks at a whole axis"),
        (lambda: L.Bidirectional(L.Dense(3)), "accepted are SimpleRNN, LSTM and GRU"),
        (lambda: L.Bidirectional(L.LSTM(3, initial_state="carried")), "cannot be carried"),
        (lambda: L.Bidirectional(L.LSTM(3), merge_mode="add"), "unknown merge_mode 'add'"),
    ],
)
def test_options_that_are_refused(make, message):
    with pytest.raises(DeriveError, match=message):
        make()


@pytest.mark.parametrize(
    "mask, message",
    [
        ((4,), r"steps of the mask mask and of the sequence: 4 and 5"),
        ((5, 3), r"the mask mask has shape \(B, 5, 3\); accepted is \(B, T\), here \(B, 5\)"),
    ],
)
def test_a_mask_of_the_wrong_shape(mask, message):
    x, m = dv.Input((5, 3)), dv.Input(mask, name="mask", dtype="int", below=2)
    with pytest.raises(ShapeError, match=message):
        dv.Model([x, m], L.LSTM(4, masked=True)([x, m]))


def test_an_embedding_of_floats_or_of_another_range():
    with pytest.raises(ShapeError, match=r"token numbers, .* x is float; write dv.Input\(shape, dtype='int', below=7"):
        x = dv.Input((5,))
        dv.Model(x, L.Embedding(7, 3)(x))
    with pytest.raises(ShapeError, match="has 7 rows, but x is declared below 9"):
        x = dv.Input((5,), dtype="int", below=9)
        dv.Model(x, L.Embedding(7, 3)(x))


def test_token_numbers_out_of_range_are_found_with_value_and_position():
    model = dv.Sequential([L.Embedding(7, 3), L.SimpleRNN(4)], input_shape=(3,))
    kern = compile(model.backprop("mean_squared_error"))
    with pytest.raises(NumericsError, match=r"x\[1, 2\].*7"):
        kern.validate(x=np.array([[0, 1, 2], [3, 4, 7]], np.int32), embedding_1_table=np.zeros((7, 3), np.float32))


def test_a_carried_state_of_another_batch():
    model = dv.Sequential([L.SimpleRNN(4, initial_state="carried")], input_shape=(3, 2))
    kern = compile(model.backprop("mean_squared_error"))
    f = np.float32
    arrays = {n: np.zeros(p.shape, f) for n, p in model.parameters.items()}
    with pytest.raises(NumericsError, match="simple_rnn_1_h"):
        kern(x=np.zeros((5, 3, 2), f), y=np.zeros((5, 4), f), simple_rnn_1_h=np.zeros((6, 4), f), **arrays)


def test_sequences_of_unequal_lengths_are_padded_with_a_mask():
    X, mask = sequences.pad([np.ones((2, 3)), np.ones((4, 3))])
    assert X.shape == (2, 4, 3) and mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert X[0, 2:].sum() == 0 and sequences.lengths(mask).tolist() == [2, 4]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: sequences.pad([]), "there are no sequences"),
        (lambda: sequences.pad([[1], []]), "sequence 1 is empty"),
        (lambda: sequences.pad([np.ones((2, 3)), np.ones((2, 4))]), r"sequence 1 has shape \(4,\), one of sequence 0"),
        (lambda: sequences.lengths([[1, 0, 1]]), r"mask\[0, 2\] is 1 after a 0 at 1; .* a prefix"),
        (lambda: sequences.Vocabulary(""), "the text is empty"),
        (lambda: sequences.Vocabulary("ab").encode("abc"), "character 'c' at position 2 is not in the vocabulary of 2"),
        (
            lambda: list(sequences.streams(np.arange(11), 2, 6)),
            "truncation after 6 steps, but 11 elements in 2 streams",
        ),
    ],
)
def test_bad_sequences(call, message):
    with pytest.raises(InputError, match=message):
        call()
