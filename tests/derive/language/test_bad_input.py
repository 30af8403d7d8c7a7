"""Bad input: each error names the equation, the conflict and what would be accepted."""

import pytest
import sympy

import derive as dv

b, i, k, t = dv.indices("b i k t")
x, W, c = dv.tensor("x", b, i), dv.tensor("W", i, k), dv.tensor("c", k)
label = dv.tensor("label", b, dtype="int", below=k.size)
unbounded = dv.tensor("n", b, dtype="int")


def loss(body, wrt=None):
    return dv.backprop(dv.define("loss", (), body), [x] if wrt is None else wrt)


BAD = {
    "an index free twice": (
        lambda: dv.define("z", (b, b), x[b, b]),
        dv.IndexCaptureError,
        ["z", "b is free twice", "dv.indices('p q'"],
    ),
    "an unbound index": (
        lambda: dv.define("z", (b,), x[b, i]),
        dv.IndexCaptureError,
        ["z[b] = x[b, i]", "i is unbound", "Sum(..., i)"],
    ),
    "an index free and bound": (
        lambda: dv.define("z", (b, i), dv.Sum(x[b, i], i)),
        dv.IndexCaptureError,
        ["z[b, i]", "another letter"],
    ),
    "an index bound twice": (
        lambda: dv.Sum(x[b, i] * dv.Sum(x[b, i], i), i),
        dv.IndexCaptureError,
        ["already bound", "another letter"],
    ),
    "sizes that conflict": (
        lambda: loss(dv.Sum(x[b, k], b, k)),
        dv.ShapeError,
        ["loss = sum[b,k](x[b, k])", "index k has size K, but axis 1 of x has size I", "size='I'"],
    ),
    "a name defined twice": (
        lambda: loss(dv.Sum(x[b, i] * dv.tensor("x", b)[b], b, i)),
        dv.DeriveError,
        ["'x' is defined twice"],
    ),
    "recursion without a shift": (
        lambda: loss(dv.Sum(dv.define("h", (b,), lambda h: sympy.tanh(h[b]) + dv.Sum(x[b, i], i))[b], b)),
        dv.UnsupportedError,
        ["h[b] = tanh(h[b])", "h -> h", "h[t - 1, b, l]"],
    ),
    "recursion both ways in time": (
        lambda: loss(dv.Sum(dv.define("h", (b,), lambda h: h[b - 1] + h[b + 1] + dv.Sum(x[b, i], i))[b], b)),
        dv.UnsupportedError,
        ["h -> h", "the same sign of shift"],
    ),
    "a product as an index": (
        lambda: loss(dv.Sum(x[b * b, i], b, i)),
        dv.UnsupportedError,
        ["b**2 is not an affine index", "2*u + r - 1"],
    ),
    "half an index": (lambda: loss(dv.Sum(x[b, i / 2], b, i)), dv.UnsupportedError, ["i/2", "integer coefficients"]),
    "an integer read without a range": (
        lambda: loss(dv.Sum(x[unbounded[b], i], b, i)),
        dv.UnsupportedError,
        ["without a declared range", "below=B"],
    ),
    "an integer of another range": (
        lambda: loss(dv.Sum(x[label[b], i], b, i)),
        dv.ShapeError,
        ["label ranges below K", "size B"],
    ),
    "a float as an index": (
        lambda: loss(dv.Sum(x[x[b, i], i], b, i)),
        dv.UnsupportedError,
        ["x[b, i] is a float", "integer tensors"],
    ),
    "a negative index": (lambda: x[b, -1], dv.UnsupportedError, ["negative index", "I - 1"]),
    "a slice": (lambda: x[b, :], dv.UnsupportedError, ["slice", "x[i + 1]"]),
    "too few indices": (lambda: x[b], dv.ShapeError, ["reads 1 indices", "has 2 axes: (B, I)"]),
    "a tensor standing alone": (lambda: W + 1, dv.ShapeError, ["W has 2 axes", "W[i, k]"]),
    "a gradient of an integer tensor": (
        lambda: loss(dv.Sum(x[b, i] * label[b], b, i), [label]),
        dv.DerivationError,
        ["label is int", "float tensors only"],
    ),
    "a gradient of something unread": (
        lambda: loss(dv.Sum(x[b, i], b, i), [W]),
        dv.DerivationError,
        ["loss does not depend on W", "it depends on x"],
    ),
    "a loss with axes": (
        lambda: dv.backprop(dv.define("z", (b, i), x[b, i] ** 2), [x]),
        dv.DerivationError,
        ["scalar loss", "axes (B, I)", "dv.vjp(z"],
    ),
    "a loss of integers only": (
        lambda: dv.backprop(dv.define("n", (), dv.Sum(label[b], b)), [x]),
        dv.DerivationError,
        ["n does not depend on x", "no float input"],
    ),
    "a loss that is an input": (lambda: dv.backprop(x, [x]), dv.DeriveError, ["x is an input"]),
    "a loss that is an expression": (
        lambda: dv.backprop(dv.Sum(x[b, i], b, i), [x]),
        dv.DeriveError,
        ["made by dv.define"],
    ),
    "wrt as a string": (
        lambda: dv.backprop(dv.define("z", (), dv.Sum(x[b, i], b, i)), "x"),
        dv.DeriveError,
        ["not 'x'"],
    ),
    "an empty wrt": (lambda: loss(dv.Sum(x[b, i], b, i), []), dv.DeriveError, ["wrt is empty"]),
    "wrt twice": (lambda: loss(dv.Sum(x[b, i], b, i), [x, x]), dv.DeriveError, ["names x twice"]),
    "a zero size": (lambda: dv.tensor("z", 0), dv.ShapeError, ["size 0", "zero-size axes are refused"]),
    "a negative size": (lambda: dv.index("z", size=-3), dv.ShapeError, ["size -3"]),
    "an unknown dtype": (
        lambda: dv.tensor("z", b, dtype="complex"),
        dv.DeriveError,
        ["'complex'", "'float', 'int', 'bool'"],
    ),
    "a range on floats": (lambda: dv.tensor("z", b, below=3), dv.DeriveError, ["integer tensor"]),
    "an unknown role": (lambda: dv.tensor("z", b, role="weight"), dv.DeriveError, ["'weight'", "parameter"]),
    "an unknown function": (
        lambda: loss(dv.Sum(sympy.gamma(x[b, i]), b, i)),
        dv.UnsupportedError,
        ["gamma(x[b, i])", "accepted", "tanh"],
    ),
    "a plain symbol": (
        lambda: loss(dv.Sum(x[b, i] * sympy.Symbol("lam"), b, i)),
        dv.UnsupportedError,
        ["lam", "dv.tensor('lam')"],
    ),
    "the imaginary unit": (lambda: loss(dv.Sum(sympy.I * x[b, i], b, i)), dv.UnsupportedError, ["not a real number"]),
    "a SymPy matrix": (
        lambda: dv.define("z", (), sympy.MatrixSymbol("A", 2, 2)),
        dv.UnsupportedError,
        ["MatrixSymbol"],
    ),
    "a condition as a value": (lambda: dv.define("z", (b, i), x[b, i] > 0), dv.UnsupportedError, ["Piecewise"]),
    "a text as a right-hand side": (lambda: dv.define("z", (b,), "x"), dv.UnsupportedError, ["dv.parse"]),
    "axes as strings": (lambda: dv.define("z", ("b",), x[b, 0]), dv.ShapeError, ["'b' is not an index"]),
    "a max over an expression": (lambda: dv.Max(x[b, i], x[b, i]), dv.IndexCaptureError, ["is not an index"]),
    "a sum over nothing": (lambda: dv.Sum(x[b, i]), dv.IndexCaptureError, ["name the index"]),
    "an empty max window": (
        lambda: loss(dv.Sum(dv.Max(x[b, i + k.size + i.size] + k, k), b, i)),
        dv.UnsupportedError,
        ["empty window"],
    ),
    "a symmetric vector": (lambda: dv.tensor("A", b, i, facts=[dv.symmetric]), dv.ShapeError, ["two axes of one size"]),
    "a sum fact over a foreign index": (
        lambda: dv.tensor("A", b, i, facts=[dv.sums_to(1, k)]),
        dv.ShapeError,
        ["k of size K"],
    ),
    "a fact outside the set": (
        lambda: dv.tensor("A", b, facts=["positive"]),
        dv.DeriveError,
        ["is not a fact", "dv.positive"],
    ),
    "a cotangent name that is taken": (
        lambda: dv.vjp(dv.define("y", (b, i), x[b, i] ** 2), [x], cotangent="x"),
        dv.DeriveError,
        ["'x' is taken"],
    ),
    "a block of differing coupled lengths": (
        lambda: dv.define("h c", (t,), lambda h, c: h[t - 1]),
        dv.DeriveError,
        ["2 names", "returned 1"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_message(name):
    act, error, words = BAD[name]
    with pytest.raises(error) as caught:
        act()
    assert isinstance(caught.value, ValueError)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not said in:\n{caught.value}"


@pytest.mark.parametrize("name", ["I", "N", "S", "E", "Q", "O", "pi", "lambda", "class", "x; import os", '"""', "été"])
def test_any_name_is_a_name(name):
    n = dv.index(name)
    w = dv.tensor(name, n)
    d = dv.backprop(dv.define("loss", (), dv.Sum(sympy.tanh(w[n]), n)), [w])
    assert d.check().ok
    assert d.gradient(w).tensor.name == (f"d{name}" if len(name) == 1 else f"d_{name}")


def test_no_text_is_ever_evaluated():
    poison = "__import__('os').abort()"
    for act in (
        lambda: dv.Sum(poison, i),
        lambda: dv.Max(poison, i),
        lambda: dv.Iverson(poison),
        lambda: x[b, poison],
        lambda: dv.define("z", (b,), poison),
        lambda: dv.sums_to(poison, i),
    ):
        with pytest.raises(dv.DeriveError, match="str, not a SymPy expression.*dv.parse"):
            act()
