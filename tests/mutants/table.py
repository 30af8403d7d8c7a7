"""What became of the mutants: tried, refused by what, and each survivor."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import derive as dv
import numerics as nx

from . import derivations, gradients, sources
from .catalogue import FIRST, MODELS, derived, free_sizes


@dataclass
class Tally:
    """One kind of mutants, of one model or of many; a survivor is (model, what was done, in words what it differs in)."""

    kind: str
    models: int = 1
    made: int = 0
    tried: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    later: list[tuple[str, str, str]] = field(
        default_factory=list
    )  # refused by nx.verify, not by the check in question
    told: list[tuple[str, str, str]] = field(default_factory=list)  # where the report says that nothing was compared
    same: list[tuple[str, str, str]] = field(default_factory=list)
    holes: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.models += other.models
        self.made += other.made
        self.tried += other.tried
        self.refused += other.refused
        self.later += other.later
        self.told += other.told
        self.same += other.same
        self.holes += other.holes


def chosen(found: Iterable, most: int | None, key: str) -> tuple[list, int]:
    """A sample with a fixed seed, and how many there were."""
    every = list(found)
    if most is None or len(every) <= most:
        return every, len(every)
    return random.Random(key).sample(every, most), len(every)


def of_derivation(name: str, most: int | None) -> list[Tally]:
    """Equations, steps, facts and results of one model, given to ``d.check()``."""
    d, found = derived(name), []
    for kind in derivations.KINDS:
        some, made = chosen(derivations.mutants(d, kind), most, f"{name} {kind}")
        tally = Tally(kind, made=made, tried=len(some))
        for what, bad in some:
            by = derivations.refused(bad)
            if by:
                tally.refused[by] += 1
                continue
            apart = derivations.difference(d, bad, kind)
            if apart is None:
                tally.same.append((name, what, ""))
            elif bad.program != d.program and not derivations.verified(bad):
                tally.later.append((name, what, apart))
            elif bad.program != d.program and (said := derivations.unseen(d, bad)):
                tally.told.append((name, what, f"{apart}; not seen: {said}"))
            else:
                tally.holes.append((name, what, apart))
        found.append(tally)
    return found


def of_source(name: str, most: int | None) -> list[Tally]:
    """The emitted module of one model, given to the first check and to ``nx.verify``."""
    kern = nx.compile(derived(name), sizes=free_sizes(name) or None, check=False)
    some, made = chosen(sources.mutants(kern), most, name)
    tally = Tally("emitted source", made=made, tried=len(some))
    for what, bad in some:
        by = sources.refused(bad)
        if by:
            tally.refused[by] += 1
            continue
        apart = sources.different(kern, bad)
        if apart is None:
            tally.same.append((name, what, ""))
        elif not sources.verified(bad):
            tally.later.append((name, what, apart))
        else:
            tally.holes.append((name, what, apart))
    return [tally]


GRADIENTS: dict[str, Callable] = {
    "gradients: another equation": gradients.of_equations,
    "gradients: zero, minus, double": gradients.of_precisions,
    "gradients: in one regime": gradients.of_regimes,
}


def of_gradient(name: str, most: int | None) -> list[Tally]:
    """Gradients written by hand for one model, given to ``nx.crosscheck``, all at the same draws."""
    d, tallies, mutants = derived(name), {}, {}
    fixed = {dv.size(n): v for n, v in free_sizes(name).items()}
    kinds = {k: make(d, fixed) for k, make in GRADIENTS.items()}
    if name.startswith("by hand "):
        kinds["gradients: mistakes by name"] = gradients.by_hand(name.removeprefix("by hand "))
    for kind, found in kinds.items():
        some, made = chosen(found, None if kind.endswith("by name") else most, f"{name} {kind}")
        tallies[kind] = Tally(kind, made=made, tried=len(some))
        mutants.update({(kind, what): fn for what, fn in some})
    trial = gradients.tried(d, mutants, fixed)
    for (kind, _), by in trial.refused.items():
        tallies[kind].refused[by] += 1
    for (kind, what), fn in trial.live.items():
        apart, absent = gradients.different(d, fn, fixed), trial.report.coverage.absent
        said = trial.told.get((kind, what)) or next((r for r in absent if what.endswith(f"for {r}")), None)
        if apart is None:
            tallies[kind].same.append((name, what, ""))
        elif said:
            tallies[kind].told.append((name, what, f"{apart}; not seen: {said}"))
        else:
            tallies[kind].holes.append((name, what, f"{apart}; not seen: {'; '.join(absent) or 'nothing'}"))
    return list(tallies.values())


FAMILIES: dict[str, tuple[Callable, Iterable[str]]] = {
    "derivations": (of_derivation, MODELS),
    "gradients": (of_gradient, FIRST),
    "sources": (of_source, FIRST),
}


def run(family: str, name: str, most: int | None) -> list[Tally]:
    """The mutants of one family of one model."""
    return FAMILIES[family][0](name, most)


def text(tallies: Iterable[Tally]) -> str:
    """The table, then every survivor that is another function."""
    rows = [("kind", "models", "made", "tried", "refused", "verify", "told", "same", "holes")]
    found = list(tallies)
    for t in found:
        counts = (t.models, t.made, t.tried, t.refused.total(), len(t.later), len(t.told), len(t.same), len(t.holes))
        rows.append((t.kind, *map(str, counts)))
    total = [sum(int(r[n]) for r in rows[1:]) for n in range(2, 9)]
    rows.append(("all", "", *map(str, total)))
    wide = [max(len(r[n]) for r in rows) for n in range(9)]
    lines = [
        "  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(r, wide, strict=True)))
        for r in rows
    ]
    for t in found:
        lines += ["", f"{t.kind}: refused by " + ", ".join(f"{by} {n}" for by, n in t.refused.most_common())]
        for title, some in (
            ("refused by nx.verify", t.later),
            ("told", t.told),
            ("the same function", t.same),
            ("HOLE", t.holes),
        ):
            lines += [f"  {title}: {name}: {what}{f' ({apart})' if apart else ''}" for name, what, apart in some]
    return "\n".join(lines)
