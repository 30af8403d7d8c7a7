"""No kernel runs unchecked: a module that is not its equations is refused by ``nx.compile``, with the equation."""

import time
from dataclasses import replace

import numpy as np
import optax
import pytest
from kernel_cases import CASES
from programs import CASES as PROGRAMS
from sympy import Integer, Rational

import derive as dv
import numerics as nx
from derive import layers as L
from numerics.emit import request
from numerics.kernel import first_check


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(first_check, "_PASSED", {})


@pytest.fixture
def planted(monkeypatch):
    """The emitter with a fault: it writes one text where it should write another."""
    emit = request.module.emit

    def plant(right, wrong):
        def faulty(*args, **options):
            made = emit(*args, **options)
            assert right in made.source, made.source
            return replace(made, source=made.source.replace(right, wrong))

        monkeypatch.setattr(request.module, "emit", faulty)

    return plant


def roots():
    b = dv.index("b")
    x = dv.tensor("x", b, facts=[dv.positive])
    return dv.backprop(dv.define("loss", (), dv.Sum(x[b] ** Rational(1, 3), b)), [x])


@pytest.mark.parametrize("wrong", ["jnp.sqrt(x)", "x ** (1 / 3) + 1e-4", "-x ** (1 / 3)", "x ** (1 / 3) / 0", "x"])
def test_a_wrong_cube_root_is_refused(planted, wrong):
    nx.compile(roots())
    text = next(line for line in nx.compile(roots(), check=False).source.splitlines() if "loss = " in line)
    root = text.split("loss = ")[1].split(".sum")[0]
    planted(root, f"({wrong})")
    with pytest.raises(nx.NumericsError, match=r"(?s)is not its equation \(1\)  loss = sum_b.*fault of the emission"):
        nx.compile(roots())
    assert nx.compile(roots(), check=False).checked == "not checked: check=False"


def test_the_first_equation_that_differs_is_named(planted):
    planted("jnp.where(a > 0, dh, 0)", "jnp.where(a < 0, dh, 0)")
    with pytest.raises(nx.NumericsError, match=r"not its equation \(\d+\)  da\[b,j\] = .*\n  da\[\d, \d\] is "):
        nx.compile(CASES["mlp"]())


def test_a_module_that_does_not_run_is_refused(planted):
    planted(".sum(axis=0)", ".sum(axis=7)")
    with pytest.raises(nx.NumericsError, match="does not run at"):
        nx.compile(PROGRAMS["softmax_regression"]())


def test_pieces_of_an_axis_of_known_size_are_laid_end_to_end():
    """Positions with a size of a name, on an axis whose size is a number: both are one number where the size is fixed."""
    for sizes in (None, {"M": 2}):
        m, b = dv.index("m"), dv.index("b")
        j = dv.index("j", size=2 * m.size)
        x, u, w = dv.tensor("x", b, j), dv.tensor("u", b, m), dv.tensor("w", b, m)
        M = m.size
        a = dv.define("a", (b, m), x[b, m] * u[b, m] + x[b, m + M] * w[b, m])
        e = dv.define("e", (b, m), x[b, m + M] * u[b, m] - x[b, m] * w[b, m])
        kern = nx.compile(
            dv.backprop(dv.define("loss", (), dv.Sum(a[b, m] ** 2 + e[b, m] ** 2, b, m)), [x]), sizes=sizes
        )
        assert "concatenate" in kern.source and kern.checked.startswith("checked")


def test_a_wrong_step_of_a_recurrence_is_refused(planted):
    planted("h_prev, h_prev2 = carry", "h_prev2, h_prev = carry")
    with pytest.raises(nx.NumericsError, match=r"not its equation \(1\)  h\[t\]"):
        nx.compile(PROGRAMS["second_order_recurrence"]())


def test_a_program_that_is_not_the_derivative_is_refused():
    """The module and its equations agree; the loss's own differences do not."""
    d = CASES["softmax_regression"]()
    eq = d.gradient("W")
    doubled = replace(eq, terms=tuple(replace(t, coef=t.coef * Integer(2)) for t in eq.terms))
    program = replace(d.program, equations=tuple(doubled if e == eq else e for e in d.program.equations))
    with pytest.raises(nx.NumericsError, match="the gradients of softmax_regression are not those of its definitions"):
        nx.compile(replace(d, program=program))


@pytest.mark.parametrize("name", CASES)
def test_every_kernel_is_checked(name):
    assert nx.compile(CASES[name]()).checked.startswith("checked at ")


def test_every_form_is_checked():
    for options in ({"dense": True}, {"checkpoint_every": 2}):
        kern = nx.compile(PROGRAMS["lstm"](), **options)
        assert kern.checked.startswith("checked at "), kern.checked


def test_what_costs_too_much_is_not_checked_and_says_so():
    t = dv.index("t", 100_000)
    x = dv.tensor("x", t)
    h = dv.define("h", (t,), lambda h: h[t - 1] / 2 + x[t])
    kern = nx.compile(dv.backprop(dv.define("loss", (), dv.Sum(h[t] ** 2, t)), [x]))
    assert "not checked: " in kern.checked and "operations, more than" in kern.checked


def test_ten_layers_in_a_fifth_of_a_second_and_once():
    model = dv.Sequential([*(L.Dense(32, activation="tanh") for _ in range(9)), L.Dense(10)], input_shape=(64,))
    d = model.backprop(loss="sparse_softmax_cross_entropy")
    kern = nx.compile(d, check=False)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        assert first_check._checked(kern).startswith("checked at ")
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2, seconds
    nx.compile(d)
    start = time.process_time()
    first_check.first_check(kern)
    assert time.process_time() - start < 0.01, "remembered by the digest of the source"


def test_the_kernel_of_a_trainer_is_checked():
    model = dv.Sequential([L.Dense(4, activation="tanh"), L.Dense(2)], input_shape=(3,))
    trainer = nx.Trainer(model, loss="sparse_softmax_cross_entropy", optimizer=optax.sgd(0.1))
    x, y = np.zeros((4, 3), np.float32), np.array([0, 1, 0, 1], np.int32)
    trainer.fit(x, y, batch_size=2, epochs=1)
    assert trainer.kernel.checked.startswith("checked at ")


def test_digits_that_cancel_inside_a_formula_are_no_fault_of_the_program():
    t = dv.parse("x: float[b] parameter\nl = sum[b](log(1099511627776 + x[b]^2) - log(1099511627776))*1e12")
    assert nx.compile(dv.backprop(t["l"], wrt=[t["x"]])).checked.startswith("checked")
