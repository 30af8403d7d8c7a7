"""A sequence one position at a time: from the definitions of all positions, those of one, and what it reads of the others.

A tensor that the position reads at itself is computed for that position alone.  One that it reads at the positions before
it, as attention reads keys and values, is kept: an input with the axis of positions, beside which the value of the new
position is returned.  One that it reads so many positions back, as a recurrence reads its state, is an input too, its value
back then.  Nothing else is needed of the past, and it is read off the definitions; no layer knows of it.

What does not depend on the sequence, as the keys of an encoder's memory, is an input as well, which is computed once.

What lies behind the position must not count.  That is proved, not assumed: a sum over positions is taken only if its body
vanishes behind the position, which a mask ``where(q <= t, s, -oo)`` gives to the weights ``exp(s)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sympy import Basic, Dummy, Eq, Expr, Integer, Piecewise, expand

from derive.language.declare import tensor
from derive.language.define import block, define
from derive.language.errors import UnsupportedError
from derive.language.grouping import replaced
from derive.language.index import Index, same_size
from derive.language.nodes import Max, Reduction, Sum
from derive.language.tensor import Read, Recurrence, Tensor

from .derivation import Derivation
from .forward import forward
from .vanishing import Vanishing


@dataclass(frozen=True)
class Kept:
    """Values at all positions.

    Attributes
    ----------
    tensor : Tensor
        The input that holds them; its axis of positions stands before its last one, so that products over them read
        whole rows.
    of : Tensor
        The model's own tensor.
    order : tuple of int
        The axes of ``of`` in the order of ``tensor``.
    place : int
        The axis of positions in ``tensor``.
    """

    tensor: Tensor
    of: Tensor
    order: tuple[int, ...]
    place: int


@dataclass(frozen=True)
class Stepwise:
    """The program of one position.

    Attributes
    ----------
    derivation : Derivation
        Its outputs are ``output`` and, by the names of the tensors, the values that are kept or read later.
    token : str
        The input of the sequence at the position, (B,) and further axes.
    positions : tuple of str
        Inputs that are the number of the position.
    kept : dict of str to Kept
        By the name of a tensor.
    before : dict of str to tuple of Tensor
        By the name of a tensor: inputs with its values one position before, two positions before and so on.
    past : dict of str to (Tensor, int)
        The model's own tensors of ``before``, and their axes of positions.
    once : dict of str to Tensor
        By the name of an input: the model's own tensor that it is, which does not depend on the sequence.
    """

    derivation: Derivation
    token: str
    positions: tuple[str, ...]
    kept: dict[str, Kept]
    before: dict[str, tuple[Tensor, ...]]
    past: dict[str, tuple[Tensor, int]]
    once: dict[str, Tensor]


def stepwise(output: Tensor, sequence: Tensor, name: str) -> Stepwise:
    """The program of one position of ``output`` (B, T, ...), by the positions of the input ``sequence`` (B, T, ...).

    Raises
    ------
    UnsupportedError
        Where a position depends on later ones, or reads others in a way that is not supported: the tensor and its equation.
    """
    return _Steps(sequence).program(output, name)


class _Steps:
    def __init__(self, sequence: Tensor):
        self.sequence, self.size = sequence, sequence.axes[1]
        rest = [i for n, i in enumerate(sequence.indices) if n != 1]
        self.token = tensor(sequence.name, *rest, dtype=sequence.dtype, below=sequence.below, facts=sequence.facts)
        self.made: dict[tuple[Tensor, int], Tensor] = {}
        self.open: dict[tuple[Tensor, int], tuple[Recurrence, Tensor]] = {}  # recurrences whose bodies are being made
        self.positions: dict[Expr, Tensor] = {}
        self.kept: dict[tuple[Tensor, int], Kept] = {}
        self.apart: set[Index] = set()  # indices of positions of which the position itself is told apart
        self.once: dict[Tensor, Tensor] = {}
        self.before: dict[tuple[Tensor, int], list[Tensor]] = {}
        self.varying: set[Tensor] = set()
        self.vanishing = Vanishing()

    def program(self, output: Tensor, name: str) -> Stepwise:
        self.varying = _varying(output, self.sequence)
        made = self.at(output, 1)
        values: dict[str, Tensor] = {}
        while left := [k for k in [*self.kept, *self.before] if k[0].name not in values]:
            for t, place in left:
                values[t.name] = self.at(t, place)
        outputs = {"output": made, **{n: t for n, t in values.items() if not t.is_input}}
        return Stepwise(
            forward(outputs, name),
            self.token.name,
            tuple(t.name for t in self.positions.values()),
            {t.name: kept for (t, _), kept in self.kept.items()},
            {t.name: tuple(inputs) for (t, _), inputs in self.before.items()},
            {t.name: (t, place) for t, place in self.before},
            {given.name: t for t, given in self.once.items()},
        )

    # -- tensors -----------------------------------------------------------------------------------------------------

    def at(self, t: Tensor, place: int) -> Tensor:
        """A tensor at the position, without that axis."""
        t = t.member
        if t == self.sequence:
            return self.token
        key = (t, place)
        if key in self.open:  # a block that reads the one before it
            return self.open[key][1]
        if key in self.made:
            return self.made[key]
        if t.definition is None:
            raise self._unsupported(t, "has no definition")
        letter, rest = t.indices[place], tuple(i for n, i in enumerate(t.indices) if n != place)
        called = t.name if (t, 1 - place) not in self.made else f"{t.name}_{place}"
        if t.recurrence is None:
            self.made[key] = self._define(called, rest, self.expression(t, t.definition.body, letter), t.block)
            return self.made[key]
        recurrence = Recurrence()
        stand_in = recurrence.stand_in(called, rest, f"{t.digest} {place}")
        self.open[key] = recurrence, stand_in
        made = self._define(called, rest, self.expression(t, t.definition.body, letter), t.block)
        del self.open[key]
        if stand_in in _reached(made):
            (made,) = recurrence.close([made], [stand_in])
        self.made[key] = made
        return made

    def past(self, t: Tensor, place: int) -> Kept:
        """A tensor at the positions before: an input."""
        t = t.member
        if (t, place) not in self.kept:
            order = _rows_last(t.rank, place)
            kept = tensor(f"{t.name}_kept", *(t.indices[n] for n in order), dtype=t.dtype, below=t.below, role="state")
            self.kept[t, place] = Kept(kept, t, order, order.index(place))
        return self.kept[t, place]

    def every(self, t: Tensor, place: int, idx: list[Expr]) -> Expr:
        """A tensor at all positions: what was kept, and at the position what is computed now."""
        kept, q = self.past(t, place), idx[place]
        before = Read(kept.tensor, *(idx[n] for n in kept.order))
        if q in self.apart:
            return before
        now = Read(self.at(t, place), *(e for n, e in enumerate(idx) if n != place))
        return Piecewise((now, Eq(q, self.position(self.size)[()])), (before, True))

    def back(self, t: Tensor, place: int, steps: int) -> Tensor:
        """A tensor so many positions before: an input."""
        t = t.member
        inputs = self.before.setdefault((t, place), [])
        rest = [i for n, i in enumerate(t.indices) if n != place]
        while len(inputs) < steps:
            inputs.append(
                tensor(f"{t.name}_before_{len(inputs) + 1}", *rest, dtype=t.dtype, below=t.below, role="state")
            )
        return inputs[steps - 1]

    def before_all(self, t: Tensor) -> Tensor:
        """A tensor that does not depend on the sequence: an input, computed once."""
        if t not in self.once:
            self.once[t] = tensor(f"{t.name}_given", *t.indices, dtype=t.dtype, below=t.below, facts=t.facts)
        return self.once[t]

    def position(self, below: Expr) -> Tensor:
        """The number of the position, below a size."""
        if below not in self.positions:
            n = len(self.positions)
            self.positions[below] = tensor("position" if not n else f"position_{n + 1}", dtype="int", below=below)
        return self.positions[below]

    def _define(self, name: str, axes: tuple[Index, ...], body: Expr, within: str) -> Tensor:
        with block(within):
            return define(name, axes, body)

    # -- right-hand sides --------------------------------------------------------------------------------------------

    def expression(self, t: Tensor, e: Expr, letter: Index) -> Expr:
        """An expression of ``t`` at the position ``letter``."""
        for node in e.atoms(Reduction):
            for q in node.binders:
                if same_size(q.size, self.size) and any(q in r.free_symbols for r in self._varying_reads(node.body)):
                    self._check_causal(t, node, q, letter)
        outer, self.apart = self.apart, set()  # letters are those of one equation
        made = self._split(t, self._sums_split(e, letter), letter)
        self.apart = outer
        return made

    def _sums_split(self, e: Expr, letter: Index) -> Expr:
        """Sums over what is kept, without the position itself: what is there is added.

        A product with what is kept is then one with an array that lies there; a choice for each of its elements would write
        another one, and the loop copy both.
        """
        found: dict[Basic, Expr] = {}
        for node in e.atoms(Sum):
            if len(node.binders) == 1 and self._reads_past(node.body, node.binders[0], letter):
                (q,) = node.binders
                here = Piecewise((0, Eq(q, letter)), (node.body, True))
                found[node] = Sum(here, q) + replaced(node.body, {q: letter})
                self.apart.add(q)
        return replaced(e, found) if found else e

    def _split(self, t: Tensor, e: Expr, letter: Index) -> Expr:
        """The expression with its reads; as a choice, where it reads what is kept at a free index."""
        for q in t.indices:
            if q != letter and q not in self.apart and self._reads_past(e, q, letter):
                self.apart.add(q)
                there, here = self._read_in(t, e, letter), self._read_in(t, replaced(e, {q: letter}), letter)
                self.apart.discard(q)
                return Piecewise((here, Eq(q, self.position(self.size)[()])), (there, True))
        return self._read_in(t, e, letter)

    def _reads_past(self, e: Expr, q: Index, letter: Index) -> bool:
        """Whether something is read at other positions, by the index q, that is not of the position as well."""
        return same_size(q.size, self.size) and any(
            q in r.idx and letter not in r.idx and same_size(r.tensor.axes[r.idx.index(q)], self.size)
            for r in self._varying_reads(e)
        )

    def _read_in(self, t: Tensor, e: Expr, letter: Index) -> Expr:
        mapping: dict[Basic, Expr] = {r: self.read(t, r, letter) for r in sorted(e.atoms(Read), key=str)}
        if letter in replaced(e, {r: Dummy(real=True) for r in mapping}).free_symbols:
            mapping[letter] = self.position(self.size)[()]
        return replaced(e, mapping)

    def _varying_reads(self, e: Expr) -> Iterator[Read]:
        return (r for r in e.atoms(Read) if r.tensor.member in self.varying)

    def read(self, t: Tensor, r: Read, letter: Index) -> Expr:
        """One read of the equation of ``t``."""
        of = r.tensor
        idx = [self._index(t, e, letter) for e in r.idx]
        if of.member not in self.varying:
            return self._constant(of, r, idx, letter)
        places = [n for n, a in enumerate(of.axes) if same_size(a, self.size)]
        own = [n for n in places if r.idx[n] == letter]
        rest = [n for n in places if n not in own]
        if len(own) == 2:  # of a table over pairs of positions, what is at the position in both
            own.sort(key=lambda n: (of.member, n) not in self.made)
            idx[own.pop()] = self.position(self.size)[()]
        if len(own) == 1 and all(isinstance(r.idx[n], Index) for n in rest):
            return Read(self.at(of, own[0]), *(e for n, e in enumerate(idx) if n != own[0]))
        if len(places) == 1:
            (n,) = places
            if isinstance(r.idx[n], Index):
                return self.every(of, n, idx)
            steps = expand(letter - r.idx[n])
            if steps.is_Integer and steps > 0:
                return Read(self.back(of, n, int(steps)), *(e for m, e in enumerate(idx) if m != n))
        raise self._unsupported(
            t,
            f"reads {r}; accepted are reads at the position {letter} itself, at one so many before it, and sums over the "
            f"positions up to it",
        )

    def _index(self, t: Tensor, e: Expr, letter: Index) -> Expr:
        return e.xreplace({r: self.read(t, r, letter) for r in e.atoms(Read)}) if e.has(Read) else e

    def _constant(self, of: Tensor, r: Read, idx: list[Expr], letter: Index) -> Expr:
        """A read of what does not depend on the sequence: of a table, at the position."""
        places = [n for n, e in enumerate(r.idx) if e == letter]
        if len(places) == 1 and of.definition is not None and of.recurrence is None:
            (n,) = places
            return Read(self.at(of, n), *(e for m, e in enumerate(idx) if m != n))
        if of.definition is not None and not places:
            of = self.before_all(of.member)
        at = {n: self.position(of.axes[n])[()] for n in places}
        shifted = {letter: self.position(self.size)[()]}
        return Read(of, *(at.get(n, e.xreplace(shifted) if letter in e.free_symbols else e) for n, e in enumerate(idx)))

    def _check_causal(self, t: Tensor, node: Reduction, q: Index, letter: Index) -> None:
        behind = self.vanishing.behind(node.body, q, letter)
        if behind is None or not (
            isinstance(node, Sum) and behind == 0 or isinstance(node, Max) and behind.is_infinite
        ):
            raise self._unsupported(
                t,
                f"reads the positions {q} behind {letter}; accepted is what does not count there, as with causal=True, or "
                f"the scores Piecewise((s, {q} <= {letter}), (-oo, True)) of one's own",
            )

    def _unsupported(self, t: Tensor, why: str) -> UnsupportedError:
        body = "" if t.definition is None else f" = {t.definition.body}"
        return UnsupportedError(
            f"in {t.name}[{', '.join(map(str, t.letters))}]{body}\n  one position at a time: {t.name} {why}"
        )


def named(outputs: Iterable[Tensor]) -> dict[str, Tensor]:
    """By name, all tensors that some outputs are computed from, and themselves."""
    found = [t for output in outputs for t in (output, *_reached(output))]
    return {t.name: t.member for t in found}


def _rows_last(rank: int, place: int) -> tuple[int, ...]:
    """The axes of a tensor, that of positions before the last of the others, and behind the only one."""
    rest = [n for n in range(rank) if n != place]
    at = max(len(rest) - 1, min(len(rest), 1))
    return (*rest[:at], place, *rest[at:])


def _reached(t: Tensor) -> set[Tensor]:
    """All tensors that a definition reads, directly or not; stand-ins are themselves."""
    found: set[Tensor] = set()
    left = [t]
    while left:
        for r in _definition(left.pop()).atoms(Read):
            if r.tensor not in found:
                found.add(r.tensor)
                left.append(r.tensor)
    return found


def _definition(t: Tensor) -> Expr:
    return Integer(0) if t.definition is None else t.definition.body


def _varying(output: Tensor, sequence: Tensor) -> set[Tensor]:
    """What the output reads that depends on the sequence."""
    reads: dict[Tensor, set[Tensor]] = {}
    left = [output.member]
    while left:
        t = left.pop()
        if t not in reads:
            reads[t] = {r.tensor.member for r in _definition(t).atoms(Read)}
            left += reads[t]
    found = {sequence}
    while more := {t for t, of in reads.items() if t not in found and of & found}:
        found |= more
    return found
