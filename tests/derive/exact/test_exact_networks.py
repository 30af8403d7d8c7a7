"""Whole convolutional networks are proved, at images large enough that every plane keeps two rows and columns."""

from dataclasses import replace

import pytest

from derive.exact import check as checking
from derive.exact.compile import size_value
from derive.exact.sample import Sizes
from derive.exact.steps import step_name
from derive.exact.verdict import PROVED, REFUTED
from derive.language.errors import DerivationError
from derive.language.tensor import Read
from derive.networks.examples.networks import NETWORKS

LOSS = "sparse_softmax_cross_entropy"


def derived(name, **options):
    return NETWORKS[name](**options).backprop(loss=LOSS)


@pytest.fixture(scope="module")
def digits():
    return derived("digits_cnn")


@pytest.mark.parametrize(
    "name",
    [
        "digits_cnn",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("twenty", "keras_mnist", "lenet5", "small_resnet")),
    ],
)
def test_networks_are_proved(name):
    """Every gradient, the loss, the logits and every step, mod p; at several sizes, none of which hides an axis."""
    d = derived(name)
    evidence = d.check()
    assert evidence.ok and evidence.undecided == []
    assert {f"gradient {t.name}" for t in d.wrt} | {"loss loss"} <= set(evidence.named("proved"))
    assert len(evidence.rows) >= len(d.gradients) + len(d.steps)
    evaluated = [r for r in evidence.rows if r.what not in ("results", "steps", "facts")]
    assert all(r.by == "exact mod 2**61-1" for r in evaluated)
    assert all(len(r.sizes) >= 2 for r in evaluated), "at unequal sizes and at equal ones"


@pytest.mark.parametrize("name", ["digits_cnn", "keras_mnist", "lenet5"])
def test_planes_keep_rows_and_columns_apart(name):
    """Two poolings leave one pixel of a small image, which would hide how it is read."""
    d = derived(name)
    sizes = Sizes([*d.source.equations, *d.program.equations], d.program.inputs)
    one, two, square = (sizes.assignment(n, square=n == 2) for n in range(3))
    for found in (one, two, square):
        derived_sizes = [size_value(x, found) for x in sizes.expressions if x.free_symbols]
        assert all(isinstance(n, int) and n > 1 for n in derived_sizes), (found, sizes.expressions)
    assert one["H"] != one["W"] and two["H"] != two["W"] and square["H"] == square["W"]


def changed(eq, term, mistake):
    """The equation with one mistake in one of its terms."""
    return replace(eq, terms=(*eq.terms[:term], mistake(eq.terms[term]), *eq.terms[term + 1 :]))


def negated(term):
    return replace(term, coef=-term.coef)


def shifted(tensor, axis):
    """Reads of a tensor one place further along an axis: an offset of a window that is wrong by one."""

    def mistake(term):
        old = next(r for f in term.fac for r in f.atoms(Read) if r.tensor.name == tensor)
        new = Read(old.tensor, *(i + int(n == axis) for n, i in enumerate(old.idx)))
        return replace(term, fac=tuple(f.xreplace({old: new}) for f in term.fac))

    return mistake


def exchanged(tensor, a, b):
    """Reads of a tensor with two axes exchanged: rows and columns of a plane, say."""

    def mistake(term):
        old = next(r for f in term.fac for r in f.atoms(Read) if r.tensor.name == tensor)
        idx = list(old.idx)
        idx[a], idx[b] = idx[b], idx[a]
        return replace(term, fac=tuple(f.xreplace({old: Read(old.tensor, *idx)}) for f in term.fac))

    return mistake


@pytest.mark.parametrize(
    "name, mistake",
    [
        pytest.param("conv2d_1_kernel", negated, id="sign", marks=pytest.mark.slow),
        pytest.param("conv2d_2_kernel", shifted("h2", 2), id="offset", marks=pytest.mark.slow),
        pytest.param("conv2d_1_kernel", shifted("x", 1), id="offset of the first", marks=pytest.mark.slow),
        pytest.param("conv2d_1_kernel", exchanged("x", 1, 2), id="rows for columns", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_convolution_gradient_is_refuted_and_named(digits, name, mistake):
    at = next(n for n, e in enumerate(digits.program.equations) if e.name == f"d_{name}")
    wrong = changed(digits.program.equations[at], 0, mistake)
    equations = (*digits.program.equations[:at], wrong, *digits.program.equations[at + 1 :])
    bad = replace(digits, steps=(), evidence={}, program=replace(digits.program, equations=equations))
    with pytest.raises(DerivationError, match=f"gradient {name} is refuted") as error:
        bad.check()
    assert f"d_{name}[" in str(error.value) and "derived" in str(error.value) and "true" in str(error.value)
    assert bad.evidence[f"gradient:{name}"] == REFUTED


@pytest.mark.slow
def test_a_wrong_step_through_two_poolings_is_refuted_and_named(digits):
    s = next(s for s in digits.steps if s.target == "dh2" and s.after.terms)
    wrong = replace(s, after=changed(s.after, 0, shifted("conv2d_2_kernel", 0)))
    bad = replace(digits, steps=tuple(wrong if x is s else x for x in digits.steps), evidence={})
    with pytest.raises(DerivationError, match=f"step {s.id} {s.rule}: dh2 is refuted"):
        bad.check()
    assert bad.evidence[s.id] == REFUTED


@pytest.mark.slow
def test_of_a_network_that_is_too_large_the_steps_are_proved(digits, monkeypatch):
    """Not the whole: then it is said why, how many steps are proved instead, and no gradient is called proved.  A wrong
    step is refuted all the same: replaying the steps takes no numbers."""
    monkeypatch.setattr(checking, "TOO_MANY", 1000)
    s = next(s for s in digits.steps if s.target == "dh2" and s.claim == "transpose" and s.after.terms)
    right = digits.check()
    assert not right.ok and not any(w.startswith("gradient") for w in right.named("proved"))
    whole, proved = right.row("the whole derivation"), {step_name(s) for s in digits.steps} & set(right.named("proved"))
    assert "too large for an exact evaluation, since even the smallest telling sizes found are B=" in whole.detail
    assert f"{len(proved)} of its {len(digits.steps)} steps are proved, each by itself" in whole.detail
    assert len(proved) > 0.9 * len(digits.steps) and right.row(step_name(s)).verdict == PROVED
    wrong = replace(s, after=changed(s.after, 0, negated))
    with pytest.raises(DerivationError, match="steps is refuted by replay"):
        replace(digits, steps=tuple(wrong if x is s else x for x in digits.steps), evidence={}).check()
