"""Random forward programs, for property tests: reads at random affine indices, reductions, gathers, kinks, guards."""

from __future__ import annotations

import random

import sympy
from sympy import Eq, Piecewise, Rational

import derive as dv
from derive.program.graph import float_ancestors
from derive.program.ingest import ingest


class Maker:
    """Makes one random scalar loss from a seed; ``wrt`` are its float inputs that it reads."""

    def __init__(self, seed: int, definitions: int = 3, depth: int = 3):
        self.rng = random.Random(seed)
        self.depth = depth
        self.letters = {n: dv.index(n) for n in "ijk"}
        i, j, k = self.letters.values()
        self.twins = {letter: dv.index(f"{letter.name}2", letter.size) for letter in (i, j, k)}
        self.inputs = [
            dv.tensor("x", i),
            dv.tensor("y", i, j),
            dv.tensor("w", k),
            dv.tensor("A", j, j.size),
            dv.tensor("c"),
        ]
        self.gathers = [dv.tensor("f", i, dtype="int", below=j.size), dv.tensor("g", k, dtype="int", below=i.size)]
        self.tensors = list(self.inputs)
        self.counter = 0
        for d in range(definitions):
            axes = tuple(self.rng.sample([i, j, k], self.rng.choice([0, 1, 1, 2])))
            self.tensors.append(dv.define(f"t{d}", axes, self.expr(axes, depth)))
        last = self.tensors[-1]
        idx = tuple(dv.index(f"s{n}", a) for n, a in enumerate(last.axes))
        body = self.squash(last[idx]) if idx else self.squash(last[()])
        self.loss = dv.define("loss", (), dv.Sum(body, *idx) if idx else body)
        program = ingest([self.loss])
        used = float_ancestors(program.equations, self.loss)
        self.wrt = [t for t in self.inputs if t.name in used]

    def squash(self, e):
        return self.rng.choice([lambda: sympy.tanh(e), lambda: e / (1 + e**2), lambda: dv.sigmoid(e), lambda: e])()

    def index_for(self, size, scope):
        """An index expression for an axis: a letter in scope of that size, shifted, strided, gathered or constant."""
        fits = [s for s in scope if s.size == size]
        roll = self.rng.random()
        if fits and roll < 0.6:
            return self.rng.choice(fits)
        if fits and roll < 0.75:
            return self.rng.choice(fits) + self.rng.choice([-1, 1])
        if fits and roll < 0.8:
            return 2 * self.rng.choice(fits) - 1
        for g in self.gathers:
            at = [s for s in scope if s.size == g.axes[0]]
            if g.below == size and at and roll < 0.9:
                return g[self.rng.choice(at)]
        others = list(scope)
        if others and roll < 0.93:
            return self.rng.choice(others) + 1
        return fits[0] if fits else sympy.Integer(self.rng.choice([0, 1]))

    def read(self, scope):
        t = self.rng.choice(self.tensors)
        return t[tuple(self.index_for(a, scope) for a in t.axes)]

    def fresh(self):
        base = self.rng.choice(list(self.letters.values()))
        self.counter += 1
        return dv.index(f"{base.name}{self.counter + 2}", base.size)

    def expr(self, scope, depth):
        r = self.rng
        if depth == 0:
            return self.read(scope) if r.random() < 0.85 else sympy.Rational(r.choice([1, 2, -1, 3]), r.choice([1, 2]))
        a = lambda: self.expr(scope, depth - 1)  # noqa: E731
        kind = r.randrange(18)
        if kind < 3:
            return a() + a()
        if kind < 6:
            return a() * a()
        if kind < 9:
            b = self.fresh()
            return dv.Sum(self.expr((*scope, b), depth - 1), b)
        if kind == 9:
            b = self.fresh()
            return dv.Max(self.squash(self.expr((*scope, b), depth - 1)) + Rational(1, 7) * b, b)
        if kind == 10:
            return sympy.tanh(a())
        if kind == 11:
            return dv.sigmoid(a())
        if kind == 12:
            return dv.relu(a())
        if kind == 13:
            return sympy.sqrt(1 + a() ** 2)
        if kind == 14:
            return sympy.log(2 + a() ** 2)
        if kind == 15 and len(scope) > 1:
            return Piecewise((a(), scope[0] <= scope[1]), (a() if r.random() < 0.5 else 0, True))
        if kind == 15 and scope:
            return Piecewise((a(), Eq(scope[0], 0)), (a(), True))
        if kind == 16:
            return dv.maximum(a(), a())
        b = self.fresh()
        inside = (*scope, b)
        u = sympy.tanh(self.expr(inside, depth - 1))
        return (
            sympy.log(dv.Sum(sympy.exp(u), b))
            if r.random() < 0.5
            else sympy.exp(sympy.tanh(a())) / dv.Sum(sympy.exp(u), b)
        )


class Powers(Maker):
    """Programs whose emitted code is hard to bracket: powers of every kind, nested minus signs, conditions in products."""

    def positive(self, scope, depth):
        """Something that a power with any exponent may have as its base."""
        kind = self.rng.randrange(4)
        a = self.bounded(scope, depth)
        if kind == 0:
            return sympy.exp(a)
        if kind == 1:
            return Piecewise((2 + a, self.comparison(scope, depth)), (1 + a**2, True))
        return 1 + a**2 if kind == 2 else sympy.Integer(self.rng.choice([2, 3]))

    def bounded(self, scope, depth):
        return sympy.tanh(self.expr(scope, depth))

    def comparison(self, scope, depth):
        """A read against something of the other sign or size; SymPy cannot order two numbers that it has not evaluated."""
        low = self.rng.choice([sympy.Rational(1, 97), -self.read(scope) / 3])
        return self.rng.choice([sympy.Gt, sympy.Le])(self.read(scope), low, evaluate=False)

    def exponent(self, scope, depth):
        rational = sympy.Rational(self.rng.choice([-5, -4, -3, -2, -1, 1, 2, 5]), self.rng.choice([1, 2, 3, 7]))
        size = self.rng.choice(list(self.letters.values())).size
        a, b = self.bounded(scope, depth), self.bounded(scope, 0)
        return self.rng.choice([rational, rational, -a / 3, -a * b, a - b, -1 / size, rational * a / (1 + b**2)])

    def expr(self, scope, depth):
        r = self.rng
        if depth == 0 or r.random() < 0.4:
            return super().expr(scope, depth)
        kind = r.randrange(6)
        if kind < 2:
            return self.positive(scope, depth - 1) ** self.exponent(scope, depth - 1)
        if kind == 2:
            return self.expr(scope, depth - 1) / self.positive(scope, depth - 1) ** Rational(r.choice([1, 2, 4]), 3)
        if kind == 3:
            return -(self.bounded(scope, depth - 1) - self.expr(scope, depth - 1)) / r.choice([1, 2, 3])
        if kind == 4:
            test = self.comparison(scope, depth - 1)
            return self.expr(scope, depth - 1) * Piecewise((1, test), (0, True)) * self.bounded(scope, depth - 1)
        return sympy.sqrt(Piecewise((self.positive(scope, depth - 1), self.comparison(scope, 0)), (2, True)))
