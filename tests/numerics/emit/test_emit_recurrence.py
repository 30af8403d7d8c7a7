"""Emission of recurrences: sums in the operands' own order, biases inside the step, stacks of what is carried in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
import numerics as nx
from benchmarks import recurrent
from benchmarks.harness import memory
from derive.networks import layers as L
from numerics.emit.source.printer import expression
from numerics.emit.source.value import named
from numerics.emit.terms import contraction


def compiled(kind, width=16, batch=8, steps=64, **options):
    """XLA's programs of ours and of autodiff of the usual model, from shapes alone."""
    model = dv.Sequential([recurrent.LAYERS[kind](width, return_sequences=True)], input_shape=(steps, width))
    kern = nx.compile(model.backprop("mean_squared_error"), **options)
    given = {n: jax.ShapeDtypeStruct(p.shape, jnp.float32) for n, p in model.parameters.items()}
    x = jax.ShapeDtypeStruct((batch, steps, width), jnp.float32)
    every = {**given, "x": x, "y": x}
    ours = kern.fn.lower(*[every[t.name] for t in kern.inputs]).compile()
    theirs = jax.jit(jax.value_and_grad(recurrent.FORWARDS[kind])).lower(given, x, x).compile()
    return ours, theirs


@pytest.mark.parametrize(
    "kind, options, most",
    [
        ("tanh RNN", {}, 1.02),  # the same arrays; what XLA keeps beside a loop is a kB more or less by its version
        ("LSTM", {}, 1.3),
        ("LSTM", {"checkpoint_every": 8}, 0.9),
        ("LSTM", {"checkpoint_every": 9}, 0.9),
    ],
)
def test_temporaries_against_autodiff_of_the_usual_scan(kind, options, most):
    ours, theirs = map(memory, compiled(kind, **options))
    assert ours and theirs and ours <= most * theirs, f"{ours / theirs:.2f}"


def test_the_compiled_program_does_not_depend_on_the_length():
    sizes = [len(compiled("LSTM", steps=T)[0].as_text().splitlines()) for T in (16, 512)]
    assert abs(sizes[1] - sizes[0]) <= 0.02 * sizes[0]


def test_a_bias_stays_in_the_step():
    kern = nx.compile(dv.Sequential([L.LSTM(4)], input_shape=(5, 3)).backprop("mean_squared_error"))
    before, step = kern.source.split("def c1_step", 1)
    assert "lstm_1_bias" not in before.split('"""')[-1] and "+ lstm_1_bias" in step.split("lax.scan")[0]


def test_what_is_read_a_step_earlier_only_is_stacked_as_it_is_carried_in():
    model = dv.Sequential([L.LSTM(4)], input_shape=(5, 3))
    kern = nx.compile(model.backprop("mean_squared_error"))
    assert "jnp.pad(c1" not in kern.source and "g1, o1, c1_prev, s1" in kern.source
    assert "earlier" in [rule for rule, *_ in kern.choices]
    d = dv.backprop(
        model.loss("mean_squared_error"),
        [p.tensor for p in model.parameters.values()],
        outputs=[next(e.tensor for e in kern.derivation.program.equations if e.name == "c1")],
    )
    kern, dense = nx.compile(d), nx.compile(d, dense=True)  # c itself is asked for: it is stacked, and shifted
    assert "jnp.pad(c1" in kern.source
    rng = np.random.default_rng(0)
    sizes = {"B": 2, **model.sizes}
    given = {
        t.name: rng.normal(size=[sizes[str(a)] if str(a) in sizes else int(a) for a in t.axes]).astype(np.float32)
        for t in kern.inputs
    }
    for a, b in zip(jax.tree.leaves(kern(**given)), jax.tree.leaves(dense(**given)), strict=True):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-6)


def test_einsum_only_where_the_sums_are_in_alphabetical_order():
    b, t, i, q = dv.indices("b t i q")

    def written(*axes):
        values = [named("x", axes[0]), named("y", axes[1])]
        return expression(contraction.einsum(values, axes[2]).node)

    assert written((b, t, i), (b, t, q), (i, q)) == 'jnp.einsum("bti,btq->iq", x, y)'
    assert written((t, b, i), (t, b, q), (i, q)) == "jnp.tensordot(x, y, ((0, 1), (0, 1)))"
    assert written((i, t, b), (t, b, q), (i, q)) == "jnp.tensordot(x, y, ((1, 2), (0, 1)))"
    assert written((t, b, i), (b, t, q), (i, q)) == 'jnp.einsum("tbi,btq->iq", x, y)'  # nothing to keep in order
    assert written((t, b, i), (t, b, q), (q, i)) == "jnp.tensordot(y, x, ((0, 1), (0, 1)))"


@pytest.mark.parametrize(
    "every, message",
    [
        (0, "checkpoint_every is 0; accepted is a whole number"),
        (2.5, "checkpoint_every is 2.5"),
        (6, "has 5 steps; accepted is"),
    ],
)
def test_checkpoints_that_make_no_sense(every, message):
    d = dv.Sequential([L.LSTM(4)], input_shape=(5, 3)).backprop("mean_squared_error")
    with pytest.raises(nx.NumericsError, match=message):
        nx.compile(d, sizes={"T": 5}, checkpoint_every=every)


def test_checkpoints_of_a_program_without_a_recurrence():
    d = dv.Sequential([L.Dense(4)], input_shape=(3,)).backprop("mean_squared_error")
    with pytest.raises(nx.NumericsError, match="this program has no recurrence"):
        nx.compile(d, checkpoint_every=2)


def test_the_header_says_what_is_carried_and_what_is_saved():
    text = nx.compile(dv.Sequential([L.LSTM(4)], input_shape=(7, 3)).backprop("mean_squared_error")).source
    header = " ".join(text[: text.index("import")].split())
    assert (
        "from step to step c1, h1 alone are carried; of every step i1, f1, g1, o1, c1_prev, s1, h1 alone are saved"
        in header
    )
    assert "from step to step dc1, dz1 alone are carried; of every step dz1 alone is saved" in header
