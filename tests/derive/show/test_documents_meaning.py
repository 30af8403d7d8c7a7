"""What the formulas on the page mean, read back from the layout trees, is what the equations compute."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from layout_values import IndexReading, MatrixReading
from shown_networks import NETWORKS

from derive.program.program import Program
from derive.show.document.example import _Evaluator, worked_example
from derive.show.document.formulas import Formulas
from derive.show.document.options import Options
from derive.show.formulas import layout as L
from derive.show.formulas.equations import equation_layout
from derive.show.formulas.matrix import matrix_layout


def _arrays(example):
    return {n: np.array(example.nested(n), dtype=float) for n in example.values}


def _letters(eq, sizes):
    found = {i.name: int(i.size.xreplace(sizes)) for i in (*eq.idx, *eq.over, *(b for t in eq.terms for b in t.bnd))}
    return found | {s.name: n for s, n in sizes.items()}


def _index_errors(d):
    example = worked_example(d.program)
    arrays, names = _arrays(example), Formulas(d, Options()).names
    errors = {}
    for eq in d.program:
        lhs, rhs = equation_layout(eq, names)
        reading = IndexReading(_letters(eq, example.sizes), arrays)
        wanted = arrays[eq.name]
        letters = lhs.idx if isinstance(lhs, L.Element) else ()
        found = np.array(
            [
                reading.value(rhs, dict(zip(letters, place, strict=True)))
                for place in itertools.product(*map(range, wanted.shape))
            ]
        ).reshape(wanted.shape)
        errors[eq.name] = np.max(np.abs(found - wanted))
    return errors


@pytest.mark.parametrize("name", NETWORKS)
def test_index_formulas_mean_the_equations(name):
    errors = _index_errors(NETWORKS[name]())
    assert max(errors.values()) < 1e-12, errors


def _matrix_errors(d):
    example = worked_example(d.program)
    arrays, names = _arrays(example), Formulas(d, Options()).names
    sizes = {s.name: n for s, n in example.sizes.items()}
    errors = {}
    for eq in d.program:
        form = matrix_layout(eq, names)
        if form is None:
            continue
        lhs, rhs = form
        reading, wanted = MatrixReading(sizes, arrays), arrays[eq.name]
        if isinstance(lhs, L.Element):
            found = np.array([reading.value(rhs, {lhs.idx[0]: n}) for n in range(len(wanted))])
        else:
            found = reading.value(rhs)
        assert found.shape == wanted.shape, f"{eq}: {found.shape}"
        errors[eq.name] = np.max(np.abs(found - wanted))
    return errors


@pytest.mark.parametrize(
    "name, expected",
    [
        ("softmax_regression", {"z", "lse_sum_shifted", "dz", "dW", "dc"}),
        ("mlp", {"a", "h", "o", "loss", "do", "dh", "da", "dW1", "db1", "dW2", "db2"}),
        ("layer_norm", {"mean", "v", "xhat", "o", "loss", "do", "d_xhat", "d_gamma", "d_beta", "dx"}),
        ("rnn", {"h_in", "dh", "dU", "dV"}),
        ("relu_conv", set()),
    ],
)
def test_matrix_forms_mean_the_equations(name, expected):
    errors = _matrix_errors(NETWORKS[name]())
    assert expected <= set(errors)
    assert max(errors.values(), default=0.0) < 1e-12, errors


def test_the_readings_notice_a_transpose_and_a_sign():
    d = NETWORKS["mlp"]()
    example = worked_example(d.program)
    arrays = _arrays(example)
    lhs, rhs = matrix_layout(d.gradient("W2"))
    wrong = L.Product((rhs.items[1], rhs.items[0]))  # do h^T instead of h^T do
    sizes = {s.name: n for s, n in example.sizes.items()}
    assert np.allclose(MatrixReading(sizes, arrays).value(rhs), arrays["dW2"])
    with pytest.raises(ValueError, match="mismatch"):
        MatrixReading(sizes, arrays).value(wrong)
    lhs, rhs = equation_layout(d.program.equation("da"))
    flipped = L.Product((rhs.items[0], L.Sum(tuple((1, n) for _, n in rhs.items[1].items))))
    reading = IndexReading(_letters(d.program.equation("da"), example.sizes), arrays)
    at = dict(zip(lhs.idx, (0, 1), strict=True))
    assert reading.value(rhs, at) == pytest.approx(arrays["da"][0, 1])
    assert reading.value(flipped, at) != pytest.approx(arrays["da"][0, 1])


@pytest.mark.parametrize("name", NETWORKS)
def test_formulas_of_all_steps_mean_their_equations(name):
    """Every equation before and after every step, with all that it reads free."""
    d = NETWORKS[name]()
    rng, names = np.random.default_rng(0), Formulas(d, Options()).names
    sizes = {s: (2, 3)[n % 2] for n, s in enumerate(d.source.sizes())}
    equations = dict.fromkeys(e for s in d.steps for e in (*s.before, s.after))
    assert len(equations) >= len(d.steps)
    for eq in equations:
        shapes = {t.name: tuple(int(a.xreplace(sizes)) for a in t.axes) for t in (eq.tensor, *eq.tensors())}
        arrays = {
            t.name: rng.integers(0, 2, shapes[t.name]) if t.dtype == "int" else rng.uniform(0.5, 2, shapes[t.name])
            for t in eq.tensors()
        }
        data = {
            n: {p: float(a[p]) if a.dtype.kind == "f" else Fraction(int(a[p])) for p in np.ndindex(a.shape)}
            for n, a in arrays.items()
        }
        work = _Evaluator(Program((), (eq,)), sizes, shapes, data)
        lhs, rhs = equation_layout(eq, names)
        reading = IndexReading(_letters(eq, sizes), arrays)
        letters = lhs.idx if isinstance(lhs, L.Element) else ()
        for place in np.ndindex(shapes[eq.name]):
            wanted = float(work.equation(eq, dict(zip(eq.idx, place, strict=True))))
            found = reading.value(rhs, dict(zip(letters, place, strict=True)))
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12), str(eq)
