"""The rules of the passes: declared where they are used, listed by their pass, told in the order of the pipeline."""

import importlib
import pkgutil
import re
from dataclasses import replace

import pytest
import second_order_programs as second
import sympy
from programs import CASES

import derive as dv
import derive.passes
from derive.language.errors import DerivationError, DeriveError
from derive.passes.pipeline import FORWARD_PASSES, PASSES, RULES, check_rules
from derive.passes.rule import Rule
from derive.show.document.blocks import Heading
from derive.show.document.options import Options
from derive.show.document.outline import outline

b, k, j = dv.indices("b k j")
x, y = dv.tensor("x", b, k), dv.tensor("y", b, k)


def named_softmax():
    e = dv.define("e", (b, k), sympy.exp(x[b, k]))
    s = dv.define("s", (b,), dv.Sum(e[b, k], k))
    return dv.jacobian(dv.define("p", (b, k), e[b, k] / s[b]), [x])


def named_logistic():
    e = dv.define("e", (b, k), sympy.exp(x[b, k]))
    return dv.backprop(dv.define("loss", (), dv.Sum(e[b, k] / (1 + e[b, k]) * y[b, k], b, k)), [x])


def equal_adjoints():
    """u and v are read alike, so their adjoints are equal."""
    s, t = dv.tensor("s", b, k), dv.tensor("t", b, k)
    u, v = dv.define("u", (b, k), sympy.exp(x[b, k])), dv.define("v", (b, k), sympy.tanh(y[b, k]))
    z = dv.define("z", (b, k), (u[b, k] + v[b, k]) * s[b, k] * t[b, k])
    return dv.backprop(dv.define("loss", (), dv.Sum(z[b, k] ** 2, b, k)), [x, y])


def pooled_relu():
    u, r, q = dv.index("u", "U"), dv.index("r", 2), dv.index("q", 2 * dv.size("U"))
    a, w, c = dv.tensor("a", q, j), dv.tensor("w", j, k), dv.tensor("c", k)
    z = dv.define("z", (q, k), dv.Sum(a[q, j] * w[j, k], j) + c[k])
    h = dv.define("h", (q, k), dv.relu(z[q, k]))
    m = dv.define("m", (u, k), dv.Max(h[2 * u + r, k], r))
    return dv.backprop(dv.define("loss", (), dv.Sum(m[u, k], u, k)), [w, c])


def guarded_root():
    b, k = dv.indices("b k", size="N")
    x, y = dv.tensor("x", b, j), dv.tensor("y", k, j)
    v = dv.define("v", (b, k), dv.Sum(x[b, j] * y[k, j], j))
    s = dv.define("s", (b, k), sympy.sqrt(v[b, k]))
    return dv.backprop(dv.define("loss", (), dv.Sum(sympy.Piecewise((s[b, k], b < k), (0, True)), b, k)), [x])


def additive_mask():
    """A mask of 0 and 1 that is added as ``-1e9`` where it is 0."""
    s = dv.define("s", (b, k), x[b, k] - 10**9 * (1 - y[b, k]))
    return dv.backprop(dv.define("loss", (), dv.Sum(sympy.tanh(s[b, k]), b, k)), [x])


def two_exponentials():
    return dv.backprop(dv.define("loss", (), dv.Sum(sympy.log(sympy.exp(x[b, k]) + sympy.exp(y[b, k])), b, k)), [x])


def long_product():
    return dv.backprop(dv.define("loss", (), dv.Sum(sympy.log(dv.Prod(sympy.exp(x[b, k]), k)), b)), [x])


SECOND = ("logistic", "softmax_regression", "log_sum_exp", "matrix_factorization", "softmax_cross_entropy")
MORE = {
    **{
        f.__name__: f
        for f in (
            named_softmax,
            named_logistic,
            equal_adjoints,
            pooled_relu,
            guarded_root,
            additive_mask,
            two_exponentials,
            long_product,
        )
    },
    "inverse": lambda: dv.derive_matrix("a'*inv(A)*A*b", "b"),
    "orthogonal": lambda: dv.derive_matrix("Q: n x n orthogonal; x'*Q'*Q*x", "x"),
    "structured": lambda: dv.derive_matrix("S: n x n free symmetric; tr(A*S*S)", "S"),
    **{f"hessian of {n}": lambda n=n: dv.hessian(*getattr(second, n)()[:2]) for n in SECOND},
    **{f"product of {n}": lambda n=n: dv.hvp(*getattr(second, n)()[:2]) for n in SECOND},
}


@pytest.fixture(scope="module")
def derivations():
    return {n: make() for n, make in {**CASES, **MORE}.items()}


def test_what_is_declared_is_used_and_what_is_used_is_declared(derivations):
    used = {s.rule for d in derivations.values() for s in d.steps}
    assert used - set(RULES) == set(), "used and not declared"
    assert set(RULES) - used == set(), "declared and not used"


def test_every_step_claims_what_its_rule_claims_or_names_a_tensor(derivations):
    for name, d in derivations.items():
        for s in d.steps:
            assert s.claim == RULES[s.rule].claim or (s.claim == "definition" and not s.before), f"{name}, step {s.id}"


def test_rules_have_names_of_their_own_and_chapters():
    listed = [r for p in dict.fromkeys((*PASSES, *FORWARD_PASSES)) for r in p.rules]
    assert all(RULES[r.name] is r and r.chapter for r in listed), "two rules of one name"
    one_idea = {}
    for r in RULES.values():
        assert one_idea.setdefault(r.chapter, r.idea) == r.idea, f"{r.chapter} has two ideas"


def test_a_rule_that_a_module_declares_is_listed_by_a_pass():
    modules = [importlib.import_module(f"derive.passes.{m.name}") for m in pkgutil.iter_modules(derive.passes.__path__)]
    declared = {r.name for m in modules for r in vars(m).values() if isinstance(r, Rule)}
    assert declared == set(RULES)


def told(d) -> list[str]:
    """The chapters of a document, in its order."""
    return [h.text for h in outline(d, Options()) if isinstance(h, Heading) and h.level in (2, 3)]


def numbered(d) -> list[int]:
    """The steps that a document tells, in its order."""
    return [int(n) for n in re.findall(r"^Step (\d+)\.", d.to_text(), re.M)]


def test_steps_ascend_on_the_page(derivations):
    for name, d in derivations.items():
        steps = numbered(d)
        assert steps and steps == sorted(set(steps)), name


def test_what_is_rewritten_first_is_told_first_and_what_is_safe_last():
    """``log p`` of a softmax: its steps came last, after those that stabilize what they had made."""
    z, label = dv.tensor("z", b, k), dv.tensor("label", b, dtype="int", below=k.size)
    p = dv.define(
        "p", (b, k), sympy.exp(z[b, k]) / dv.Sum(sympy.exp(z[b, dv.index("j", k.size)]), dv.index("j", k.size))
    )
    d = dv.backprop(dv.define("loss", (), -dv.Sum(sympy.log(p[b, label[b]]), b) / b.size), [z])
    chapters = told(d)
    places = [chapters.index(c) for c in ("The definitions, rewritten", "The chain rule", "How it is computed safely")]
    assert places == sorted(places) and numbered(d) == sorted(numbered(d))


def test_an_unlisted_rule_is_refused_in_a_pass_and_in_a_document():
    d = CASES["quadratic_form"]()
    strange = replace(d.steps[0], rule=Rule("guess", "Guesses").name)
    with pytest.raises(
        DerivationError, match="pass 'contract' made step 1 by the rule 'guess', which it does not list"
    ):
        check_rules(next(p for p in PASSES if p.name == "contract"), [strange])
    with pytest.raises(DeriveError, match="step 1 is by the rule 'guess', which no pass lists"):
        replace(d, steps=(strange, *d.steps[1:])).to_text()
