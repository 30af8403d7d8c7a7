"""A small network trained by Newton's method on its derived Hessian, against gradient descent on the same gradients.

All blocks of the Hessian come from equations; damping makes it positive definite where the loss bends down.
``python examples/newton_vs_gradient_descent.py picture.png`` writes the losses against the steps.
"""

import sys

import numpy as np
import sympy

import derive as dv
import numerics as nx
from numerics.minimize import convergence
from numerics.pages.plots import save

WEIGHT_DECAY = 1e-3


def loss(hidden=4):
    """The mean squared error of a network with one hidden layer, and a penalty that makes the minimum isolated."""
    b, i, j = dv.indices("b i j")
    x, y = dv.tensor("x", b, i), dv.tensor("y", b)
    W, c, v = dv.tensor("W", i, j), dv.tensor("c", j), dv.tensor("v", j)
    h = dv.define("h", (b, j), sympy.tanh(dv.Sum(x[b, i] * W[i, j], i) + c[j]))
    fit = dv.Sum((dv.Sum(h[b, j] * v[j], j) - y[b]) ** 2, b) / b.size
    small = dv.Sum(W[i, j] ** 2, i, j) + dv.Sum(c[j] ** 2, j) + dv.Sum(v[j] ** 2, j)
    return dv.define("loss", (), fit / 2 + sympy.Rational(str(WEIGHT_DECAY)) * small / 2), [W, c, v]


def problem(points=60, hidden=4, seed=1):
    """``(start, data)``: a bump over the plane, seen at random points."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (points, 2))
    start = {"W": rng.normal(size=(2, hidden)), "c": rng.normal(size=hidden), "v": rng.normal(size=hidden) / 2}
    return start, {"x": x, "y": np.exp(-np.sum(x**2, axis=1)) + 0.5 * x[:, 0]}


def descend(start, data, steps, rate):
    """Norms of the gradient of plain gradient descent, and its last loss."""
    kernel = nx.compile(dv.backprop(*loss()))
    at, norms, value = dict(start), [], None
    for _ in range(steps):
        value, gradients = kernel(**at, **data)
        norms.append(float(np.sqrt(sum(np.sum(np.square(g)) for g in gradients.values()))))
        at = {n: at[n] - rate * np.asarray(gradients[n]) for n in at}
    return norms, float(value)


def main(picture=None, steps=2000, rate=0.6):
    """The result of Newton's method, and the gradient norms of gradient descent."""
    start, data = problem()
    result = nx.newton(dv.hessian(*loss()), start, data, damping="auto", max_steps=100)
    print(result)
    norms, value = descend(start, data, steps, rate)
    print(f"gradient descent, {steps} steps: loss {value:.6f}, gradient norm {norms[-1]:.1e}")
    if picture:
        save(
            convergence(
                {"Newton, derived Hessian": result, f"gradient descent, rate {rate:g}": norms},
                "a network with 16 parameters",
            ),
            picture,
        )
    return result, norms


if __name__ == "__main__":
    main(*sys.argv[1:2])
