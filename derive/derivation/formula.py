"""``dv.matrix`` and ``dv.from_matrix``: the front doors of matrix notation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Expr

from derive.language.errors import DerivationError, DeriveError, ParseError
from derive.language.formulas.from_sympy import formula_of
from derive.language.formulas.lower import lowered
from derive.language.formulas.shapes import shapes
from derive.language.formulas.syntax import parse_formula
from derive.language.formulas.tree import FUNCTION, Declaration, Formula
from derive.language.tensor import Tensor

from .backprop import backprop
from .derivation import Derivation
from .second_order import hessian, hvp, jacobian


def matrix(text: str, name: str | None = None, **declared: str) -> dict[str, Tensor]:
    r"""A matrix formula as tensors and definitions in index notation, by name.

    The notation is that of matrixcalculus.org: ``*`` is the matrix product, ``.*`` and ``./`` act element by element,
    ``'`` transposes; ``inv det logdet tr norm1 norm2 sum diag vector(1) matrix(1) eye(n) size(n) kron solve`` and
    functions of numbers, which act on each element; ``eye(1)`` is the identity of the size that fits, ``size(n)`` the
    number that a declared size is.  Vectors are columns.  The text is parsed by a grammar and never evaluated.

    Parameters
    ----------
    text : str
        A formula, ``"x'*A*x"``; declarations may stand before it: ``"X: m x n; w: n; norm2(X*w - y)^2"``.
    name : str, optional
        Of the value; the text may say it too (``"g = x'*A*x"``), and ``f`` is what it is otherwise.
    **declared
        The same declarations by name: ``A="n x n symmetric"``.

    Returns
    -------
    dict of str to Tensor
        The tensors that the formula names, definitions of its parts, and its value.

    Raises
    ------
    ParseError
        With the place and what was expected.
    ShapeError
        Where shapes conflict, naming both, or where it is ambiguous what a name is.

    References
    ----------
    Laue, Mitterreiter, Giesen, *Computing Higher Order Derivatives of Matrix and Tensor Expressions*, NeurIPS 2018.

    >>> import derive as dv
    >>> found = dv.matrix("x'*A*x")
    >>> print(dv.backprop(found["f"], wrt=[found["x"]]).gradient(found["x"]))
    dx[i] = sum_j x[j] A[i,j] + sum_i' x[i'] A[i',i]
    """
    if not isinstance(text, str):
        raise ParseError(f"a matrix formula is a text, not {type(text).__name__}")
    lines = "".join(f"{n}: {d};" for n, d in declared.items())
    parsed = parse_formula(lines + text)
    return _built(parsed.formula, parsed.declared, name or parsed.name)


def _built(formula: Formula, declared: dict[str, Declaration], name: str | None) -> dict[str, Tensor]:
    names, nodes, sizes = shapes(formula, declared)
    if not names and not any(f.op in ("eye", "vector", "matrix") for f in formula.nodes()):
        raise DeriveError(f"{formula}: names no tensor; there is nothing to differentiate by")
    taken = {*names, *(n for n, d in declared.items() if d.facts == (FUNCTION,))}
    name = name or next(n for n in ("f", "value", "f_value", "value2") if n not in taken)
    return lowered(formula, names, nodes, sizes, declared, name)


def from_matrix(expr: Expr, name: str = "f", facts: Mapping[str, Sequence[str]] | None = None) -> dict[str, Tensor]:
    r"""A SymPy matrix expression as tensors and definitions in index notation, by name.

    Parameters
    ----------
    expr : sympy expression
        Of ``MatrixSymbol`` s and symbols: sums, products, powers, ``Transpose``, ``Inverse``, ``Determinant``, ``Trace``,
        ``HadamardProduct``, ``HadamardPower``, ``KroneckerProduct``, ``Identity``, ``OneMatrix``, ``ZeroMatrix``,
        ``DiagMatrix`` and ``applyfunc``; a matrix of one column is a vector.
    name : str
        Of the value.
    facts : dict, optional
        Name -> list of ``"symmetric"``, ``"positive_definite"``, ``"positive"``, ``"nonnegative"``.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    UnsupportedError
        For a node that has no form here, which the message names.

    >>> import sympy, derive as dv
    >>> n = sympy.Symbol("n", integer=True, positive=True)
    >>> A, x = sympy.MatrixSymbol("A", n, n), sympy.MatrixSymbol("x", n, 1)
    >>> found = dv.from_matrix(x.T * A * x)
    >>> print(dv.backprop(found["f"], wrt=[found["A"]]).gradient(found["A"]))
    dA[i,j] = x[i] x[j]
    """
    formula, dims = formula_of(expr)
    facts = facts or {}
    unknown = [n for n in facts if n not in dims]
    if unknown:
        raise DeriveError(
            f"from_matrix: facts name {unknown[0]!r}, which the expression does not have; it has {', '.join(dims)}"
        )
    declared = {n: Declaration(d, tuple(facts.get(n, ()))) for n, d in dims.items()}
    return _built(formula, declared, name)


def derive_matrix(
    text: str, wrt: str | Sequence[str] = (), order: int = 1, kind: str | None = None, **declared: str
) -> Derivation:
    """The derivation that a matrix formula asks for: what ``derive show "x'*A*x" --wrt x --order 2`` prints.

    Parameters
    ----------
    text : str
        See :func:`matrix`.
    wrt : sequence of str
        Names to differentiate by; all of the formula's, if none are given.
    order : int
        1 for the gradient (the Jacobian where the value is no scalar), 2 for the Hessian.
    kind : "hvp", optional
        Of order 2: the product of the Hessian with a direction, instead of the Hessian.
    """
    found = matrix(text, **declared)
    value = list(found.values())[-1]
    inputs = [t for t in found.values() if t.is_input]
    wrt = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for n in wrt:
        if n not in found or not found[n].is_input:
            raise DeriveError(
                f"wrt names {n!r}, which is no tensor of {text!r}; its tensors are {', '.join(t.name for t in inputs)}"
            )
    chosen = [found[n] for n in wrt] or inputs
    if order not in (1, 2):
        raise DeriveError(f"order {order}: accepted are 1 (gradient or Jacobian) and 2 (Hessian)")
    if value.rank and order == 2:
        axes = " x ".join(map(str, value.axes))
        raise DerivationError(
            f"{text!r} is not a scalar but {axes}; second derivatives are for scalars, order 1 gives the "
            f"Jacobian; where a name was read as a vector that is a scalar, declare it:  c: scalar; ..."
        )
    if order == 2:
        return (hvp if kind == "hvp" else hessian)(value, chosen)
    return jacobian(value, chosen) if value.rank else backprop(value, chosen)
