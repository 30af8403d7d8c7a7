"""What inputs have met of a program: each condition both ways, the winners of each max, ties; and what was never met.

A check says what it has seen: "ok" is never said of a branch that no input reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from derive.derivation.derivation import Derivation
from derive.language.tensor import Read
from numerics.errors import NumericsError

from .as_written import Written, values_as_written, written_conditions
from .conditions import Condition, Winner, ancestors, conditions_of, evaluated, winners_of
from .opponent import written
from .reachable import impossible
from .replay import Replay, points

LARGE = 200_000_000  # grid points of one evaluation: beyond them the conditions of given inputs are not looked at

TO = " to +-1e4"  # how the regime of one tensor that is large is called

Way = tuple[Condition, bool]


@dataclass(frozen=True)
class Coverage:
    """What a report says it has seen: ``seen`` and ``missing`` are ways of conditions, the others names of regimes.

    ``missing`` are conditions that no input met, ``allowed`` those of them that the caller named in ``allow_unseen``,
    ``impossible`` those that no input can meet, by the range of what they compare; ``absent`` are regimes that no draw
    was in, which are told and refuse nothing.
    """

    conditions: int = 0
    seen: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    impossible: tuple[str, ...] = ()
    regimes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.missing

    def lines(self) -> list[str]:
        """``seen: 3 of 3 conditions both ways; ties; B = 1.   not seen: ...``, and a line for each condition not met."""
        met, ways = len(self.seen), len(self.seen) + len(self.missing) + len(self.allowed)
        of = f"{self.conditions} condition{'' if self.conditions == 1 else 's'}"
        said = [f"{self.conditions} of {of} both ways" if met == ways else f"{met} of {ways} ways of {of}"]
        text = "; ".join([*(said if self.conditions else []), *_together(self.regimes)])
        found = [
            f"seen: {text or 'the first draw'}" + (f".   not seen: {'; '.join(self.absent)}" if self.absent else "")
        ]
        found += [f"not seen: {way}" for way in self.missing]
        found += [f"not seen, as allowed: {way}" for way in self.allowed]
        return found + [f"never true: {way}" for way in self.impossible]

    def as_dict(self) -> dict:
        return {
            "conditions": self.conditions,
            "seen": list(self.seen),
            "not_seen": list(self.missing),
            "allowed": list(self.allowed),
            "impossible": list(self.impossible),
            "regimes": list(self.regimes),
            "regimes_not_seen": list(self.absent),
        }


def _together(regimes: tuple[str, ...]) -> list[str]:
    """Regimes of single tensors in one: ``+-1e4 in x, W``."""
    alone = [r for r in regimes if TO not in r]
    tensors = [r.removesuffix(TO) for r in regimes if TO in r]
    return alone + ([f"+-1e4 in {', '.join(tensors)}"] if tensors else [])


@dataclass
class Seen:
    """Which way each condition of the definitions has gone, over all inputs that were compared."""

    d: Derivation
    ties: bool = False
    met: dict[str, str] = field(default_factory=dict)  # the text of a way -> where it was met
    regimes: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.program = self.d.source
        found = conditions_of(self.program)
        self.conditions = [c for c in found if c.by_data]
        self.structural = [c for c in found if not c.by_data]
        self.winners = winners_of(self.program)
        self.never = {
            text for c in found for way in (True, False) if impossible(self.program, c, way) for text in [c.text(way)]
        }
        self.roots = written(self.d)
        self.written = [c for c in written_conditions(self.roots) if c.text(True) not in self.never]
        self.gone: dict[str, set[bool]] = {c.text(True): set() for c in self.written}
        self.places: dict[str, set[str]] = {}  # of each max: the places that could win at the sizes met
        self._replays: dict[tuple, Replay] = {}

    def replay(self, arrays: dict, sizes: dict) -> Replay:
        """The definitions in NumPy, kept by sizes."""
        key = tuple(sorted((s.name, n) for s, n in sizes.items()))
        if key not in self._replays:
            self._replays[key] = Replay(self.program, arrays, sizes)
        return self._replays[key]

    def small(self, sizes: dict) -> bool:
        return points(self.program, sizes) <= LARGE

    def add(self, arrays: dict, sizes: dict) -> list[str]:
        """Note the ways that these inputs go; which of them are new."""
        self._as_written(arrays, sizes)
        if not (self.conditions or self.structural or self.winners):
            return []
        replay = self.replay(arrays, sizes)
        values = replay.at(arrays)
        quick = evaluated(self.program, values, sizes, replay.memory)
        ways: dict[str, Condition | Winner] = {}
        for c in (*self.conditions, *self.structural):
            margin, where = c.decided(quick)
            holds = margin[where] >= 0
            ways.update({c.text(way): c for way in (True, False) if np.any(holds if way else ~holds)})
            self.ties = self.ties or bool(c.moves and np.any(np.abs(margin[where]) <= np.finfo(float).tiny))
        for w in self.winners:
            places, possible, tie = w.won(quick)
            self.places.setdefault(w.equation.name, set()).update(possible)
            ways.update(dict.fromkeys((w.text(p) for p in places), w))
            self.ties = self.ties or tie
        new = [text for text in ways if text not in self.met]
        self.met.update(dict.fromkeys(new, ""))
        return new

    def _as_written(self, arrays: dict, sizes: dict) -> None:
        """Note which way the written conditions go, until each has gone both."""
        todo = [c for c in self.written if len(self.gone[c.text(True)]) < 2]
        if todo:
            values = values_as_written(self.roots, arrays, sizes)
            for c in todo:
                self.gone[c.text(True)] |= c.ways(values, sizes)

    def lost(self) -> list[str]:
        """The ways of written conditions that no input has gone, where what was read from the definitions says otherwise.

        A condition that is told by itself, as not met or as never true, is not told twice.
        """
        told = {c.text(True) for c in self.conditions for way in (True, False) if c.text(way) not in self.met}
        read = {c.text(True): c for c in (*self.conditions, *self.structural)}
        found = []
        for c in self.written:
            missing = [way for way in (True, False) if way not in self.gone[c.text(True)]]
            if missing and c.text(True) not in told and not self._accounted(c, read):
                found += [c.text(way) for way in missing if not impossible(self.program, c, way)]
        return found

    def _accounted(self, c: Written, read: dict[str, Condition]) -> bool:
        """Whether a condition of another text reads the same inputs and is told already, or reads it under another name."""
        if c.text(True) in read:
            return False
        inputs = self._inputs(c)
        alike = [r for r in read.values() if self._inputs(r) == inputs]
        return any(r.text(way) not in self.met for r in alike for way in (True, False))

    def _inputs(self, c: Condition | Written) -> frozenset[str]:
        names = [r.tensor.name for r in c.test.atoms(Read)]
        return frozenset(n for n in ancestors(self.program, names) if self.program.equation(n) is None)

    def unmet(self) -> list[Way]:
        """The ways that data decide and that no input has gone."""
        return [
            (c, way)
            for c in self.conditions
            for way in (True, False)
            if c.text(way) not in self.met and c.text(way) not in self.never
        ]

    def unwon(self) -> list[tuple[Winner, str]]:
        found = [(w, p) for w in self.winners for p in sorted(self.places.get(w.equation.name, ()))]
        return [(w, p) for w, p in found if w.text(p) not in self.met]

    def regime(self, text: str, seen: bool = True) -> None:
        """Note that a regime was compared, or that no draw was in it."""
        where = self.regimes if seen else self.absent
        if text not in where:
            where.append(text)

    def coverage(self, allow: Iterable[str] = ()) -> Coverage:
        """The record for a report, given the ways that the caller allows to be missing."""
        missing = [c.text(way) for c, way in self.unmet()] + [w.text(p) for w, p in self.unwon()] + self.lost()
        structural = [
            c.text(w)
            for c in self.structural
            for w in (True, False)
            if c.text(w) not in self.met | dict.fromkeys(self.never)
        ]
        allow = list(allow)
        known = {c.text(way) for c in self.conditions for way in (True, False)}
        known |= {c.text(way) for c in self.written for way in (True, False)}
        known |= {w.text(p) for w in self.winners for p in self.places.get(w.equation.name, ())}
        unknown = [text for text in allow if text not in known]
        if unknown:
            listed = "; ".join(sorted(known)) or "none"
            raise NumericsError(f"allow_unseen names {unknown[0]!r}; the conditions of {self.d.name} read: {listed}")
        ties = ["ties"] if self.ties else []
        no_ties = ["ties"] if not self.ties and (self.winners or any(c.moves for c in self.conditions)) else []
        return Coverage(
            conditions=len(self.conditions) + len(self.winners),
            seen=tuple(text for text in self.met if text in known),
            missing=tuple(text for text in missing if text not in allow),
            allowed=tuple(text for text in missing if text in allow),
            impossible=tuple(sorted(self.never)),
            regimes=(*ties, *self.regimes),
            absent=(*no_ties, *structural, *(a for a in self.absent if a not in self.regimes)),
        )


def allowed_texts(given: object, what: str) -> tuple[str, ...]:
    """The texts of ``allow_unseen``: conditions as the report prints them after "not seen: ", a list even of one."""
    if isinstance(given, str) or not isinstance(given, (list, tuple, set, frozenset)):
        raise NumericsError(
            f"{what}(..., allow_unseen={given!r}): takes a list of conditions as the report prints them, "
            f"such as ['z[b] > 3']"
        )
    return tuple(map(str, given))
