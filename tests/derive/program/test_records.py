"""The records that passes work on: what a single term is, and that nothing is assigned to after it is made."""

import ast
from pathlib import Path

import pytest
from sympy import exp

import derive as dv
from derive.program.ingest import ingest

ROOT = Path(__file__).resolve().parents[3] / "derive"
# what a function may assign to: itself, an object it is constructing, and the two records of work in progress
OWN = {"self", "obj", "work"}
MUTABLE = {("passes/max_first.py", "nest"), ("derivation/updates.py", "step"), ("language/text/tokens.py", "made")}

b, k = dv.indices("b k")
x = dv.tensor("x", b, k)


def equation(body, axes=(b, k)):
    return ingest([dv.define("h", axes, body)]).equation("h")


@pytest.mark.parametrize(
    "body, axes, single, only, value",
    [
        (exp(x[b, k]), (b, k), True, True, True),
        (2 * exp(x[b, k]), (b, k), True, True, False),
        (dv.Sum(exp(x[b, k]), k), (b,), True, True, False),
        (x[b, k] * exp(x[b, k]), (b, k), True, False, False),
        (x[b, k] + exp(x[b, k]), (b, k), False, False, False),
        (dv.Max(x[b, k], k), (b,), False, False, False),
    ],
)
def test_single_only_and_value(body, axes, single, only, value):
    eq = equation(body, axes)
    term = eq.single()
    assert (term is not None) == single
    assert (term is not None and term.only() is not None) == only
    assert (eq.value() is not None) == value
    assert eq.value() is None or eq.value() == term.bare() == eq.rhs


def assigned(path: Path) -> list[str]:
    """Attributes of other objects that a module assigns to."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for t in targets:
            for part in t.elts if isinstance(t, ast.Tuple) else [t]:
                if isinstance(part, ast.Attribute) and not isinstance(node, ast.For | ast.comprehension):
                    owner = ast.unparse(part.value)
                    if owner.partition(".")[0] not in OWN:
                        found.append((owner, f"line {node.lineno}: {ast.unparse(part)}"))
    name = path.relative_to(ROOT).as_posix()
    return [f"{name}, {text}" for owner, text in found if (name, owner) not in MUTABLE]


@pytest.mark.parametrize("floor", ["language", "program", "passes", "derivation"])
def test_what_is_made_is_not_assigned_to(floor):
    assert [a for path in sorted((ROOT / floor).rglob("*.py")) for a in assigned(path)] == []


def test_a_recurrence_and_a_derived_tensor_are_made_whole():
    t = dv.index("t")
    u = dv.tensor("u", t)
    h, c = dv.define("h c", (t,), lambda h, c: (h[t - 1] + c[t], c[t - 1] * u[t]))
    assert h.partners == c.partners == (h, c) and h.partners[0] is h
    d = dv.backprop(dv.define("loss", (), dv.Sum(h[t] ** 2, t)), [u])
    du = d.gradient(u).tensor
    again = du.origin.equation(du)
    assert again.tensor is du and all(r.origin is du.origin for r in again.tensors() if r.name in ("dh", "dc"))
