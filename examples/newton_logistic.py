"""Logistic regression by Newton's method on derived equations: iteratively reweighted least squares, in nine steps."""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sympy import log

import derive as dv
import numerics as nx


def loss():
    """The mean cross-entropy with an L2 penalty on the weights, and the parameters."""
    b, i = dv.indices("b i")
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i)
    c, lam = dv.tensor("c"), dv.tensor("lam")
    s = dv.define("s", (b,), dv.sigmoid(dv.Sum(x[b, i] * w[i], i) + c[()]))
    fit = -dv.Sum(y[b] * log(s[b]) + (1 - y[b]) * log(1 - s[b]), b) / b.size
    return dv.define("loss", (), fit + lam[()] * dv.Sum(w[i] ** 2, i) / 2), [w, c]


def data():
    """Breast cancer: 569 examples of 30 features, standardized; the penalty of scikit-learn's C = 1."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return {"x": x, "y": y.astype(float), "lam": np.array(1 / len(y))}


def gradient_descent(arrays, steps: int, rate: float) -> float:
    """The norm of the gradient after so many steps of plain gradient descent."""
    target, wrt = loss()
    kernel = nx.compile(dv.backprop(target, wrt))
    at = {"w": np.zeros(30), "c": np.zeros(())}
    for _ in range(steps):
        gradients = kernel(**at, **arrays).grads
        at = {n: at[n] - rate * np.asarray(gradients[n]) for n in at}
    return float(np.sqrt(sum(np.sum(np.asarray(g) ** 2) for g in kernel(**at, **arrays).grads.values())))


def main():
    """Returns the Newton result and what gradient descent has after a hundred steps."""
    arrays = data()
    d = dv.hessian(*loss())
    print(d.program.equation("H_w_w"))
    result = nx.newton(d, {"w": np.zeros(30), "c": np.zeros(())}, arrays)
    print(result)
    slow = gradient_descent(arrays, 100, 0.5)
    print(f"gradient descent, 100 steps: gradient norm {slow:.1e}")
    return result, slow


if __name__ == "__main__":
    main()
