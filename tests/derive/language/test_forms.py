"""The textbook forms come out: what a derivation says, not only what it is worth."""

import sympy
from programs import CASES, b, i, k, softmax_then_cross_entropy
from sympy import Eq, expand

import derive as dv


def rhs(d, name):
    return d.program.equation(name).rhs


def reads(d, *names):
    """Functions that read the named tensors of a program at given indices."""
    found = {e.name: e.tensor for e in d.program.equations} | {t.name: t for t in d.program.inputs}
    return [found[n].__getitem__ for n in names]


def same(a, b):
    return expand(a - b) == 0


def test_softmax_cross_entropy_reads_p_minus_onehot_over_batch():
    d = CASES["softmax_regression"]()
    shifted, lse, label = reads(d, "z_shifted", "lse_shifted", "label")
    expected = (sympy.exp(shifted((b, k)) - lse(b)) - dv.Iverson(Eq(k, label(b)))) / b.size
    assert same(rhs(d, "dz"), expected)
    derived = [str(s.after) for s in d.steps if s.target == "dz"]
    assert "dz[b,k] = (exp(z[b,k] - lse[b]) - [k = label[b]]) / B" in derived, derived


def test_saved_softmax_is_used_when_it_is_an_output():
    d = CASES["cross_entropy_of_probabilities"]()
    p, y = reads(d, "p", "y")
    assert same(rhs(d, "dz"), (p((b, k)) - y((b, k))) / b.size)
    assert [f.text for f in d.facts] == ["sum over k of y[b, k] = 1 (declared)"]
    assert d.facts[0].steps


def test_without_the_declared_sum_the_factor_stays():
    d = softmax_then_cross_entropy()
    p, y, total = reads(d, "p", "y", "d_p_lse")
    assert same(rhs(d, "dz"), p((b, k)) * total(b) - y((b, k)) / b.size)
    assert d.facts == ()


def test_sigmoid_cross_entropy_reads_s_minus_y_over_batch():
    d = CASES["sigmoid_then_cross_entropy"]()
    s, y = reads(d, "s", "y")
    assert same(rhs(d, "da"), (s(b) - y(b)) / b.size)
    assert rhs(d, "loss").has(dv.softplus) and not rhs(d, "loss").has(sympy.log)


def test_layer_norm_comes_out_in_x_hat_form():
    for name, hat in (("layer_norm", "y_hat"), ("layer_norm_named", "xh")):
        d = CASES[name]()
        read_names = {t.name for t in d.program.equation("dx").tensors()}
        assert hat in read_names
        assert "x" not in read_names and "mean" not in read_names, "the x-hat form reads no x and no mean"


def test_batch_norm_comes_out_in_x_hat_form():
    d = CASES["batch_norm"]()
    assert {t.name for t in d.program.equation("dx").tensors()} == {
        "d_y_hat",
        "y_rsqrt",
        "d_mean_sum",
        "d_y_rsqrt_sum",
        "y_hat",
    }


def test_derivatives_in_terms_of_the_saved_value():
    x = dv.tensor("x", i)
    for f, slope in (
        (sympy.tanh, lambda h: 1 - h**2),
        (dv.sigmoid, lambda h: h * (1 - h)),
        (sympy.exp, lambda h: h),
        (sympy.sqrt, lambda h: 1 / (2 * h)),
    ):
        h = dv.define("h", (i,), f(x[i]))
        w = dv.tensor("w", i)
        d = dv.backprop(dv.define("loss", (), dv.Sum(h[i] * w[i], i)), [x])
        assert same(rhs(d, "dx"), w[i] * slope(h[i])), f


def test_attention_keeps_the_probabilities():
    d = CASES["causal_attention"]()
    assert {t.name for t in d.program.equation("ds").tensors()} == {"P", "dP", "d_P_lse"}
    assert not rhs(d, "ds").has(sympy.exp)


def test_bptt_is_one_reverse_recurrence_and_sums_outside_it():
    d = CASES["tanh_rnn"]()
    from derive.program.schedule import Scan, schedule

    scans = [g for g in schedule(d.program) if isinstance(g, Scan)]
    assert [(s.direction, sorted(e.name for e in s.equations)) for s in scans] == [
        (1, ["h", "h_in"]),
        (-1, ["d_h_in", "dh"]),
    ]


def test_initial_state_gets_its_gradient_at_time_zero():
    d = CASES["tanh_rnn"]()
    assert str(d.gradient("h0")) == "dh0[b,l] = sum_l' d_h_in[0,b,l'] W[l,l']"


def test_convolution_gradients_are_the_same_three_tensor_form():
    d = CASES["conv2d"]()
    dK, dx = d.gradient("K"), d.gradient("x")
    assert [t.rows for t in dK.terms] == [()]
    assert sorted(t.name for t in dK.tensors()) == ["dy", "x"]
    assert len(dx.terms[0].rows) == 2 and all(r.op == "==" for r in dx.terms[0].rows)
    assert sorted(t.name for t in dx.tensors()) == ["K", "dy"]


def test_symmetry_is_used_only_when_declared():
    plain, symmetric = CASES["quadratic_form"](), CASES["symmetric_quadratic_form"]()
    assert len(plain.gradient("x").terms) == 2 and not plain.facts
    assert len(symmetric.gradient("x").terms) == 1 and symmetric.facts[0].text == "A is symmetric (declared)"


def test_a_nested_loss_gives_the_program_of_its_definitions():
    d = CASES["nested_mlp"]()
    kinds = [(len(e.terms), sorted(len(t.bnd) for t in e.terms)) for e in d.program]
    x, W, V, c, y = (next(t for t in d.program.inputs if t.name == n) for n in "xWVcy")
    l = W.letters[1]
    z = dv.define("z", (b, l), dv.Sum(x[b, i] * W[i, l], i) + c[l])
    h = dv.define("h", (b, l), sympy.tanh(z[b, l]))
    e = dv.define("e", (b, k), dv.Sum(h[b, l] * V[l, k], l) - y[b, k])
    named = dv.backprop(dv.define("loss", (), dv.Sum(e[b, k] ** 2, b, k) / b.size), [W, V, c])
    assert [(len(q.terms), sorted(len(t.bnd) for t in q.terms)) for q in named.program] == kinds


def test_every_tensor_has_a_gradient():
    d = CASES["mlp3"]()
    assert str(d.gradient("h2")).startswith("dh2[b,i2] = ")
    assert str(d.gradient("lse")) == "d_lse[b] = 1/B"
    assert str(d.gradient("x")) == "dx[b,i0] = sum_i1 dz1[b,i1] W1[i0,i1]"


def test_stop_gradient_is_a_constant_to_differentiation():
    d = CASES["stopped_gradient"]()
    x, w = reads(d, "x", "w")
    q = d.gradient("x").idx[0]
    assert same(d.gradient("x").rhs, dv.stop_gradient(x(q)) * w(q))


def test_a_scalar_tensor_stands_for_its_read_everywhere():
    c = dv.tensor("c")
    for body in (
        sympy.exp(c),
        sympy.log(1 + sympy.exp(c)),
        dv.relu(c) ** 2,
        2 * c + sympy.sin(c),
        dv.Sum(c, i) / i.size,
    ):
        d = dv.backprop(dv.define("loss", (), body), [c])
        assert d.check().ok
        assert d.gradient(c).terms
