"""What to notice in an adjoint, seen in the equation itself: nothing here knows a layer, a loss or an activation by name."""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Add, Expr, Mul, Pow

from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term
from derive.show.formulas.layout import Letter

from .blocks import Part, Sentence
from .formulas import Formulas


def notice(f: Formulas, eq: Equation) -> Sentence:
    """A sentence on the form of an adjoint, or nothing where the form is not one of those known."""
    if eq.reduce is not None:
        return ()
    for seen in SEEN:
        said = seen(f, eq)
        if said:
            return said
    return ()


def _exponentials(t: Term) -> list[Expr]:
    return [g for f in t.fac for g in Mul.make_args(f) if isinstance(g, sympy.exp)]


def _softmax(f: Formulas, eq: Equation) -> Sentence:
    """``(exp(z - lse) - [k = label]) / B``"""
    terms = _flat(eq)
    if len(terms) != 2:
        return ()
    shares = [t for t in terms if _exponentials(t) and not t.bnd]
    others = [t for t in terms if t not in shares]
    if len(shares) != 1 or len(others) != 1 or not _opposite(shares[0], others[0]):
        return ()
    exponent = _exponentials(shares[0])[0].exp
    negative = any(a.could_extract_minus_sign() for a in Add.make_args(exponent))
    if len(Add.make_args(exponent)) != 2 or not negative:
        return ()
    if any(_is_equality(r) for r in others[0].rows) or any(
        isinstance(g, Iverson) for h in others[0].fac for g in Mul.make_args(h)
    ):
        return (
            "Softmax minus one-hot: the probability that the network gives to each class, less 1 at the class that is "
            "right. Over the classes it sums to zero.",
        )
    if others[0].reads() and all(isinstance(g, Read) for g in others[0].fac):
        return ("Softmax minus target: what the network believes, less what is true.",)
    return ()


def _flat(eq: Equation) -> list[Term]:
    """The terms, those of a factor that is a sum taken apart."""
    out: list[Term] = []
    for t in eq.terms:
        sums = [f for f in t.fac if isinstance(f, Add)]
        if len(sums) != 1 or t.bnd:
            out.append(t)
            continue
        rest = tuple(g for g in t.fac if g is not sums[0])
        out += [Term(t.coef * a.as_coeff_Mul()[0], (a.as_coeff_Mul()[1], *rest), (), t.rows) for a in sums[0].args]
    return out


def _opposite(a: Term, b: Term) -> bool:
    return bool(a.coef.could_extract_minus_sign() != b.coef.could_extract_minus_sign())


def _is_equality(r: Row) -> bool:
    return r.op == "==" and bool(r.reads())


def _weights(f: Formulas, eq: Equation) -> Sentence:
    """``a (da - s)`` with s a sum of a da: what comes back through a softmax."""
    terms = _flat(eq)
    if len(terms) != 2:
        return ()
    one, two = ({g for h in t.fac for g in Mul.make_args(h) if isinstance(g, (Read, sympy.exp))} for t in terms)
    shared = one & two
    left, right = one - shared, two - shared
    if not shared or len(left) != 1 or len(right) != 1:
        return ()
    inner, outer = (next(iter(s)) for s in (left, right))
    if not (isinstance(inner, Read) and isinstance(outer, Read)):
        return ()
    if len(inner.idx) < len(outer.idx):
        inner, outer = outer, inner
    if (
        f.adjoint_name(inner.tensor.name) is None
        or not set(outer.idx) < set(inner.idx)
        or set(outer.idx) == set(eq.idx)
    ):
        return ()
    summed = f.d.program.equation(outer.tensor)
    if summed is None or not summed.terms or _opposite(*terms) == summed.terms[0].coef.could_extract_minus_sign():
        return ()
    inside = {r.tensor for r in summed.reads()}
    if inner.tensor not in inside or not any(isinstance(s, Read) and s.tensor in inside for s in shared):
        return ()
    letters: list[Part] = []
    for i in inner.idx:
        if isinstance(i, Index) and i not in set(outer.idx):
            letters += [*([", "] if letters else []), Letter(f.names.letters.get((i.name, i.size), i.name))]
    return (
        "From what arrives its mean is taken away, weighted by the shares themselves: over ",
        *letters,
        " ",
        f.names.name(eq.tensor),
        " sums to zero, as shares that sum to 1 can only be moved from one to another.",
    )


def _carried(f: Formulas, eq: Equation) -> Sentence:
    """``dc[t] = ... + dc[t+1] f[t+1]``: what a recurrence hands back."""
    own = [t for t in eq.terms if any(r.tensor == eq.tensor for r in t.reads())]
    if len(own) != 1 or own[0].bnd or not all(isinstance(g, Read) for g in own[0].fac):
        return ()
    gates = [g for g in own[0].fac if isinstance(g, Read) and g.tensor != eq.tensor]
    if any(_ahead(i) for t in eq.terms if t is not own[0] for r in t.reads() for i in r.idx):
        return ()  # what comes from the step after comes by other ways too
    primal = f.adjoint_name(eq.name)
    if len(gates) != 1 or primal is None:
        return ()
    return (
        "From the step after comes ",
        f.names.name(eq.tensor),
        " times ",
        f.names.name(gates[0].tensor),
        " and nothing else: where that is near 1, the gradient is carried back over many steps without fading.",
    )


def _recurrent(f: Formulas, eq: Equation) -> Sentence:
    shifted = [
        r for r in eq.reads() if f.adjoint_name(r.tensor.name) and any(i.is_Add and i.atoms(Index) for i in r.idx)
    ]
    later = [r for r in shifted if any(_ahead(i) for i in r.idx)]
    if not later or not any(i.is_Add for r in later for i in r.idx if len(i.atoms(Index)) == 1):
        return ()
    return (
        "It gathers from its own step and from the one after, so it is computed from the last step to the first: "
        "backpropagation through time.",
    )


def _ahead(i: Expr) -> bool:
    rest, letters = i.as_independent(Index)
    return bool(isinstance(letters, Index) and rest.is_Integer and rest != 0)


def _mean_removed(f: Formulas, eq: Equation) -> Sentence:
    """``r (dx - s/K - x p/K)``: the mean is removed from what arrives, and what goes along x-hat."""
    terms = _flat(eq)
    plain = [t for t in terms if _arrives(f, t, eq)]
    means = [t for t in terms if t not in plain and _divided_by_size(t)]
    if len(plain) != 1 or len(means) not in (1, 2) or not all(_opposite(plain[0], m) for m in means):
        return ()
    tail = ", and so is what goes along the normalized value itself" if len(means) == 2 else ""
    more = ": what normalizing takes out of the values cannot change the loss" if len(means) == 2 else ""
    return (f"The mean is removed from what arrives{tail}{more}.",)


def _arrives(f: Formulas, t: Term, eq: Equation) -> bool:
    """Whether a term holds an adjoint at the place of the equation itself."""
    reads = [g for h in t.fac for g in Mul.make_args(h) if isinstance(g, Read)]
    return not t.bnd and any(f.adjoint_name(r.tensor.name) and set(eq.idx) <= set(r.idx) for r in reads)


def _divided_by_size(t: Term) -> bool:
    return bool(sympy.fraction(t.coef)[1].free_symbols)


def _gate(f: Formulas, eq: Equation) -> Sentence:
    """``dh [z > 0]``"""
    if len(eq.terms) != 1:
        return ()
    term = eq.terms[0]
    if any(r.op == "==" and r.reads() for r in term.rows) and not term.bnd:
        return ("What arrives goes to the one place that won; all others get nothing.",)
    if any(isinstance(g, Iverson) and _positive(g) for h in term.fac for g in Mul.make_args(h)) and not term.bnd:
        return ("What arrives passes where the value was positive, and is stopped elsewhere.",)
    return ()


def _positive(g: Iverson) -> bool:
    return g.condition.func in (sympy.Gt, sympy.Ge, sympy.Lt, sympy.Le) and 0 in g.condition.args


def _residual(f: Formulas, eq: Equation) -> Sentence:
    """``dx = dy + ...``: a shortcut."""
    bare = [t for t in eq.terms if isinstance(t.bare(), Read) and t.fac[0].idx == eq.idx]
    if len(eq.terms) < 2 or len(bare) != 1 or f.adjoint_name(bare[0].fac[0].tensor.name) is None:
        return ()
    return (
        "The shortcut hands on ",
        f.names.name(bare[0].fac[0].tensor),
        " unchanged, beside what comes through the layer.",
    )


def _weight(f: Formulas, eq: Equation) -> Sentence:
    """``dW = sum_b x dz``, ``db = sum_b dz`` and ``dh = sum_k dz W``."""
    if len(eq.terms) != 1 or not eq.terms[0].bnd or not all(isinstance(g, Read) for g in eq.terms[0].fac):
        return ()
    reads = [g for g in eq.terms[0].fac if isinstance(g, Read)]
    arriving = [r for r in reads if f.adjoint_name(r.tensor.name)]
    others = [r for r in reads if r not in arriving]
    primal = f.adjoint_name(eq.name)
    if len(arriving) != 1 or primal is None:
        return ()
    a = f.names.name(arriving[0].tensor)
    if primal in {t.name for t in f.d.wrt}:
        if not others:
            return ("What was added everywhere gathers ", a, " from everywhere.")
        if len(others) == 1 and others[0].tensor.name not in {t.name for t in f.d.wrt}:
            return (
                "Each weight gets what went in, ",
                f.names.name(others[0].tensor),
                ", times what comes back, ",
                a,
                ".",
            )
        return ()
    if len(others) == 1 and others[0].tensor in f.d.wrt and len(others[0].idx) > 1:
        return (a, " goes back through the same weights, summed over what came out instead of what went in.")
    return ()


def _difference(f: Formulas, eq: Equation) -> Sentence:
    """``2 (y - target) / B``"""
    terms = _flat(eq)
    if len(terms) != 2 or not _opposite(*terms) or any(t.bnd or t.rows for t in terms):
        return ()
    reads = [t.fac[0] for t in terms if len(t.fac) == 1 and isinstance(t.fac[0], Read) and t.fac[0].idx == eq.idx]
    data = [r for r in reads if r.tensor in f.d.source.inputs]
    if len(reads) != 2 or len(data) != 1 or abs(terms[0].coef) != abs(terms[1].coef):
        return ()
    return ("What came out less what was asked for: the error itself.",)


def _square(f: Formulas, eq: Equation) -> Sentence:
    """``dh (1 - h^2)``: a derivative written with the value that was computed already."""
    if len(eq.terms) != 1 or eq.terms[0].bnd:
        return ()
    reads = {r.tensor for h in eq.terms[0].fac for r in h.atoms(Read)}
    primal = f.adjoint_name(eq.name)
    slopes = [h for h in eq.terms[0].fac if isinstance(h, Add) or isinstance(h, Pow) and isinstance(h.base, Add)]
    values = [t for t in reads if f.adjoint_name(t.name) is None and t.name != primal]
    consumer = [
        t for t in values if (e := f.d.source.equation(t)) is not None and primal in {x.name for x in e.tensors()}
    ]
    if not slopes or len(consumer) != 1:
        return ()
    return ("The slope is written with ", f.names.name(consumer[0]), ", which is known already.")


SEEN: tuple[Callable[[Formulas, Equation], Sentence], ...] = (
    _softmax,
    _weights,
    _carried,
    _recurrent,
    _mean_removed,
    _gate,
    _residual,
    _difference,
    _square,
    _weight,
)
