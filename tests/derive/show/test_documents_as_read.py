"""What a reader of a document sees: flat places, gates one by one, pools without sums, examples that can be done by hand."""

import re

import pytest

import derive as dv
from derive import layers as L
from derive.show.document.example import NotOnPaper, worked_example
from derive.show.formulas.symbols import members


def derived(*layers, shape, loss="sparse_softmax_cross_entropy"):
    return dv.Sequential(list(layers), input_shape=shape).backprop(loss)


def equation(text, name):
    """The last right-hand side that a document shows for a tensor."""
    lines = text.splitlines()
    at = max(n for n, line in enumerate(lines) if line.strip().startswith(f"{name}["))
    head = lines[at].index("= ")
    more = [line.strip() for line in lines[at + 1 : at + 4] if line[: head + 1].isspace() and "[" in line]
    return " ".join([lines[at][head + 2 :].strip(), *more])


@pytest.mark.parametrize(
    "layers, shape",
    [
        ((L.Dense(6), L.GroupNorm(2), L.Dense(3)), (4,)),
        ((L.Conv2D(6, 3), L.GroupNorm(3), L.Flatten(), L.Dense(3)), (5, 5, 1)),
    ],
)
def test_a_normalization_of_groups_keeps_the_form_with_x_hat(layers, shape):
    d = derived(*layers, shape=shape)
    (backward,) = (e for e in d.program.equations if e.name == "dz1")
    assert {t.name for t in backward.tensors()} == {"d_xh2", "xh2_rsqrt", "d_mean2_sum", "d_xh2_rsqrt_sum", "xh2"}
    shown = equation(d.to_text(example=False), "dz1")
    assert re.match(r"xh2_rsqrt\[b,g\] \(d_xh2\[\S+\] - d_mean2_sum\[b,g\] / ", shown), shown
    assert d.check().ok


def test_a_flat_place_is_written_by_what_it_counts():
    d = derived(L.Conv2D(2, 3), L.AvgPool2D(2), L.Flatten(), L.Dense(3), shape=(8, 8, 1))
    text = d.to_text(example=False)
    assert re.search(r"h3\[b,\(u2\*.*\+v2\)\*O\+o\] += h2\[b,u2,v2,o\]", text)
    assert "h_{b,(u_{2}v_{2}o)}^{(3)} &= h_{bu_{2}v_{2}o}^{(2)}" in d.to_latex(example=False)


def test_windows_that_do_not_overlap_are_read_at_quotient_and_remainder():
    d = derived(
        L.Conv2D(2, 3, padding="same", activation="relu"), L.MaxPool2D(2), L.Flatten(), L.Dense(3), shape=(8, 8, 1)
    )
    shown = equation(d.to_text(example=False), "d_z1_sum")
    assert shown.startswith("d_z1_sum_max_row[b,floor(u/2),floor(v/2),o,u mod 2] [") and "= v mod 2]" in shown, shown


def test_gates_stand_in_their_order_and_one_by_one():
    d = derived(L.LSTM(4), L.Dense(3), shape=(6, 5))
    numbers = [d.program.equation(f"{gate}1").number for gate in "ifgo"]
    assert numbers == sorted(numbers)
    text = d.to_text(example=False)
    for n, gate in enumerate("ifgo"):
        assert re.search(rf"    dz1\[b,t,{n},l\] += d[ch]1\[b,t,l\] .*{gate}1\[b,t,l\]", text)
    assert r"\mathrm{d}z_{b,t,\mathrm{f},l}^{(1)}" in d.to_latex(example=False)
    assert members(d.source.equations)["z1", 2] == tuple("ifgo")


def test_a_recurrence_stands_in_the_order_in_which_it_is_written():
    t, b, l = dv.indices("t b l")
    x, y = dv.tensor("x", t, b, l), dv.tensor("y", t, b, l)
    _, _, h = dv.define(
        "u a h",
        [(t, b, l)] * 3,
        lambda u, a, h: (x[t, b, l] * h[t - 1, b, l], y[t, b, l] * h[t - 1, b, l], u[t, b, l] + a[t, b, l]),
    )
    d = dv.backprop(dv.define("loss", (), dv.Sum(h[t, b, l], t, b, l)), wrt=[x])
    assert [e.name for e in d.source.equations] == ["u", "a", "h", "loss"]


def test_only_the_signs_that_occur_are_told():
    x, w = dv.tensor("x", *dv.indices("b i")), dv.tensor("w", dv.index("i"))
    b, i = dv.indices("b i")
    z = dv.define("z", (b,), dv.Sum(x[b, i] * w[i], i))
    text = dv.backprop(dv.define("loss", (), dv.Sum(z[b], b)), wrt=[w]).to_text(example=False)
    assert "elementwise" not in text and "diag" not in text and "1 is a vector of ones" in text


def test_an_example_can_be_done_by_hand():
    d = derived(L.Conv2D(8, 3, padding="same"), L.MaxPool2D(2), L.Flatten(), L.Dense(3), shape=(8, 8, 4))
    ex = worked_example(d.program)
    assert max(len(ex.values[t.name]) for t in d.program.inputs) <= 36
    text = d.to_text()
    assert "those of length 1 are not shown" in text and "conv2d_1_kernel[0]" in text
    b, k = dv.indices("b k")
    x = dv.tensor("x", b, k)
    mean = dv.define("mean", (b,), dv.Sum(x[b, k], k) / k.size)
    loss = dv.define("loss", (), dv.Sum((x[b, k] - mean[b]) ** 4, b, k))
    assert any(worked_example(dv.backprop(loss, wrt=[x]).program).values["dx"].values())  # not nothing but zeros


def test_an_example_that_is_too_large_is_refused():
    d = derived(
        L.Conv2D(6, 5), L.MaxPool2D(2), L.Conv2D(6, 5), L.MaxPool2D(2), L.Flatten(), L.Dense(3), shape=(28, 28, 1)
    )
    with pytest.raises(NotOnPaper, match="at the smallest sizes that fit x has"):
        worked_example(d.program)


def test_second_derivatives_have_their_letters():
    w, x = dv.tensor("w", dv.index("i")), dv.tensor("x", dv.index("i"))
    i = dv.index("i")
    loss = dv.define("loss", (), dv.Sum(w[i] ** 3 * x[i], i))
    latex = dv.hessian(loss, wrt=[w]).to_latex(example=False)
    assert "H_{ii'}^{ww}" in latex and r"\mathrm{d}w" in latex


def test_a_line_in_short_for_each_part_of_a_block():
    d = derived(L.TransformerBlock(2, 4, units=8), shape=(6, 8), loss="mean_squared_error")
    text = d.to_text(short=True)
    for part in ("attention norm", "attention", "mlp norm", "up", "down"):
        assert f"- transformer_block_1, {part}:" in text


def test_text_is_no_wider_than_a_page():
    for d in (derived(L.Dense(6), L.GroupNorm(2), L.Dense(3), shape=(4,)), derived(L.GRU(4), L.Dense(3), shape=(6, 5))):
        result = d.to_text(example=False).split("The definitions\n")[1].split("What is asked")[0]
        assert max(map(len, result.splitlines())) <= 100
