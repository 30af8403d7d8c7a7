"""Mutants of an emitted module, given to the first check of a kernel and, where that says nothing, to ``nx.verify``."""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

import numerics as nx
from numerics.checks.ground import float64
from numerics.errors import NumericsError
from numerics.kernel import eager
from numerics.kernel.first_check import _checked, _results
from numerics.kernel.kernel import execute

from .equivalent import difference

OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
RELATIONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
OPPOSITES = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
NAMES = {"sum": "mean", "max": "min", "tanh": "sin", "exp": "expm1", "log": "log1p", "sqrt": "cbrt", "maximum": "minimum",
         "argmax": "argmin", "add": "set", "cumsum": "cumprod", "zeros": "ones"}  # fmt: skip


def mutants(kern) -> Iterator[tuple[str, object]]:
    """(what was done, the kernel of a module with one change in the function that computes)."""
    tree = ast.parse(kern.module.source)
    nodes = _computing(tree)
    for at in range(len(nodes)):
        for which in range(len(_changes(nodes[at]))):
            again = copy.deepcopy(tree)
            found = _computing(again)[at]
            what, change = _changes(found)[which]
            line = getattr(found, "lineno", 0)
            text = ast.unparse(found)
            change()
            source = ast.unparse(ast.fix_missing_locations(again)) + "\n"
            yield f"line {line}, {text}: {what}", rebuilt(kern, source)


def _computing(tree: ast.Module) -> list[ast.AST]:
    """The nodes of the functions that compute: ``shapes`` refuses arrays, and decorators are no arithmetic."""
    functions = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name != "shapes"]
    return [n for f in functions for line in f.body for n in ast.walk(line)]


def _changes(n: ast.AST) -> list:
    """(what, a function that does it to the node)."""
    found: list = []

    def put(what, **fields):
        found.append((what, lambda: [setattr(n, k, v) for k, v in fields.items()]))

    match n:
        case ast.BinOp():
            swap = OPERATORS.get(type(n.op))
            if swap:
                put(f"{type(n.op).__name__} to {swap.__name__}", op=swap())
            if isinstance(n.op, (ast.Sub, ast.Div, ast.MatMult, ast.Pow)):
                put(f"{type(n.op).__name__} the other way", left=n.right, right=n.left)
            if isinstance(n.op, (ast.Add, ast.Sub)):
                put("a missing term", op=ast.Add(), right=ast.Constant(0))
                put("another missing term", op=ast.Add(), left=ast.Constant(0))
            if isinstance(n.op, (ast.Mult, ast.Div)):
                put("a missing factor", op=ast.Mult(), right=ast.Constant(1))
        case ast.UnaryOp(op=ast.USub()):
            put("a sign", op=ast.UAdd())
        case ast.Compare():
            swap, turned = RELATIONS.get(type(n.ops[0])), OPPOSITES.get(type(n.ops[0]))
            if swap:
                put(f"{type(n.ops[0]).__name__} to {swap.__name__}", ops=[swap()])
            if turned:
                put(f"{type(n.ops[0]).__name__} to {turned.__name__}", ops=[turned()])
        case ast.Constant(value=bool()):
            put(f"{n.value} to {not n.value}", value=not n.value)
        case ast.Constant(value=int() | float()):
            put(f"{n.value} to {n.value + 1}", value=n.value + 1)
            if n.value not in (0, 1):
                put(f"{n.value} to {-n.value}", value=-n.value)
            if isinstance(n.value, float):
                put(f"{n.value} to {2 * n.value}", value=2 * n.value)
        case ast.Constant(value=str()) if "->" in n.value:
            before, after = n.value.split("->")
            if len(after) > 1:
                put("result transposed", value=f"{before}->{after[1:]}{after[0]}")
            first, *rest = before.split(",")
            if len(first) > 1:
                put("operand transposed", value=f"{','.join([first[1:] + first[0], *rest])}->{after}")
        case ast.Attribute() if n.attr in NAMES:
            put(f"{n.attr} to {NAMES[n.attr]}", attr=NAMES[n.attr])
        case ast.Attribute(attr="T"):
            put("not transposed", attr="real")
        case ast.Call(func=ast.Attribute(attr="where"), args=[_, a, b]):
            put("branches of where exchanged", args=[n.args[0], b, a])
            put("where always", args=[n.args[0], a, a])
        case ast.Slice():
            for side in ("lower", "upper"):
                bound = getattr(n, side)
                if bound is not None:
                    put(f"{side} bound one on", **{side: ast.BinOp(bound, ast.Add(), ast.Constant(1))})
            if n.lower is None and n.upper is None and n.step is None:
                put("first position left out", lower=ast.Constant(1))
    return found


def rebuilt(kern, source: str):
    """The kernel of a derivation with another module."""
    made = copy.copy(kern)
    made.module = replace(kern.module, source=source)
    return made


def refused(kern) -> str:
    """By what a kernel is refused: its first check, its own crash, ``nx.verify``; "" where nothing refuses it."""
    try:
        said = _checked(kern)
    except NumericsError:
        return "the first check"
    if said.startswith("checked"):
        return ""
    return "a module that does not run" if not _runs(kern) else ""


def _runs(kern) -> bool:
    """Whether JAX runs the module at all, at small sizes."""
    from numerics.reference.sampling import draw_arrays, draw_sizes

    program = kern.derivation.program
    sizes = draw_sizes(program, dict(kern.request.sizes)) or {}
    arrays = draw_arrays(program, sizes, {}, np.random.default_rng(0), kern.derivation.wrt)
    try:
        with float64():
            execute(kern.module.source, kern.module.function)(*(arrays[t.name] for t in kern.inputs))
    except Exception:
        return False
    return True


def verified(kern) -> bool:
    """Whether ``nx.verify`` finds nothing wrong with a kernel that the right one has not."""
    made = copy.copy(kern)
    made.fn = made._run = execute(kern.module.source, kern.module.function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = nx.verify(made, dtypes=("float64", "float32"))
    return all(f.verdict in ("ok", "convention") for f in report.findings)


def results(kern):
    """The results of a module, by NumPy, as a function of (arrays, sizes)."""

    def found(arrays, sizes):
        out, _ = eager.run(kern.module, [arrays[t.name] for t in kern.inputs])
        return {t.name: np.asarray(a) for t, a in _results(kern.request.written, out)}

    return found


def different(kern, other) -> str | None:
    """Where a survivor computes something else; None where it is the same function."""
    return difference(kern.derivation, results(kern), results(other), dict(kern.request.sizes))
