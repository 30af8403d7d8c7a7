"""Pictures of Newton's method hold what they say; derivations they cannot draw are refused."""

import numpy as np
import pytest

import derive as dv
import numerics as nx
from numerics.minimize import convergence, curvature, tangents


def cubic():
    x = dv.tensor("x")
    return dv.jacobian(dv.define("f", (), x[()] ** 3 - 2 * x[()] - 5), [x])


def saddle():
    x, y = dv.tensor("x"), dv.tensor("y")
    return dv.hessian(dv.define("loss", (), x[()] ** 4 / 4 - x[()] ** 2 / 2 + y[()] ** 2 / 2), [x, y])


def lines(figure):
    return {str(line.get_label()): line for line in figure.axes[0].get_lines()}


def test_each_tangent_ends_at_the_next_point():
    d = cubic()
    result = nx.newton(d, {"x": np.array(4.0)})
    assert len(result.path) == len(result.history) and result.path[0] == 4
    figure = tangents(d, result)
    drawn = [line.get_xydata() for line in figure.axes[0].get_lines() if line.get_color() == "#c8571b"]
    assert len(drawn) == 3
    for (start, end), here, after in zip(drawn, result.path, result.path[1:], strict=False):
        np.testing.assert_allclose([*start, *end], [here[0], here[0] ** 3 - 2 * here[0] - 5, after[0], 0], atol=1e-12)


def test_a_system_has_no_tangents():
    q = dv.index("q", size=2)
    v = dv.tensor("v", q)
    d = dv.jacobian(dv.define("y", (q,), v[q] ** 2 - 1), [v])
    with pytest.raises(nx.NumericsError, match="one equation in one unknown.*jacobian of 2 unknowns"):
        tangents(d, nx.newton(d, {"v": np.array([2.0, 3.0])}))


def test_the_order_stands_beside_each_curve():
    result = nx.newton(cubic(), {"x": np.array(4.0)})
    figure = convergence({"Newton": result, "descent": [1, 0.5, 0.25]}, ylabel="residual")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [f"Newton: order {result.order:.2f}", "descent"] and figure.axes[0].get_yscale() == "log"
    assert result.order == pytest.approx(2, abs=0.1)
    with pytest.raises(nx.NumericsError, match="at least one"):
        convergence({})


def test_negative_curvature_is_a_line_along_its_eigenvector():
    """At x = 0.3 the second derivative by x is 0.27 - 1."""
    figure = curvature(saddle(), {"x": 0.3, "y": 0.5}, reach=1.0)
    line = lines(figure)["negative curvature, -0.73"]
    np.testing.assert_allclose(np.abs(line.get_xydata()), [[1, 0], [1, 0]], atol=1e-12)
    assert {"loss", "quadratic model", "Newton's step", "against the gradient"} <= set(lines(figure))
    assert figure.axes[0].get_xlabel() == "x, from the point"
    bowl = curvature(saddle(), {"x": 1.2, "y": 0.5})
    assert not any("negative" in label for label in lines(bowl))


def test_more_parameters_are_drawn_along_the_extreme_curvatures():
    i = dv.index("i")
    w, a = dv.tensor("w", i), dv.tensor("a", i)
    d = dv.hessian(dv.define("loss", (), dv.Sum(a[i] * w[i] ** 2, i)), [w])
    figure = curvature(d, {"w": np.ones(3)}, {"a": np.array([1.0, 4.0, 9.0])}, path=[np.ones(3), np.zeros(3)])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("least curvature, 2", "largest curvature, 18")
    assert np.abs(lines(figure)["path"].get_xydata()[1]) == pytest.approx([1, 1])
    given = curvature(d, {"w": np.ones(3)}, {"a": np.ones(3)}, directions=({"w": [1, 0, 0]}, {"w": [0, 1, 0]}))
    assert given.axes[0].get_xlabel() == "first direction"


def test_what_has_no_curvature_to_draw_is_refused():
    with pytest.raises(nx.NumericsError, match="takes dv.hessian"):
        curvature(cubic(), {"x": 1.0})
    x = dv.tensor("x")
    with pytest.raises(nx.NumericsError, match="one parameter"):
        curvature(dv.hessian(dv.define("loss", (), x[()] ** 2), [x]), {"x": 1.0})
