r"""Rosenblatt's perceptron: a layer of steps, trained by its own rule, for a step has no gradient to descend."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from numerics.data import examples as data
from numerics.errors import InputError


@dataclass(repr=False)
class Perceptron:
    r"""A hyperplane between two classes, or one function for each of several, by the perceptron rule.

    .. math:: h = [w \cdot x + c \ge 0], \qquad w \leftarrow w + \eta\,(y - h)\,x, \quad c \leftarrow c + \eta\,(y - h)

    Examples are taken one after the other; only a wrong answer changes anything.  With several classes the largest score
    answers, and a wrong answer j to the class y moves both: :math:`w_y \leftarrow w_y + \eta x`,
    :math:`w_j \leftarrow w_j - \eta x`.

    Parameters
    ----------
    rate : float
        The step :math:`\eta`; from zero weights it only sets their scale.
    seed : int
        Of the order of the examples in each epoch.

    Attributes
    ----------
    kernel, bias : array (I, 1) and (1,), or (I, K) and (K,)
        Of the ``threshold`` layer, or of the scores; float64.  Where the rule did not converge, those with the fewest
        mistakes on the training data after an epoch (the pocket).
    converged : bool
        Whether the last epoch made no mistake.
    updates : int
        How many wrong answers there were in all.
    history : dict of str to list
        ``mistakes`` and ``accuracy`` by epoch.
    separable : bool or None
        Whether some hyperplane has all examples on their side: known once the rule converged, or by a linear programme.

    Notes
    -----
    Novikoff: if some unit vector :math:`u` separates the examples with margin :math:`\gamma`, that is
    :math:`\pm u \cdot (x, 1) \ge \gamma` for each, and all :math:`|(x, 1)| \le R`, then the rule makes at most
    :math:`(R/\gamma)^2` mistakes, in any order; with K classes twice that, the margin being that of the right score over
    the next and the norm that of all weights.  :meth:`bound` is this number for the weights found.

    References
    ----------
    Rosenblatt, *The perceptron*, Psychological Review 65 (1958).
    Novikoff, *On convergence proofs on perceptrons*, Symposium on the Mathematical Theory of Automata (1962).
    Gallant, *Perceptron-based learning algorithms*, IEEE Transactions on Neural Networks 1 (1990).

    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> p = Perceptron().fit(X, np.array([0, 0, 0, 1]))  # and
    >>> p.converged, p.predict(X).tolist(), p.updates <= p.bound(X, [0, 0, 0, 1])
    (True, [0, 0, 0, 1], True)
    >>> xor = Perceptron().fit(X, np.array([0, 1, 1, 0]))
    >>> xor.converged, xor.separable
    (False, False)
    """

    rate: float = 1.0
    seed: int = 0
    kernel: np.ndarray | None = None
    bias: np.ndarray | None = None
    converged: bool = False
    separable: bool | None = None
    updates: int = 0
    history: dict[str, list] = field(default_factory=lambda: {"mistakes": [], "accuracy": []})

    def __post_init__(self):
        if isinstance(self.rate, bool) or not 0 < float(self.rate) < math.inf:
            raise InputError(f"Perceptron: rate is {self.rate!r}; accepted is a number above 0")

    def fit(self, X, Y, epochs: int = 100) -> Perceptron:
        """Train from zero weights until an epoch makes no mistake, or for so many epochs.

        Parameters
        ----------
        X : array (N, I)
        Y : array (N,)
            Labels: yes or no, 0 and 1, -1 and 1, or 0, 1, ..., K - 1.
        epochs : int

        Raises
        ------
        InputError
            For data that does not fit, or of a single class.
        """
        x, y = _examples(X), _labels(Y)
        if len(x) != len(y):
            raise InputError(f"Perceptron: X has {len(x)} examples and Y {len(y)}")
        if isinstance(epochs, bool) or not hasattr(epochs, "__index__") or epochs < 1:
            raise InputError(f"Perceptron: epochs is {epochs!r}; accepted is a whole number above 0")
        x, classes = _with_one(x), max(int(y.max()) + 1, 2)
        w = np.zeros((x.shape[1], 1 if classes == 2 else classes))
        self.history, self.updates, self.converged = {"mistakes": [], "accuracy": []}, 0, False
        rng, best = np.random.default_rng(self.seed), -1.0
        for _ in range(epochs):
            mistakes = self._epoch(w, x, y, rng.permutation(len(x)))
            accuracy = float(np.mean(_answers(x @ w) == y))
            self.history["mistakes"].append(mistakes)
            self.history["accuracy"].append(accuracy)
            self.updates += mistakes
            if accuracy > best:
                best, self.kernel, self.bias = accuracy, w[:-1].copy(), w[-1].copy()
            if not mistakes:
                self.converged = True
                break
        self.separable = True if best == 1.0 else _separable(x, y, classes)
        return self

    def _epoch(self, w, x, y, order) -> int:
        """Once through the examples, in place; how many answers were wrong."""
        wrong = 0
        for n in order:
            h = _answers(x[n : n + 1] @ w)[0]
            if h == y[n]:
                continue
            wrong += 1
            if w.shape[1] == 1:
                w[:, 0] += self.rate * (y[n] - h) * x[n]
            else:
                w[:, y[n]] += self.rate * x[n]
                w[:, h] -= self.rate * x[n]
        return wrong

    def scores(self, X) -> np.ndarray:
        """``w . x + c``, (N, 1) or (N, K)."""
        kernel, bias = self._found()
        return _examples(X, kernel.shape[0]) @ kernel + bias

    def _found(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights and biases of a perceptron that is trained."""
        if self.kernel is None or self.bias is None:
            raise InputError("Perceptron: not trained yet; call fit(X, Y) first")
        return self.kernel, self.bias

    def predict(self, X) -> np.ndarray:
        """The labels (N,), counted from 0."""
        return _answers(self.scores(X))

    def bound(self, X, Y) -> float:
        """Novikoff's bound on the mistakes, by the margin of the weights found; infinite where they do not separate."""
        x, y = _with_one(_examples(X)), _labels(Y)
        w = np.vstack(self._found())
        z, n = x @ w, np.arange(len(x))
        if w.shape[1] == 1:
            margins, factor = z[:, 0] * (2 * y - 1), 1
        else:
            others = z.copy()
            others[n, y] = -np.inf
            margins, factor = z[n, y] - others.max(axis=1), 2
        margin = margins.min() / np.linalg.norm(w)
        return factor * float((x**2).sum(axis=1).max()) / margin**2 if margin > 0 else math.inf

    def __str__(self):
        if self.kernel is None:
            return "perceptron: not trained"
        epochs, best = len(self.history["mistakes"]), max(self.history["accuracy"])
        if self.converged:
            return f"perceptron: converged after {epochs} epochs and {self.updates} mistakes"
        why = {
            True: "a hyperplane separates the classes, so more epochs will find one",
            False: "no hyperplane separates the classes, so the rule never comes to rest; the best weights seen are kept",
            None: "whether a hyperplane separates the classes is not known (scipy is not installed)",
        }[self.separable]
        return f"perceptron: not converged after {epochs} epochs, accuracy {best:.4f}: {why}"

    __repr__ = __str__


def _examples(X, width: int | None = None) -> np.ndarray:
    shape = np.shape(X)
    if len(shape) != 2:
        raise InputError(f"Perceptron: X has shape {shape}; expected is (N, I)")
    return data.check_examples(X, shape[1:] if width is None else (width,), "X", np.float64)


def _labels(Y) -> np.ndarray:
    y = np.asarray(Y)
    y = y.astype(int) if y.dtype == bool else y
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"Perceptron: Y has shape {y.shape} and dtype {y.dtype}; expected are integer labels (N,)")
    if set(np.unique(y)) <= {-1, 1}:
        y = (y + 1) // 2
    if y.size and y.min() < 0:
        raise InputError(f"Perceptron: Y has the label {y.min()}; accepted are 0 and 1, -1 and 1, or 0, 1, ..., K - 1")
    if len(np.unique(y)) < 2:
        raise InputError(
            f"Perceptron: all {len(y)} examples have the label {np.asarray(Y).ravel()[:1].tolist()}; two "
            f"classes are needed"
        )
    return y


def _with_one(x) -> np.ndarray:
    return np.hstack([x, np.ones((len(x), 1))])


def _answers(z) -> np.ndarray:
    return (z[:, 0] >= 0).astype(int) if z.shape[1] == 1 else z.argmax(axis=1)


def _separable(x, y, classes) -> bool | None:
    """Whether weights exist whose right score leads by 1 for every example: a linear programme without objective."""
    try:
        from scipy.optimize import linprog
        from scipy.sparse import coo_array
    except ModuleNotFoundError:
        return None
    n, i = x.shape
    if classes == 2:
        rows, width = x * (1 - 2 * y)[:, None], i
    else:
        right = np.repeat(np.arange(n), classes - 1)
        other = np.concatenate([np.delete(np.arange(classes), label) for label in y])
        m, width = len(right), i * classes
        at, column = np.repeat(np.arange(m), i), np.tile(np.arange(i), m)
        rows = coo_array(
            (
                np.concatenate([x[right].ravel(), -x[right].ravel()]),
                (
                    np.concatenate([at, at]),
                    np.concatenate([np.repeat(other, i) * i + column, np.repeat(y[right], i) * i + column]),
                ),
            ),
            shape=(m, width),
        )
    found = linprog(np.zeros(width), A_ub=rows, b_ub=-np.ones(rows.shape[0]), bounds=(None, None), method="highs")
    return {0: True, 2: False}.get(found.status)
