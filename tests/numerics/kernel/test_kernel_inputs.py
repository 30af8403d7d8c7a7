"""Bad input: each message names the tensor, the conflict and what would be accepted."""

import numpy as np
import pytest
from kernel_cases import data, softmax_regression

import derive as dv
import numerics as nx


@pytest.fixture
def kern():
    return nx.compile(softmax_regression())


@pytest.fixture
def arrays():
    _, found = data(softmax_regression(), {"B": 4, "I": 3, "K": 5})
    return {n: a.astype("float32") if a.dtype.kind == "f" else a for n, a in found.items()}


def refused(kern, arrays, **changes):
    with pytest.raises(nx.InputError) as caught:
        kern(**{**arrays, **changes})
    return str(caught.value)


def test_a_size_bound_to_two_values(kern, arrays):
    text = refused(kern, arrays, W=np.ones((5, 3), "float32"))
    assert (
        text
        == (
            "in z[b,k] = sum_i x[b,i] W[i,k] + c[k]\n"
            "  size I is 5 in W (axis 0) but 3 in x (axis 1)\n"
            "  shapes: W (5, 3), x (4, 3);  bound so far: B=4, K=3\n"
            "  W.T has shape (3, 5) and would fit"
        )
        or "size K is 3 in W (axis 1) but 5 in c (axis 0)" in text
    )


def test_a_transpose_is_offered_only_where_it_fits(kern, arrays):
    text = refused(kern, arrays, x=np.ones((3, 4), "float32"), label=np.zeros(4, "int32"))
    assert "size I is 3 in W (axis 0) but 4 in x (axis 1)" in text
    assert "x.T has shape (4, 3) and would fit" in text
    text = refused(kern, arrays, x=np.ones((6, 7), "float32"))
    assert "size I is 3 in W (axis 0) but 7 in x (axis 1)" in text and "would fit" not in text


def test_wrong_rank_and_zero_size(kern, arrays):
    assert refused(kern, arrays, c=np.ones((5, 1), "float32")) == "c has 1 axes (K,), but the array has shape (5, 1)"
    text = refused(kern, arrays, x=np.ones((0, 3), "float32"), label=np.zeros(0, "int32"))
    assert text == "x has shape (0, 3): axis 0 (B) has size 0; every axis needs at least one element"


def test_names(kern, arrays):
    assert refused(kern, arrays, y=1.0) == "unknown input 'y'; the inputs are W, c, x, label"
    del arrays["x"]
    assert refused(kern, arrays) == "missing x (B, I); the inputs are W, c, x, label"


def test_dtypes(kern, arrays):
    assert (
        refused(kern, arrays, label=arrays["label"].astype("float32"))
        == "label has dtype float32, but it is declared int; give integers, such as int32"
    )
    assert refused(kern, arrays, x=np.ones((4, 3), int)).startswith("x has dtype int64, but it is declared float")
    assert (
        refused(kern, arrays, x=np.ones((4, 3), np.float16))
        == "mixed float dtypes: W is float32, x is float16; give all floats in one dtype, as in x.astype(W.dtype)"
    )
    assert refused(kern, arrays, x=[[1.0]]) == "x: give an array of shape (B, I), not a list"
    assert refused(kern, arrays, x=np.ones((4, 3), complex)).startswith("x has dtype complex128")


def test_fixed_and_derived_axes():
    i, f = dv.index("i"), dv.index("f", size=2 * dv.size("I") + 1)
    x, w = dv.tensor("x", i, 3), dv.tensor("w", f)
    d = dv.backprop(dv.define("loss", (), dv.Sum(x[i, 0] * w[2 * i + 1], i)), wrt=[x])
    kern = nx.compile(d)
    kern(x=np.ones((4, 3), "float32"), w=np.ones(9, "float32"))
    with pytest.raises(nx.InputError, match=r"axis 0 of w has size 8, but it is 2\*I \+ 1 = 9 here"):
        kern(x=np.ones((4, 3), "float32"), w=np.ones(8, "float32"))
    with pytest.raises(nx.InputError, match="axis 1 of x has size 2, but it is declared 3"):
        kern(x=np.ones((4, 2), "float32"), w=np.ones(9, "float32"))
    fixed = nx.compile(d, sizes={"I": 5})
    with pytest.raises(nx.InputError, match=r'axis 0 of x has size 4, but it is fixed by sizes=\{"I": 5\}'):
        fixed(x=np.ones((4, 3), "float32"), w=np.ones(11, "float32"))


def test_a_scalar_may_be_a_number():
    i = dv.index("i")
    x, lam = dv.tensor("x", i), dv.tensor("lam")
    kern = nx.compile(dv.backprop(dv.define("loss", (), lam[()] * dv.Sum(x[i] ** 2, i)), wrt=[x]))
    result = kern(x=np.array([1.0, 2.0], "float32"), lam=2)
    assert result.grads["x"].dtype == np.float32
    assert result.grads["x"].tolist() == [4, 8]


def test_values_are_checked_on_request(kern, arrays):
    kern(**arrays)
    assert kern.validate(x=arrays["x"], label=arrays["label"]) == ["x: finite", "label: 0 <= label < K"]
    with pytest.raises(nx.InputError, match=r"label\[2\] = 5 is out of the declared range 0 <= label < K = 5 \(1 of 4"):
        kern.validate(label=np.array([0, 4, 5, 1]))
    with pytest.raises(nx.InputError, match=r"label\[0\] = -1 is out of the declared range"):
        kern.validate(label=np.array([-1, 0, 0, 0]))
    x = arrays["x"].copy()
    x[1, 2] = np.nan
    with pytest.raises(nx.InputError, match=r"x\[1, 2\] is NaN \(1 of 12 values are not finite\)"):
        kern.validate(x=x)
    x[0, 1] = -np.inf
    with pytest.raises(nx.InputError, match=r"x\[0, 1\] is -inf \(2 of 12"):
        kern.validate(x=x)


def test_a_range_that_is_not_known_yet_is_told():
    fresh = nx.compile(softmax_regression())
    assert fresh.validate(label=np.array([7])) == [
        "label: 0 <= label (not checked: < K, which none of these arrays fixes)"
    ]


def test_declared_facts_are_checked():
    b, k = dv.indices("b k")
    y = dv.tensor("y", b, k, facts=[dv.sums_to(1, k), dv.nonnegative])
    v = dv.tensor("v", b, facts=[dv.positive])
    A = dv.tensor("A", b, b.size, facts=[dv.symmetric])
    c = dv.index("c", b.size)
    w = dv.tensor("w", k)
    loss = dv.define("loss", (), dv.Sum(w[k] * y[b, k] / v[b] * A[b, c], b, c, k))
    kern = nx.compile(dv.backprop(loss, wrt=[w]))
    good = np.array([[0.25, 0.75], [0.5, 0.5]], "float32")
    assert len(kern.validate(y=good, v=np.ones(2, "float32"), A=np.eye(2, dtype="float32"))) == 7
    bad = good.copy()
    bad[1, 0] = 0.75
    with pytest.raises(nx.InputError, match=r"y: sum over k of y\[b, k\] = 1 \(declared\) is off by 0.25 at \[1\]"):
        kern.validate(y=bad)
    with pytest.raises(nx.InputError, match=r"y\[b, k\] >= 0 \(declared\), but y\[0, 1\] = -0.75"):
        kern.validate(y=good * np.array([[1, -1], [1, 1]], "float32") + np.array([[1.5, 0], [0, 0]], "float32"))
    with pytest.raises(nx.InputError, match=r"v\[b\] > 0 \(declared\), but v\[1\] = 0"):
        kern.validate(v=np.array([1, 0], "float32"))
    with pytest.raises(nx.InputError, match=r"A is symmetric \(declared\), but A\[0, 1\] = 2 and A\[1, 0\] = 0"):
        kern.validate(A=np.array([[1, 2], [0, 1]], "float32"))
