"""The symbols of a whole document: letters for the parameters of layers and for what the passes made.

    dense_1_kernel, dense_1_bias     W^{(2)}, b^{(2)}     the number is that of the definition that reads them, z2
    lstm_1_recurrent                 U^{(1)}
    xh2, mean2                       hats and Greek       x-hat^{(2)}, mu^{(2)}
    lse_max, z_shifted, lse_shifted  m, z-tilde, l-tilde  what passes made; each gets a sentence
    dy_rsqrt_sum                     s, r, ...            the next letter that the document has not used

No two tensors of a document get the same symbol, and what is made gets no letter that is an index of the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sympy import Expr, Integer

from derive.language.index import Index, same_size
from derive.program.program import Equation, Program

from .names import Symbol, is_narrow, symbol

# what a parameter's role is written as
ROLES: Mapping[str, tuple[str, ...]] = {
    "kernel": ("W",),
    "bias": ("b",),
    "recurrent": ("U",),
    "recurrent_bias": ("c", "a"),
    "gamma": ("gamma",),
    "beta": ("beta",),
    "table": ("E", "T"),
    "slope": ("alpha", "a"),
    "gain": ("g", "gamma"),
    "shift": ("beta", "b"),
    "peephole": ("P",),
    "candidate": ("V",),
    "depthwise_kernel": ("D",),
    "pointwise_kernel": ("P",),
    "centres": ("c",),
    "widths": ("sigma",),
    "token": ("t", "e"),
    "mean": ("m", "mu"),
    "variance": ("v", "nu"),
    **{f"{role}_kernel": (f"W {letter}",) for role, letter in (("query", "Q"), ("key", "K"), ("value", "V"))},
    **{f"{role}_bias": (f"b {letter}",) for role, letter in (("query", "Q"), ("key", "K"), ("value", "V"))},
    "output_kernel": ("W O",),
    "output_bias": ("b O",),
}
CONVOLVED = ("conv", "separable", "depthwise")  # layers whose kernel is a K
PROJECTED = {"query": "Q", "key": "K", "value": "V"}
WORDS = {"lse": "ℓ", "mean": "mu", "var": "v", "variance": "v", "ms": "m"}  # heads of definitions that are words

# what passes append to a name, the letters that the value gets, and the sentence that says what it is
MADE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("lse_max", ("m", "M"), "the largest exponent, which leaves the sum before anything is exponentiated"),
    ("lse_shifted", ("ℓ~",), "the logarithm of the sum that is left when the largest exponent has been taken out"),
    ("sum_shifted", ("S~", "Z~"), "the sum of exponentials that are all at most 1"),
    ("shifted", ("~",), "what is left when the largest one has been subtracted"),
    ("lse_sum", ("S", "Z"), "the sum of the exponentials"),
    ("lse", ("ℓ",), "the logarithm of the sum of the exponentials"),
    ("rsqrt", ("r", "rho"), "one over the standard deviation"),
    ("argmax", ("a", "q"), "where the largest one stands"),
    ("max", ("m", "M"), "the largest one"),
    ("sum", ("S", "Z", "s"), "the sum inside it"),
    ("pre", ("a", "u"), "what goes into it"),
    ("in", ("z", "u", "a"), "what goes into it"),
)
SPARE = ("s", "r", "p", "q", "w", "v", "a", "e", "t", "n", "f", "g", "k")


@dataclass
class Symbols:
    """Chooses the symbols of one document, in the order in which its tensors are named."""

    programs: Sequence[Program]
    made: frozenset[str]
    adjoints: Mapping[str, str]
    found: dict[str, Symbol] = field(default_factory=dict)
    sentences: dict[str, str] = field(default_factory=dict)  # of what passes made

    def __post_init__(self) -> None:
        every = [e for p in self.programs for e in p.equations]
        self.letters = {i.name.rstrip("'") for e in every for i in indices_of(e)}
        self.letters |= {s.name for p in self.programs for s in p.sizes()}
        self.readers: dict[str, str] = {}
        for e in every:
            for t in e.tensors():
                self.readers.setdefault(t.name, e.name)
        self.blocks = {e.name: e.tensor.block for e in every}
        self.parts = self._parts([e.name for e in every if e.name not in self.adjoints])
        self.taken: set[Symbol] = set()

    def choose(self, names: Iterable[str]) -> None:
        """Give every name a symbol; plain ones first, so that what is made keeps out of their way."""
        order = list(dict.fromkeys(names))
        plain_ones = [n for n in order if n not in self.made and not self._parameter(n)]
        for n in (*plain_ones, *(n for n in order if n not in plain_ones)):
            if n in self.found or n in self.adjoints:
                continue
            wanted = list(self._wanted(n))
            chosen = next((s for s in wanted if s not in self.taken), symbol(n))
            self.found[n] = chosen
            self.taken.add(chosen)

    def _wanted(self, name: str) -> Iterator[Symbol]:
        """Symbols for a name, the best one first."""
        if name == "loss":
            yield Symbol("ℒ")
        parameter = self._parameter(name)
        if parameter:
            kind, _, role, label = parameter
            for letter in ("K", "W") if role == "kernel" and kind.startswith(CONVOLVED) else self._role(role):
                base, _, more = letter.partition(" ")
                yield Symbol(base, f"{more} {label}".strip())
            return
        if name in self.made:
            yield from self._of_made(name)
            return
        yield from self._of_definition(name)

    def _role(self, role: str) -> tuple[str, ...]:
        """The letters of a role; of a part's role, such as ``attention_query_kernel``, those of its end."""
        for n in range(role.count("_") + 1):
            if (letters := ROLES.get(role.split("_", n)[-1])) is not None:
                return letters
        return ()

    def _parameter(self, name: str) -> tuple[str, str, str, str] | None:
        """``("dense", "1", "kernel", "2")`` of a layer's parameter: kind, count, role, and the number it is shown with."""
        found = re.fullmatch(r"([a-z][a-z0-9_]*?)_(\d+)_([a-z_0-9]+?)", name)
        if found is None:  # of a layer that has a name of its own
            block = self.blocks.get(self.readers.get(name.removesuffix("_new"), ""), "")
            found = re.fullmatch(rf"({re.escape(block)})()_([a-z_0-9]+?)", name) if block else None
        if found is None or not self._role(found[3].removesuffix("_new")):
            return None
        role = found[3].removesuffix("_new")
        of_layer = f"{found[1]}_{found[2]}_" if found[2] else f"{found[1]}_"
        readers = [r for n, r in self.readers.items() if n.startswith(of_layer)]
        own = self.readers.get(name.removesuffix("_new"), "")
        label = next((n for n in map(self._number, (own, *readers)) if n), found[2])
        return found[1], found[2], role, label + (" new" if found[3].endswith("_new") else "")

    def _of_definition(self, name: str) -> Iterator[Symbol]:
        found = re.fullmatch(r"([^\W\d_]+)(\d+)_(\w+)", name)
        if found is not None:
            head, part = found[1], found[3]
            label = self.parts.get((found[2], part), found[2])
            role = PROJECTED.get(part.rsplit("_", 1)[-1])
            if role and head == "z":
                yield Symbol(role, label)
            yield from self._head(head, label)
            yield Symbol(head, f"{found[2]} {part.replace('_', ' ')}")
            return
        own = symbol(name)
        if own.label.isdigit():
            yield from self._head(own.base, own.label)
        if own == Symbol(name):
            yield from self._head(name, "")
        yield own

    def _head(self, head: str, label: str) -> Iterator[Symbol]:
        if head in ("xh", "xhat"):
            yield Symbol("x", label, "hat")
        if head in WORDS:
            yield Symbol(WORDS[head], label)
        if is_narrow(head):
            yield Symbol(head, label)

    def _of_made(self, name: str) -> Iterator[Symbol]:
        """Of a name that the engine made: by what was appended to whose name."""
        spare: tuple[str, ...] = SPARE
        if by := self._second(name):
            yield Symbol(name[0], by)
        if symbol(name).accent:
            yield symbol(name)
        inside = next((a for a in self.adjoints if name.startswith(f"{a}_")), None)
        if inside is not None:  # drs_sum, a sum inside the adjoint of rs
            self.sentences[name] = "a sum that is needed more than once"
            spare = ("s", "r", "p", *SPARE)
        for suffix, letters, sentence in () if inside else MADE:
            if name != suffix and not name.endswith(f"_{suffix}"):
                continue
            of = name.removesuffix(suffix).rstrip("_")
            whose = self.found.get(of) or (symbol(of) if of else Symbol(""))
            if is_narrow(of) and suffix == "sum" and of not in self.found:
                continue
            self.sentences[name] = sentence
            for letter in letters:
                base, tilde = letter.removesuffix("~"), letter.endswith("~")
                if not base:
                    yield replace(whose, accent="tilde")
                elif base not in self.letters:
                    yield Symbol(base, self._number(of), "tilde" if tilde else "")
            break
        else:
            if inside is None and not re.search(r"_", name):
                yield symbol(name)
        label = self._number(self.adjoints[inside] if inside else name)
        for letter in spare:
            if letter not in self.letters:
                yield Symbol(letter, label)

    def _second(self, name: str) -> str:
        """``w b`` of the block H_w_b of second derivatives, ``w`` of the Jacobian J_w."""
        if name[:2] not in ("H_", "J_"):
            return ""
        words = name[2:].split("_")
        cuts = [(words,)] if name[0] == "J" else [(words[:n], words[n:]) for n in range(1, len(words))]
        for cut in cuts:
            names = ["_".join(c) for c in cut]
            if all(n in self.found for n in names):
                return " ".join(self.found[n].base + self.found[n].label for n in names)
        return ""

    def _number(self, name: str) -> str:
        """The label of a definition: ``2`` of z2, ``1b`` of a part of the first layer."""
        if name in self.found and self.found[name].label[:1].isdigit():
            return self.found[name].label
        found = re.fullmatch(r"[^\W\d_]+(\d+)(?:_(\w+))?", name)
        if found is None:
            return ""
        tail = found[2] or ""
        return next((self.parts[found[1], t] for t in _shorter(tail) if (found[1], t) in self.parts), found[1])

    def _parts(self, names: Iterable[str]) -> dict[tuple[str, str], str]:
        """``{("1", "mlp_norm"): "1c"}``: the parts of a layer of several, lettered in order."""
        found: dict[str, list[str]] = {}
        for n in names:
            m = re.fullmatch(r"[^\W\d_]+(\d+)_(\w+)", n)
            if m is None or n in self.made:
                continue
            part = re.sub(r"_?(query|key|value)$", "", m[2])
            parts = found.setdefault(m[1], [])
            if part and part not in parts and part not in ("last",):
                parts.append(part)
        out: dict[tuple[str, str], str] = {}
        for number, parts in found.items():
            for place, part in enumerate(parts[:26]):
                label = number + "abcdefghijklmnopqrstuvwxyz"[place]
                out |= {(number, part): label} | {(number, f"{part}_{role}"): label for role in PROJECTED}
        return out


def _shorter(tail: str) -> Iterator[str]:
    """``attention_norm_rsqrt``, ``attention_norm``, ``attention``."""
    words = tail.split("_")
    for n in range(len(words), 0, -1):
        yield "_".join(words[:n])


def indices_of(e: Equation) -> Iterator[Index]:
    """Every index of an equation: free, reduced over and summed."""
    yield from e.idx
    yield from e.over
    for t in e.terms:
        yield from t.bnd


def own_letters(equations: Iterable[Equation]) -> dict[tuple[str, Expr], str]:
    """Other letters for indices whose own runs over another size elsewhere: one letter, one range in a document."""
    sizes: dict[str, list[Expr]] = {}
    out: dict[tuple[str, Expr], str] = {}
    every = [i for e in equations for i in indices_of(e)]
    names = {i.name.rstrip("'") for i in every}
    for i in every:
        name = i.name.rstrip("'")
        if not re.fullmatch(r"[^\W\d_]\d*", name):
            continue
        known = sizes.setdefault(name, [i.size])
        place = next((n for n, s in enumerate(known) if s == i.size or same_size(s, i.size)), None)
        if place is None:
            known.append(i.size)
            place = len(known) - 1
        if place and (name, i.size) not in out:
            before = next((out[name, s] for s in known[place:] if (name, s) in out), None)
            if before is None:
                n = 2
                while f"{name[0]}{n}" in names:
                    n += 1
                before = f"{name[0]}{n}"
                names.add(before)
            out[name, i.size] = before
    return out


def members(forward: Sequence[Equation]) -> dict[tuple[str, int], tuple[str, ...]]:
    """Letters for the elements of short axes: where each is read by one definition, it has that definition's letter.

    The kernel of an LSTM has its gates along such an axis, and they are read by i, f, g and o.
    """
    readers: dict[tuple[str, int], dict[int, set[str]]] = {}
    spoiled: set[tuple[str, int]] = set()
    for e in forward:
        for r in e.reads():
            for axis, (i, size) in enumerate(zip(r.idx, r.tensor.axes, strict=True)):
                if not isinstance(size, Integer) or not 2 <= int(size) <= 8:
                    continue
                if i.is_Integer:
                    readers.setdefault((r.tensor.name, axis), {}).setdefault(int(i), set()).add(e.name)
                else:
                    spoiled.add((r.tensor.name, axis))
    out: dict[tuple[str, int], tuple[str, ...]] = {}
    sizes = {e.name: e.tensor.axes for e in forward}
    for (name, axis), by in readers.items():
        if (name, axis) in spoiled or name not in sizes or sorted(by) != list(range(int(sizes[name][axis]))):
            continue
        heads = [symbol(next(iter(by[n]))).base if len(by[n]) == 1 else "" for n in sorted(by)]
        if all(len(h) == 1 for h in heads) and len(set(heads)) == len(heads):
            out[name, axis] = tuple(heads)
    return out
