"""The claims of Jacobians, Hessians and products with them, each against dual numbers on the author's definitions.

    hvp[A]          <hvp A, u> is the second derivative of the loss along V and u
    gauss_newton[A] <product A, u> is that, less the term that is dropped: the derivative of the loss along z_uv, the
                    second derivative of the tensor between along V and u
    jacobian[w]     sum_m J[n, m] v[m] is the tangent of y along v, element by element
    hessian[A, B]   sum_ab H[a, b] u[a] v[b] is the second derivative of the loss along u of A and v of B

A random u and v see every element: mod p, a wrong one passes with probability 2/p.  Blocks of intermediates, which have
no second direction of their own, are compared with the tangent of the gradient's equations, checked by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from derive.language.errors import DerivationError
from derive.language.tensor import Tensor
from derive.program.derived import Derived

from .abstract import Element
from .case import Case, Directions
from .checked import Checked
from .decide import Claim, Difference, decide, show
from .field import Dual
from .verdict import Finding


def second_order_findings(checker: Checked) -> Iterator[tuple[str, Finding]]:
    """(key, Finding) for every result of a second-order derivation, in the order of its results."""
    d, cases = checker.d, checker.cases
    for group, value in d.results:
        if group == "hvp":
            for n in value:
                yield f"hvp:{n}", decide(f"hvp {n}", cases, product_claim(checker, n))
        elif group == "gauss_newton":
            for n in value:
                yield f"{group}:{n}", decide(f"{group} {n}", cases, gauss_newton_claim(checker, n))
        elif group == "jacobian":
            for n in value:
                yield f"jacobian:{n}", decide(f"jacobian {n}", cases, jacobian_claim(checker, n))
        elif group == "hessian":
            for pair in value:
                yield (
                    f"hessian:{','.join(pair)}",
                    decide(f"hessian {', '.join(pair)}", cases, hessian_claim(checker, pair)),
                )


def product_claim(checker: Checked, name: str) -> Claim:
    """<hvp W, u> equals the second derivative of the loss along V and u, by hyper-dual numbers."""
    d = checker.d
    wrt, along = {t.name: t for t in d.wrt}, d.directions
    products = {name: d.result("hvp")[name]}

    def claim(case: Case) -> Difference | None:
        first = {n: case.array(v).data for n, v in along.items()}
        mixed = mixed_derivative(case, checker, first, {name: case.direction(wrt[name])})
        return checker.either(case, lambda arrays: checker.along(case, arrays, products, wrt, mixed))

    return claim


def gauss_newton_claim(checker: Checked, name: str) -> Claim:
    d, z = checker.d, checker.d.between
    if z is None:
        raise DerivationError(f"{d.name}: a Gauss-Newton product of no tensor between")
    wrt, products = {t.name: t for t in d.wrt}, {name: d.result("gauss_newton")[name]}

    def claim(case: Case) -> Difference | None:
        first = {n: case.array(v).data for n, v in d.directions.items()}
        second = {name: case.direction(wrt[name])}
        dropped = {z.name: [_mixed(case, v) for v in checker.truth(case, z, first, second)]}
        along = checker.truth(case, d.loss, dropped)[0][1]
        whole = mixed_derivative(case, checker, first, second)
        mixed = case.field.sub(whole, case.field.zero if along is None else along)
        return checker.either(case, lambda arrays: checker.along(case, arrays, products, wrt, mixed))

    return claim


def jacobian_claim(checker: Checked, name: str) -> Claim:
    """Every row of the Jacobian, contracted with a random direction, is the tangent of that element of y."""
    d = checker.d
    w, y, J = _wrt(d, name), d.loss, d.result("jacobian")[name]

    def claim(case: Case) -> Difference | None:
        v = case.direction(w)
        true = _tangents(case, checker, {name: case.moved(w)}, y)
        return checker.either(case, lambda arrays: _rows_differ(case, arrays[J.name].data, v, true, y.name))

    return claim


def hessian_claim(checker: Checked, pair: tuple[str, str]) -> Claim:
    d = checker.d
    A, B = (_wrt(d, n) for n in pair)
    H, dA = d.result("hessian")[pair], d.gradients[A.name]
    if A.is_input and B.is_input:

        def claim(case: Case) -> Difference | None:
            u, v = case.direction(A, "left"), case.direction(B)
            mixed = mixed_derivative(case, checker, {B.name: v}, {A.name: u})
            return checker.either(case, lambda arrays: _form_differs(case, arrays[H.name].data, u, v, mixed, pair))

        return claim

    def claim_of_rows(case: Case) -> Difference | None:
        v = case.direction(B)
        true = _tangents(case, checker, {B.name: v}, dA)
        return checker.either(case, lambda arrays: _rows_differ(case, arrays[H.name].data, v, true, dA.name))

    return claim_of_rows


def mixed_derivative(case: Case, checker: Checked, first: Directions, second: Directions) -> Element:
    """The second derivative of the author's loss along two directions."""
    return _mixed(case, checker.truth(case, checker.d.loss, first, second)[0])


def _mixed(case: Case, v: Dual[Dual[Element]]) -> Element:
    return case.field.zero if v[1] is None or v[1][1] is None else v[1][1]


def _wrt(d: Derived, name: str) -> Tensor:
    found = next((t for t in d.wrt if t.name == name), None)
    if found is None:
        raise DerivationError(f"{d.name} has a result for {name}, which it is not differentiated by")
    return found


def _tangents(case: Case, checker: Checked, directions: Directions, y: Tensor) -> list[Element]:
    zero = case.field.zero
    return [zero if v[1] is None else v[1] for v in checker.truth(case, y, directions)]


def _rows_differ(
    case: Case, matrix: Sequence[Element], v: Sequence[Element], true: Sequence[Element], name: str
) -> Difference | None:
    F, width = case.field, len(v)
    if len(matrix) != width * len(true):
        raise DerivationError(f"the derivative of {name} has {len(matrix)} elements; {len(true)} x {width} are needed")
    magnitude = 1 if F.exact else max((abs(t) for t in true), default=1)
    for n, t in enumerate(true):
        found = case.inner(matrix[n * width : (n + 1) * width], v)
        if not F.same(found, t, max(1, magnitude)):
            return Difference(
                f"element {n} of {name}, along a random direction", f"derived {show(F, found)}", f"true {show(F, t)}"
            )
    return None


def _form_differs(
    case: Case,
    matrix: Sequence[Element],
    u: Sequence[Element],
    v: Sequence[Element],
    mixed: Element,
    pair: tuple[str, str],
) -> Difference | None:
    F, width = case.field, len(v)
    if len(matrix) != width * len(u):
        raise DerivationError(
            f"the Hessian block {', '.join(pair)} has {len(matrix)} elements; {len(u)} x {width} are needed"
        )
    rows = [case.inner(matrix[n * width : (n + 1) * width], v) for n in range(len(u))]
    found = case.inner(rows, u)
    if F.same(found, mixed):
        return None
    return Difference(
        f"along random directions of {' and '.join(pair)}", f"derived {show(F, found)}", f"true {show(F, mixed)}"
    )
