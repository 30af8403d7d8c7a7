"""What the generated source looks like: code that a careful person would write, and goldens of whole files."""

import difflib
import os
import pathlib
import re

import mpmath
import numpy as np
import pytest
from kernel_cases import CASES, compiled, data, free_sizes
from sympy import Rational, exp, sqrt

import derive as dv
import numerics as nx

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
GOLDENS = (
    "softmax_regression",
    "mlp",
    "layer_norm",
    "gelu",
    "tanh_rnn",
    "embedding",
    "strided_conv",
    "padded_max_pool",
    "strange_names",
)


def source(d, **options):
    return nx.compile(d, **options).source


def body(text):
    """The code of the function, without header and margins."""
    lines = text[text.index("\ndef ") :].split("\n")
    return "\n".join(re.sub(r"\s+# \(.*", "", line) for line in lines)


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name):
    d = CASES[name]()
    path, text = GOLDEN / f"{name}.py", compiled(d, data(d)[0]).source
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    diff = "\n".join(
        difflib.unified_diff(
            path.read_text(encoding="utf-8").splitlines(), text.splitlines(), "golden", "now", lineterm=""
        )
    )
    assert not diff, f"{diff}\n(UPDATE_GOLDEN=1 rewrites it)"


def test_products_are_written_as_products():
    text = body(source(CASES["mlp"]()))
    for line in (
        "a = x @ W1 + c1",
        "h = jnp.maximum(a, 0)",
        "dh = dz @ W2.T",
        "da = jnp.where(a > 0, dh, 0)",
        "dW2 = h.T @ dz",
        "dc2 = dz.sum(axis=0)",
    ):
        assert f"    {line}\n" in text, line
    assert re.search(
        r"^    loss = \(\w+ - jax\.vmap\(lambda row, at: row\[at\]\)\(\w+, label\)\)\.mean\(\)", text, re.M
    )


def test_labels_are_subtracted_by_a_scatter_and_the_choice_is_told():
    kern = nx.compile(CASES["softmax_regression"]())
    subtracted = r"dz = jax\.vmap\(lambda row, at: row\.at\[at\]\.add\(-1 / B\)\)"
    assert re.search(subtracted + r"\(\w+ / B / \w+\[:, None\], label\)", kern.source)
    ((rule, number, reason),) = [c for c in kern.choices if c[0] != "exponentials-once"]
    assert (rule, number) == ("scatter-labels", kern.derivation.program.equation("dz").number)
    assert f"scatter-labels in ({number}): {reason}" in " ".join(kern.source.split())


def test_every_line_carries_its_equation():
    d = CASES["mlp"]()
    text = source(d)
    for e in d.program.equations:
        assert re.search(rf"^    \S.* = .*  # \({e.number}\)$", text, re.M), e.name


@pytest.mark.parametrize("name", CASES)
def test_no_autodiff_no_temporaries_no_clumsy_numbers(name):
    d = CASES[name]()
    for dense in (False, True):
        text = body(compiled(d, data(d)[0], dense).source)
        assert not re.search(r"jax\.(grad|vjp|jvp|hessian|jac\w+|value_and_grad|linearize)", text)
        assert not re.search(r"_tmp|-1 \*|\+ -|0\.00000", text), text
        assert dense or "(((" not in text
        assert max(map(len, text.split("\n"))) <= 120 or dense


@pytest.mark.parametrize("name", CASES)
def test_every_name_is_used(name):
    d = CASES[name]()
    text = body(compiled(d, data(d)[0]).source)
    assigned = re.findall(r"^    (\w+) = ", text, re.M)
    for word in assigned:
        assert len(re.findall(rf"\b{word}\b", text)) > 1, f"{word} is never read"


def test_no_parameter_gradient_inside_a_scan():
    text = source(CASES["tanh_rnn"]()).partition("@jax.jit")[2]
    steps = re.findall(r"\n    def \w+\(.*?\n        return", text, re.S)
    assert len(steps) == 2
    assert not any(re.search(r"\bd(W|U|c)\b", step) for step in steps)
    assert re.search(r"h_ext = x @ W +# \(", text) and "+ c " in steps[0]
    assert "reverse=True" in text


def test_numbers_read_as_written():
    b = dv.index("b")
    x = dv.tensor("x", b)
    rs = dv.define("rs", (b,), (x[b] ** 2 + 1e-5) ** Rational(-1, 2))
    loss = dv.define("loss", (), dv.Sum(exp(-(x[b] ** 2) / 2) / 3 + sqrt(2) * x[b] + rs[b] * 0.125, b))
    text = body(source(dv.backprop(loss, wrt=[x])))
    assert "lax.rsqrt(x * x + 1e-05)" in text
    assert "/ 3" in text and "/ 8" in text and "2 ** 0.5" in text
    assert "0.333" not in text and "1.414" not in text


def test_sizes_appear_only_where_they_are_used_and_given_ones_are_constants():
    b, i = dv.indices("b i")
    x, S = dv.tensor("x", b, i), dv.size("S")
    d = dv.backprop(dv.define("loss", (), dv.Sum(x[b, S * i] ** 2, b, i) / b.size), wrt=[x])
    text = source(d, sizes={"S": 2})
    assert "    S = 2\n" in text
    with pytest.raises(nx.NumericsError, match=r"size S is fixed by no array; give it.*sizes=\{\"S\": 2\}"):
        nx.compile(d)
    with pytest.raises(nx.NumericsError, match="size 'Q' is not in this derivation; its sizes are B, I, S"):
        nx.compile(d, sizes={"Q": 2})
    with pytest.raises(nx.NumericsError, match="size S = 1.5: give a whole number"):
        nx.compile(d, sizes={"S": 1.5})


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_the_header_says_for_which_backend_it_was_written(backend):
    for text in (
        nx.compile(CASES["strided_conv"](), backend=backend).source,
        nx.source(CASES["mlp"](), backend=backend),
    ):
        assert text.splitlines()[0].endswith(f"generated from its derivation, for {backend}.")


def test_a_backend_that_there_is_not_is_refused():
    with pytest.raises(nx.NumericsError, match="nx.compile\\(backend='cuda'\\): give one of 'cpu', 'gpu', 'tpu'"):
        nx.compile(CASES["mlp"](), backend="cuda")


def test_the_header_has_equations_facts_kinks_and_evidence():
    kern = nx.compile(CASES["mlp"]())
    assert kern.source.startswith('"""Loss and gradients of mlp, generated from its derivation, for cpu.\n')
    assert "Facts used: 0 <= label[b] < K (declared).\n" in kern.source
    assert "Kinks: relu'(0) = 0.\n" in kern.source
    assert "Verified:" not in kern.source
    kern.evidence = {"summary": "exact mod 2**61-1; autodiff 1.1e-16"}
    assert "\nVerified: exact mod 2**61-1; autodiff 1.1e-16.\n" in kern.source


def test_generation_is_deterministic():
    assert source(CASES["mlp"]()) == source(CASES["mlp"]())
    assert not free_sizes(CASES["mlp"]())


@pytest.mark.parametrize("u", ["-exp(x[b])", "-x[b]^2", "x[b] - 100"])
def test_the_logarithm_of_one_minus_an_exponential_keeps_its_digits_at_both_ends(u):
    """A survival likelihood: log(1 - e^u) is log(-u) where u is near 0, and -e^u where it is very negative."""
    t = dv.parse(f"x: float[b] parameter\nloss = sum[b](log(1 - exp({u})))")
    kern = nx.compile(dv.backprop(t["loss"], wrt=[t["x"]]))
    assert "jax.nn.log1mexp(" in kern.source
    for x in map(float, np.float32([-20.0, -0.003, 0.7, 4.0])):
        inner = {"-exp(x[b])": -mpmath.exp(x), "-x[b]^2": -(mpmath.mpf(x) ** 2), "x[b] - 100": mpmath.mpf(x) - 100}[u]
        loss, _ = kern(x=np.array([x], np.float32))
        with mpmath.workdps(60):
            want = float(mpmath.log(-mpmath.expm1(inner)))
        np.testing.assert_allclose(float(loss), want, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ("exp(x[i]) - 1", "jnp.expm1(x)"),
        ("(1 + erf(x[i]))/2", "lax.erfc(-x) / 2"),
        ("2 - erfc(x[i])", "lax.erfc(-x)"),
        ("1 - sigmoid(x[i])", "jax.nn.sigmoid(-x)"),
    ],
)
def test_an_equation_of_two_terms_keeps_its_digits(body, written):
    t = dv.parse(f"x: float[i]; y[i] = {body}; loss = sum[i](y[i]*log(y[i]))")
    assert f"y = {written} " in nx.source(dv.backprop(t["loss"], wrt=[t["x"]]))


def test_an_equality_with_a_float_is_a_condition_and_no_place():
    text = (
        "v: float[j]; a: float[j]; x: float[b]; n[b] = sum[j]([a[j] <= x[b]]); "
        "y[b] = sum[j](v[j]*[j == n[b] - 1]); loss = sum[b](y[b]^2)"
    )
    t = dv.parse(text)
    kern = nx.compile(dv.backprop(t["loss"], wrt=[t["v"]]))
    v, a, x = np.arange(3.0) + 1, np.array([0.0, 1.0, 2.0]), np.array([-1.0, 0.5, 3.0])
    loss, grads = kern(v=v, a=a, x=x)
    assert float(loss) == 10.0 and grads["v"].tolist() == [2.0, 0.0, 6.0]
