"""What the chapters are made of: terms written out, solved conditions, drawings of windows and of time."""

import re
import xml.dom.minidom

import pytest
import sympy

import derive as dv
from derive.language.errors import DeriveError, UnsupportedError
from derive.show.pictures.grids import full_correlation, window
from derive.show.pictures.unrolled import unrolled


def correlation(stride=1, padding=0):
    H, R = dv.size("H"), dv.size("R")
    u, r = dv.index("u", (H + 2 * padding - R) // stride + 1), dv.index("r", R)
    x, K = dv.tensor("x", H), dv.tensor("K", R)
    y = dv.define("y", (u,), dv.Sum(x[stride * u + r - padding] * K[r], r))
    return dv.vjp(y, [K, x], cotangent="dy")


def test_terms_are_all_there_and_no_others():
    d = correlation(stride=2, padding=1)
    sizes = {"H": 5, "R": 3}
    assert dv.written_out(d.program.equation("y"), sizes) == [
        "y[0] = K[1] x[0] + K[2] x[1]",
        "y[1] = K[0] x[1] + K[1] x[2] + K[2] x[3]",
        "y[2] = K[0] x[3] + K[1] x[4]",
    ]
    lines = dv.written_out(d.gradient("x"), sizes)
    assert lines[1] == "dx[1] = dy[0] K[2] + dy[1] K[0]" and lines[2] == "dx[2] = dy[1] K[1]"
    pairs = {
        p
        for e in (d.program.equation("y"), d.gradient("x"), d.gradient("K"))
        for p in [sum(len(line.split(" = ")[1].split(" + ")) for line in dv.written_out(e, sizes))]
    }
    assert pairs == {7}  # the same seven meetings of kernel, image and output, sorted three ways
    assert dv.written_out(d.gradient("K"), sizes, at=[(1,)], latex=True) == [
        r"\mathrm{d}K_{1} = \mathrm{dy}_{0} \, x_{0} + \mathrm{dy}_{1} \, x_{2} + \mathrm{dy}_{2} \, x_{4}"
    ]


def test_maxima_and_refusals():
    n = dv.size("N")
    u, r = dv.index("u", n // 2), dv.index("r", 2)
    x = dv.tensor("x", n)
    d = dv.vjp(dv.define("p", (u,), dv.Max(x[2 * u + r], r)), [x], cotangent="dp")
    assert dv.written_out(d.program.equation("p"), {"N": 4}) == ["p[0] = max(x[0], x[1])", "p[1] = max(x[2], x[3])"]
    with pytest.raises(UnsupportedError, match="p_argmax is a position"):
        dv.written_out(d.program.equation("p_argmax"), {"N": 4})
    with pytest.raises(DeriveError, match="the size N has no number; give sizes="):
        dv.written_out(d.program.equation("p"), {})
    with pytest.raises(DeriveError, match="1000 elements; choose smaller sizes"):
        dv.written_out(d.program.equation("p"), {"N": 2000})


def test_conditions_are_solved_for_the_output():
    S, P = dv.size("S"), dv.size("P")
    (one,) = dv.solved(correlation(S, P).gradient("x"))
    h, r = (next(s for s in one.dividend.free_symbols if s.name == n) for n in "hr")
    assert one.index.name == "u" and one.divisor == S and sympy.expand(one.dividend - (h - r + P)) == 0
    assert "S must divide" in str(one) and "at least 0 and below floor" in str(one)
    (plain,) = dv.solved(correlation().gradient("x"))
    assert plain.divisor == 1 and "divide" not in str(plain)
    assert dv.solved(correlation().gradient("K")) == []


def test_drawings_of_windows():
    for svg, marked in (
        (window((4, 3), (2, 2), (1, 0)), 4 + 4 + 1),
        (full_correlation((4, 3), (2, 2), (1, 0)), 4 + 4 + 1),
    ):
        xml.dom.minidom.parseString(svg)
        assert len(re.findall(r'class="marked', svg)) == marked
    assert full_correlation((4, 3), (2, 2), (1, 0)).count('outside"') == 5 * 4 - 3 * 2


def test_a_recurrence_is_drawn_step_by_step():
    t, b, j = dv.indices("t b j")
    m = dv.index("m", j.size)
    x, W = dv.tensor("x", t, b, j), dv.tensor("W", m, j)
    h = dv.define("h", (t, b, j), lambda h: sympy.tanh(x[t, b, j] + dv.Sum(h[t - 1, b, m] * W[m, j], m)))
    d = dv.backprop(dv.define("loss", (), dv.Sum(h[t, b, j] ** 2, t, b, j)), [W])
    svg = unrolled(d.source, steps=3)
    xml.dom.minidom.parseString(svg)
    assert svg.count(">h<") == 3 and svg.count(">x<") == 3 and svg.count('class="back"') == 2
    with pytest.raises(DeriveError, match="has no recurrence"):
        unrolled(correlation().source)
    with pytest.raises(DeriveError, match="1 steps"):
        unrolled(d.source, steps=1)
