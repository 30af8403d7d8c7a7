"""Evaluates layout trees as a reader would: what a formula on the page means, in numbers.

Index formulas are evaluated letter by letter, matrix formulas with vectors as columns; both know nothing of the
equations that the trees were made from.
"""

import itertools
import math

import numpy as np

from derive.show.formulas import layout as L

FUNCTIONS = {"tanh": math.tanh, "log": math.log, "exp": math.exp, "relu": lambda x: max(x, 0.0)}


class IndexReading:
    """``sizes`` maps a letter's name to its range, ``arrays`` a tensor's name to its values."""

    def __init__(self, sizes, arrays):
        self.sizes, self.arrays = sizes, arrays

    def value(self, node, env):
        v = lambda n: self.value(n, env)  # noqa: E731
        match node:
            case L.Num():
                return float(node.text)
            case L.Letter():
                return env[node] if node in env else self.sizes[node.name]
            case L.Name():
                return float(self.arrays[node.raw])
            case L.Element():
                place = tuple(int(v(i)) for i in node.idx)
                array = self.arrays[node.name.raw]
                inside = all(0 <= p < n for p, n in zip(place, array.shape, strict=True))
                return float(array[place]) if inside else 0.0
            case L.Sum():
                return sum(sign * v(item) for sign, item in node.items)
            case L.Product():
                return math.prod(v(item) for item in node.items)
            case L.Fraction():
                return v(node.num) / v(node.den)
            case L.Power():
                return v(node.base) ** v(node.exponent)
            case L.Root():
                return math.sqrt(v(node.arg))
            case L.Exp():
                return math.exp(v(node.arg))
            case L.Apply():
                return FUNCTIONS[node.fn](*map(v, node.args))
            case L.Fence(kind="iverson"):
                return float(self.holds(node.body, env))
            case L.Big():
                values = [self.value(node.body, inner) for inner in self.ranges(node, env)]
                return sum(values) if node.op == "sum" else max(values)
        raise AssertionError(f"no reading of {node}")

    def ranges(self, big, env):
        for place in itertools.product(*(range(self.sizes[i.name]) for i in big.letters)):
            inner = {**env, **dict(zip(big.letters, place, strict=True))}
            if all(self.holds(c, inner) for c in big.conditions):
                yield inner

    def holds(self, relation, env):
        values = [self.value(p, env) for p in relation.parts]
        tests = {"==": lambda a, b: a == b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b}
        return all(tests[op](a, b) for op, a, b in zip(relation.ops, values, values[1:], strict=False))


class Ones:
    """A vector of ones whose length the context gives."""


class Row:
    """A transposed vector."""

    def __init__(self, vector):
        self.vector = vector


class MatrixReading:
    """Matrix formulas; a scalar size is a letter."""

    def __init__(self, sizes, arrays):
        self.sizes, self.arrays = sizes, arrays

    def value(self, node, env=None):
        v = lambda n: self.value(n, env)  # noqa: E731
        match node:
            case L.Num():
                return float(node.text)
            case L.Letter():
                return env[node] if env and node in env else self.sizes[node.name]
            case L.Name():
                return self.arrays[node.raw]
            case L.Element():
                array, step = self.arrays[node.name.raw], int(v(node.idx[0]))
                return array[step] if 0 <= step < len(array) else np.zeros(array.shape[1:])
            case L.Ones():
                return Ones()
            case L.Transposed():
                inside = v(node.body)
                if isinstance(inside, Ones) or inside.ndim == 1:
                    return Row(inside)
                return inside.T
            case L.Sum():
                return sum(sign * v(item) for sign, item in node.items)
            case L.Product(op="odot"):
                return math.prod(v(i) for i in node.items)
            case L.Product():
                return self.chain([v(i) for i in node.items])
            case L.Fraction():
                return v(node.num) / v(node.den)
            case L.Power(base=L.Fence(kind="norm")):
                return np.sum(v(node.base.body) ** 2)
            case L.Apply(fn="diag"):
                return np.diag(v(node.args[0]))
            case L.Apply(fn="onehot"):
                return np.arange(self.sizes["K"])[None, :] == v(node.args[0])[:, None]
            case L.Apply():
                return np.vectorize(FUNCTIONS[node.fn])(v(node.args[0]))
            case L.Big():
                (letter,) = node.letters
                return sum(
                    self.value(node.body, {**(env or {}), letter: n}) for n in range(self.sizes[letter.name.upper()])
                )
        raise AssertionError(f"no reading of {node}")

    @staticmethod
    def chain(items):
        value = items[0]
        for right in items[1:]:
            if isinstance(right, Row):  # an outer product; ones broadcast
                left = np.ones(1) if isinstance(value, Ones) else value
                across = np.ones(1) if isinstance(right.vector, Ones) else right.vector
                value = np.outer(left, across)
            elif isinstance(value, Row):
                left = np.ones(len(right)) if isinstance(value.vector, Ones) else value.vector
                value = left @ right if not isinstance(right, Ones) else left.sum()
            elif isinstance(right, Ones):
                value = value.sum(axis=-1)
            elif np.isscalar(value) or np.isscalar(right):
                value = value * right
            else:
                value = value @ right
        return value
