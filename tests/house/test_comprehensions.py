"""CPython 3.12 and 3.13.0 mistake a name that is the variable of one comprehension and, in another of the same function, one of
outside: it is "not associated with a value" there.  No function has such a pair, whatever Python the tests run on."""

import ast

import pytest

INLINED = (ast.ListComp, ast.SetComp, ast.DictComp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Names(ast.NodeVisitor):
    """Of one function: its own names, the variables of its comprehensions, and what these read of outside."""

    def __init__(self, function):
        arguments = [a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)]
        self.own, self.variables, self.read, self.bound = set(arguments), set(), {}, None
        for statement in function.body if isinstance(function.body, list) else [function.body]:
            self.visit(statement)

    def visit(self, node):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            self.own.add(getattr(node, "name", ""))
        elif isinstance(node, ast.GeneratorExp):
            self.visit(node.generators[0].iter)  # the rest is a function of its own
        elif isinstance(node, INLINED):
            self.comprehension(node)
        elif isinstance(node, ast.NamedExpr):
            self.own.add(node.target.id)
            self.visit(node.value)
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                self.own.add(node.id)
            elif self.bound is not None and node.id not in self.bound:
                self.read.setdefault(node.id, node.lineno)
        else:
            self.generic_visit(node)

    def comprehension(self, node):
        first, outer = node.generators[0], self.bound
        self.visit(first.iter)
        targets = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        self.variables |= targets
        self.bound = (outer or set()) | targets
        inside = [g.iter for g in node.generators[1:]] + [c for g in node.generators for c in g.ifs]
        for part in [*inside, *([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])]:
            self.visit(part)
        self.bound = outer

    @property
    def mistaken(self):
        return [(n, line) for n, line in self.read.items() if n in self.variables - self.own]


def mistaken(text):
    return [pair for f in ast.walk(ast.parse(text)) if isinstance(f, FUNCTIONS) for pair in Names(f).mistaken]


def test_what_is_mistaken():
    one = "def f():\n    a = [name for name in g]\n    return {n: name(n) for n in a}"
    assert mistaken(one) == [("name", 3)]
    assert not mistaken(one.replace("a = [name for name in g]", "a = list(name for name in g)"))
    assert not mistaken(one.replace("def f()", "def f(name)")) and not mistaken(one.replace("name(n)", "n"))


@pytest.mark.parametrize("folder", ["derive", "numerics", "docs", "examples", "benchmarks", "tests"])
def test_no_function_has_such_names(root, folder):
    found = {str(p): mistaken(p.read_text("utf-8")) for p in (root / folder).rglob("*.py")}
    assert not {p: names for p, names in found.items() if names}
