"""Documents of Hessians and of products with them tell their steps in order and say what they differentiate."""

from second_order_programs import logistic

import derive as dv


def test_a_hessian_is_told_forward():
    text = dv.hessian(*logistic()).to_text()
    titles = ["The definitions, rewritten", "Differentiating forward", "The result"]
    assert [text.index(title) for title in titles] == sorted(text.index(title) for title in titles)
    assert "Forward rule" not in text


def test_a_product_says_what_its_gradient_is_taken_of():
    loss, wrt = logistic()
    text = " ".join(dv.hvp(loss, wrt).to_text().split())
    assert f"{loss.name}_along is the derivative of {loss.name} along the direction" in text
    assert "along the direction, a number" not in dv.hessian(loss, wrt).to_text()


def test_a_gauss_newton_product_says_what_is_taken_as_linear():
    b, i = dv.indices("b i")
    x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    z = dv.define("z", (b,), dv.Sum(x[b, i] * w[i], i))
    loss = dv.define("loss", (), dv.Sum(dv.softplus(z[b]), b))
    text = " ".join(dv.gauss_newton(loss, [w], at=z).to_text().split())
    assert "change along a direction, if z were linear in it?" in text
    assert (
        "held fixed in loss_curved, whose gradient is then the product. The curvature of the way to z is left out."
        in text
    )
