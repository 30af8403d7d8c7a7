r"""``dv.taylor``: the expansion that Newton's method replaces a function by, as equations of the derivation itself.

.. math::

    L(w + p) = L(w) + \langle g, p\rangle + \tfrac12\, p^T H p + O(|p|^3), \qquad y(w + p) = y(w) + J p + O(|p|^2)
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Integer, Rational

from derive.language.errors import DerivationError
from derive.language.index import Fresh
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Term

from .derivation import Derivation
from .given import refuse_structured


@dataclass(frozen=True)
class Expansion:
    """The model around a point, and what is zero at the point it leads to.

    Attributes
    ----------
    model : Equation
        The function along the steps ``w_step``, without its remainder.
    condition : tuple of Equation
        Newton's equations: these are zero at the step.  For a loss the gradient of the model, for a root the model.
    derivatives : tuple of Equation
        The gradients and second derivatives, or the Jacobians, that the model reads.
    order : int
        Of the remainder.
    update : Equation or None
        The next point, solved for: of one unknown only.
    """

    model: Equation
    condition: tuple[Equation, ...]
    derivatives: tuple[Equation, ...]
    order: int
    update: Equation | None = None

    def __str__(self) -> str:
        zero = "\n".join(f"0 = {str(e).partition(' = ')[2]}" for e in self.condition)
        solved = f"\n{self.update}" if self.update is not None else ""
        where = "\n".join(map(str, self.derivatives))
        return f"{self.model} + O(|step|^{self.order})\nNewton's step:\n{zero}{solved}\nwhere\n{where}"


def taylor(d: Derivation) -> Expansion:
    """The Taylor expansion that a Hessian or a Jacobian derivation makes, with its Newton step.

    Parameters
    ----------
    d : Derivation
        From ``dv.hessian`` (second order) or ``dv.jacobian`` (first order: the tangent).

    Raises
    ------
    DerivationError
        For another kind of derivation.

    Examples
    --------
    >>> import derive as dv
    >>> x = dv.tensor("x")
    >>> print(dv.taylor(dv.jacobian(dv.define("f", (), x[()]**2 - 2), [x])))
    f_model = f + J_x x_step + O(|step|^2)
    Newton's step:
    0 = f + J_x x_step
    x_next = x - f / J_x
    where
    J_x = 2 x
    """
    if d.kind not in ("hessian", "jacobian"):
        raise DerivationError(f"dv.taylor takes what dv.hessian or dv.jacobian derived; {d.name} is a {d.kind}")
    steps = {
        t.name: Tensor(f"{t.name}_step", t.axes, t.letters, role="computed", digest=f"step:{t.name}") for t in d.wrt
    }
    refuse_structured(d.wrt, "dv.taylor")
    return _of_loss(d, steps) if d.kind == "hessian" else _of_values(d, steps)


def _of_loss(d: Derivation, steps: dict[str, Tensor]) -> Expansion:
    gradients, blocks = d.result("grads"), d.result("hessian")
    slope, bend, condition, fresh = [], [], [], Fresh()
    for a in d.wrt:
        g = gradients[a.name]
        idx = d.program.defining(g).idx
        slope.append(Term(Integer(1), (Read(g, *idx), Read(steps[a.name], *idx)), tuple(idx)))
        zero = [Term(Integer(1), (Read(g, *idx),))]
        for b in d.wrt:
            H = blocks[a.name, b.name]
            letters = d.program.defining(H).idx
            rows, columns = letters[: a.rank], letters[a.rank :]
            product = (Read(H, *letters), Read(steps[b.name], *columns))
            bend.append(Term(Rational(1, 2), (Read(steps[a.name], *rows), *product), tuple(letters)))
            moved = dict(zip(rows, idx, strict=True))
            zero.append(Term(Integer(1), product, tuple(columns)).opened(fresh).xreplace(moved))
        condition.append(Equation(_like(steps[a.name], "_zero"), tuple(idx), tuple(zero)))
    model = Equation(_scalar(f"{d.loss.name}_model"), (), (Term(Integer(1), (Read(d.loss),)), *slope, *bend))
    used = (
        *(gradients[t.name] for t in d.wrt),
        *(blocks[a.name, b.name] for n, a in enumerate(d.wrt) for b in d.wrt[n:]),
    )
    first = d.wrt[0]
    solved = _update(d, gradients[first.name], blocks[first.name, first.name])
    return Expansion(model, tuple(condition), tuple(d.program.defining(t) for t in used), 3, solved)


def _of_values(d: Derivation, steps: dict[str, Tensor]) -> Expansion:
    y, jacobians = d.loss, d.result("jacobian")
    idx, terms, fresh = None, [], Fresh()
    for w in d.wrt:
        J = jacobians[w.name]
        letters = d.program.defining(J).idx
        rows, columns = letters[: y.rank], letters[y.rank :]
        idx = rows if idx is None else idx
        product = Term(Integer(1), (Read(J, *letters), Read(steps[w.name], *columns)), tuple(columns)).opened(fresh)
        terms.append(product.xreplace(dict(zip(rows, idx, strict=True))))
    model = Equation(
        Tensor(f"{y.name}_model", y.axes, y.letters, role="computed", digest="model"),
        tuple(idx or ()),
        (Term(Integer(1), (Read(y, *(idx or ())),)), *terms),
    )
    return Expansion(
        model,
        (model,),
        tuple(d.program.defining(jacobians[w.name]) for w in d.wrt),
        2,
        _update(d, y, jacobians[d.wrt[0].name]),
    )


def _update(d: Derivation, zero: Tensor, slope: Tensor) -> Equation | None:
    """``x_next = x - f / f'`` of one unknown."""
    if len(d.wrt) > 1 or slope.rank:
        return None
    x = d.wrt[0]
    return Equation(
        _scalar(f"{x.name}_next"), (), (Term(Integer(1), (Read(x),)), Term(Integer(-1), (Read(zero), 1 / Read(slope))))
    )


def _like(t: Tensor, ending: str) -> Tensor:
    return Tensor(t.name + ending, t.axes, t.letters, role="computed", digest=t.name + ending)


def _scalar(name: str) -> Tensor:
    return Tensor(name, (), (), role="computed", digest=name)
