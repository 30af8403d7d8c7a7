"""A generated module refuses arrays whose shapes do not belong together, by itself, while it is traced."""

import importlib.util

import jax
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx

TEXT = """
x: float[b,i]   label: int[b] < K
W: float[i,k] parameter
c: float[k] parameter
s: float parameter
z[b,k] = s*sum[i](x[b,i]*W[i,k]) + c[k]
loss = mean[b](log(sum[k](exp(z[b,k]))) - z[b,label[b]])
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    t = dv.parse(TEXT)
    kern = nx.compile(dv.backprop(t["loss"], wrt=[t["W"], t["c"], t["s"]]))
    path = kern.save(tmp_path_factory.mktemp("saved") / "saved.py")
    found = importlib.util.spec_from_file_location("saved_shapes", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def arrays(**other):
    def make(*shape):
        return np.ones(shape, np.float32)

    given = {"W": make(4, 3), "c": make(3), "s": make(), "x": make(7, 4), "label": np.zeros(7, np.int32)}
    return given | {n: np.ones(shape, given[n].dtype) for n, shape in other.items()}


def test_what_belongs_together_is_computed_by_place_and_by_name(module):
    loss, grads = module.loss_and_grads(*arrays().values())
    assert float(loss) == float(module.loss_and_grads(**arrays())[0]) == pytest.approx(np.log(3))
    assert {n: g.shape for n, g in grads.items()} == {"W": (4, 3), "c": (3,), "s": ()}
    batched = jax.vmap(module.loss_and_grads, in_axes=(None, None, 0, None, None))
    assert batched(*{**arrays(), "s": np.ones(5, np.float32)}.values())[0].shape == (5,)


@pytest.mark.parametrize(
    "other, message",
    [
        ({"c": (1,)}, r"c has shape \(1,\), but it is \(K\), with K = 3"),
        ({"label": (1,)}, r"label has shape \(1,\), but it is \(B\), with B = 7"),
        ({"x": (0, 4), "label": (0,)}, r"x has shape \(0, 4\).*each at least 1"),
        ({"W": (3, 4)}, "has shape"),
        ({"W": (4,)}, r"W has shape \(4,\), but it is \(I, K\)"),
        ({"s": (1,)}, r"s has shape \(1,\), but it is \(\)"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_what_does_not_is_refused(module, other, message, wrap):
    with pytest.raises(ValueError, match=message):
        wrap(module.loss_and_grads)(*arrays(**other).values())


def test_inside_jit_nothing_is_left_of_it(module):
    text = str(jax.make_jaxpr(module.loss_and_grads.__wrapped__.__wrapped__)(*arrays().values()))
    assert text == str(jax.make_jaxpr(module.loss_and_grads.__wrapped__)(*arrays().values()))


def test_fixed_axes_and_names_that_are_no_identifiers():
    p = dv.index("p", size="my size")
    x, v = dv.tensor("x", p, 3), dv.tensor("v", p)
    kern = nx.compile(dv.backprop(dv.define("loss", (), dv.Sum(x[p, 2] * v[p], p)), wrt=[v]))
    one = np.ones((2, 3), np.float32)
    assert float(kern.fn(one[:, 0], one)[0]) == 2
    with pytest.raises(ValueError, match="with 3 = 3"):
        kern.fn(one[:, 0], one[:, :2])
    with pytest.raises(ValueError, match="with my_size = 2"):
        kern.fn(one[:, 0], np.ones((3, 3), np.float32))


def test_an_integer_without_a_range_reads_nothing_outside():
    """``sum_j [y[b] = j] p[b,j]`` is 0 for a label that is no j: the read at y is not one that is zero outside by itself."""
    b, j = dv.indices("b j")
    p, y = dv.tensor("p", b, j), dv.tensor("y", b, dtype="int")
    loss = dv.define("loss", (), dv.Sum(p[b, j] ** 2 * dv.Iverson(sympy.Eq(y[b], j)), b, j))
    value, grads = nx.compile(dv.backprop(loss, wrt=[p]))(p=np.ones((3, 2), "f"), y=np.array([0, 5, -1]))
    assert value == 1 and grads["p"].tolist() == [[2, 0], [0, 0], [0, 0]]
