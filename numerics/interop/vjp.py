"""``nx.check_vjp``: a backward pass that somebody wrote, as it is, against the one derived from its forward."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derive.language.errors import UnsupportedError
from numerics.checks.answers import to_numpy
from numerics.checks.crosscheck import crosscheck
from numerics.checks.custom_rules import narrows, pulled_back, widened
from numerics.checks.ground import everything, float64
from numerics.checks.replay import points
from numerics.checks.verdicts import CrossReport
from numerics.errors import InputError, NumericsError
from numerics.reference.sampling import bind_sizes

from .numbers import written
from .vjp_calls import Caller, Equations, fixed_lengths
from .vjp_forward import Drawn, Forward, Lengths, shapes_of
from .vjp_lines import located
from .vjp_names import called
from .vjp_report import VjpReport
from .vjp_rules import Arguments, Backward, Rule, accepted, custom_vjp_in, is_torch_function, rule_of
from .vjp_torch import in_jax

LARGE = 2_000_000  # grid points of one evaluation: beyond them the arguments' own values are not compared
AGREES = 1e-8  # of the largest entry: what the derived gradients may differ from JAX's by, in float64
AGREES_NARROW = 1e-3  # where something inside is of narrower floats


def check_vjp(
    f: Any,
    *args: Any,
    forward: Callable[..., Any] | None = None,
    axes: Any = None,
    seed: int = 0,
    allow_unseen: Sequence[str] = (),
) -> VjpReport:
    r"""Compare a hand-written backward pass with the derived one, and say what is wrong with it.

    The forward is read as definitions by :func:`from_jax`, its vector-Jacobian product
    :math:`\bar x_m = \sum_n \bar y_n\, \partial y_n/\partial x_m` is derived, and the backward is called as it is on drawn
    inputs and cotangents.

    Parameters
    ----------
    f : callable
        What has a backward pass:

        - a ``jax.custom_vjp`` function: its ``fwd`` and ``bwd`` are called, residuals and all; also one around a Pallas
          kernel in interpret mode, with ``forward=``;
        - a function that calls such ones, as ``lambda x, g: rms_norm(x, g, 1e-6)``;
        - a subclass of ``torch.autograd.Function``, with ``forward=``;
        - ``backward(residuals, dy)`` of NumPy or JAX arrays, with ``forward=``.  It returns the gradients as a tuple in the
          order of the arguments, or a dict by their names.  ``residuals`` is the tuple of the arguments of ``forward``; or,
          where ``forward`` returns ``(y, residuals)`` with a tuple, list or dict of them, those.
    *args
        Arguments of the function (of ``forward``), any pytrees: arrays, of which shapes, dtypes and values count, and
        options (integers, booleans, strings), which stay as they are.  Integer arrays are not differentiated.
    forward : callable, optional
        What is computed, in plain JAX, or of torch's tensors by the usual functions of torch; without it the function under
        the ``custom_vjp``.
    axes : dict, optional
        Names for the axes of arrays, ``{"x": "B T D"}``; see :func:`from_jax`.
    seed : int
        Of the drawn inputs.
    allow_unseen : sequence of str
        Conditions that no input needs to meet, as the report prints them after "not seen: ".

    Returns
    -------
    VjpReport
        As of :func:`crosscheck`, with the lines of the forward and of the backward where they are known.

    Raises
    ------
    numerics.InputError
        For what is no backward pass, or has no forward that can be read.
    derive.UnsupportedError
        For a forward with an operation that has no meaning in index notation; it names it and its line.

    Notes
    -----
    Lengths are drawn anew where both the forward and the backward accept other lengths; those that do not are said.
    Inputs are float64, then the arguments' own values in float32; what computes in float32 inside is compared so throughout.

    >>> import jax, jax.numpy as jnp, numpy as np
    >>> @jax.custom_vjp
    ... def square(x):
    ...     return x * x
    >>> square.defvjp(lambda x: (x * x, x), lambda x, dy: (x * dy,))
    >>> report = check_vjp(square, np.arange(3.0))
    >>> report.ok, report["x"].kind
    (False, 'factor')
    """
    return _Check(f, args, forward, axes, seed, allow_unseen).run()


def assert_gradients(f: Any, *args: Any, **options: Any) -> CrossReport:
    """:func:`crosscheck` or :func:`check_vjp` as a test: its report, or an AssertionError that shows it.

    ``f`` is a kernel, followed by what :func:`crosscheck` takes, or what :func:`check_vjp` takes, with its arguments.

    >>> import derive as dv, numerics as nx
    >>> b = dv.index("b")
    >>> x, w = dv.tensor("x", b), dv.tensor("w")
    >>> kern = nx.compile(dv.backprop(dv.define("loss", (), dv.Sum((x[b] - w[()])**2, b)), wrt=[w]))
    >>> nx.assert_gradients(kern, lambda x, w: {"w": 2 * (w - x).sum()}).ok
    True
    """
    report = crosscheck(f, *args, **options) if hasattr(f, "derivation") else check_vjp(f, *args, **options)
    if not report.ok:
        raise AssertionError(str(report))
    return report


class _Check:
    """One check: the forward, the backward as a rule, and the comparison of the two."""

    def __init__(self, f: Any, args: Sequence[Any], forward: Any, axes: Any, seed: int, allow: Sequence[str]):
        if hasattr(f, "derivation"):
            raise InputError(
                "nx.check_vjp takes a function with a backward pass; for a kernel there is nx.crosscheck(kern, fn)"
            )
        if not callable(f):
            raise InputError(f"nx.check_vjp({f!r}, ...): takes a function with a backward pass; {accepted()}")
        if forward is not None and not callable(forward):
            raise InputError(
                f"nx.check_vjp: forward={forward!r} is no function; it takes the arguments given, in plain JAX"
            )
        custom = custom_vjp_in(f)
        if forward is None and is_torch_function(f):
            raise InputError(f"nx.check_vjp: {called(f)} needs forward=, the same function in plain JAX or torch")
        plain = forward if forward is not None else custom.fun if custom is not None else f
        given = _with_defaults(plain if custom is None else custom.fun, args, custom is not None)
        options = custom.nondiff_argnums if custom is not None else ()
        self.args = Arguments.of([jax.tree_util.tree_map(_from_torch, a) for a in given], options)
        if forward is not None and _is_torch(forward, self.args, any(hasattr(a, "detach") for a in given)):
            forward = plain = in_jax(forward)
        keeps = forward is not None and custom is None and not is_torch_function(f) and _keeps(forward, self.args)
        self.rule: Rule = rule_of(f, self.args, forward, keeps)
        keeps = keeps and isinstance(self.rule, Backward)
        self.forward = Forward(plain, self.args, keeps, axes, called(f) if forward is None else called(forward))
        self.f, self.seed, self.allow = f, seed, allow
        self.notes: list[str] = []

    def run(self) -> VjpReport:
        skipped = self._not_returned()
        wrt = [t for t in self.forward.wrt if t.name not in skipped]
        if not wrt:
            raise NumericsError(f"nx.check_vjp: the backward of {called(self.f)} returns None for everything")
        d, cotangents = self.forward.derivation(wrt)
        at = Caller(self.forward, self.rule, cotangents, [t.name for t in wrt])
        at.narrow = self._narrow(at)
        fixed, said = fixed_lengths(at, everything(d), self.seed)
        self.notes += [f"fixed: {x}, by which the forward decides" for x in self.forward.model.bound] + said
        kern = Equations(d, fixed)
        held = {**self.forward.model.constants, **{n: np.asarray(a) for n, a in skipped.items()}}
        self._ours_is_right(kern, at)
        report = crosscheck(kern, at, None, self.seed, self.allow, held)
        dtypes = ["float32"] if at.narrow else ["float32", "float64"]
        own = self._own_values(kern, at, held) if report.right else None
        if own is None and not at.narrow:
            dtypes = ["float64"]
        verdicts = (*_joined(report, own), *at.verdicts.values())
        notes = (*self.notes, *dict.fromkeys(report.notes), *([] if report.right else self._where_equal(at, fixed)))
        report = replace(report, verdicts=verdicts, notes=notes)
        wrong = [v.tensor for v in verdicts if not v.ok]
        return VjpReport.of(report, tuple(dtypes), self.f, self.forward.model, d, located(at, kern, wrong))

    def _not_returned(self) -> dict[str, float]:
        """Python numbers of which the backward returns None: not differentiated but held, and said."""
        numbers = [n for n, a in enumerate(self.args.arrays) if isinstance(a, float)]
        drawn = self.forward.drawn(self.forward.lengths)
        found: dict[str, float] = {}
        with contextlib.suppress(Exception), float64():  # what fails here fails in the comparison, which says so
            _, grads = self.rule(drawn.arrays, drawn.cotangents) if numbers else (None, [])
            found = {self.forward.names[n]: self.args.arrays[n] for n in numbers if grads[n] is None}
        if found:
            numbers_text = ", ".join(f"{n} = {v:g}" for n, v in found.items())
            self.notes.append(f"your {self.rule.what} returns None for the number {numbers_text}: not compared")
        return found

    def _narrow(self, at: Caller) -> bool:
        """Whether the backward computes in float32 whatever it is given, or cannot be called in float64."""
        drawn = self.forward.drawn(self.forward.lengths)
        with float64():
            if narrows(self.rule, drawn.arrays, drawn.cotangents):
                self.rule.wide = True
                try:
                    self.rule(drawn.arrays, drawn.cotangents)
                    self.notes.append(
                        "it computes in a narrower float inside: compared as written, and in float64 without the casts"
                    )
                    return False
                except Exception:  # of a loop or a kernel, whose type is its own
                    self.rule.wide = False
                self.notes.append("it computes in a narrower float inside: compared in float32")
                return True
            try:
                self.rule(drawn.arrays, drawn.cotangents)
                return False
            except Exception as error:  # whatever somebody else's function raises
                wide = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"
        try:
            at.rule(
                *(
                    [np.asarray(a, np.float32) if a.dtype == float else a for a in x]
                    for x in (drawn.arrays, drawn.cotangents)
                )
            )
        except Exception:  # it fails in either: the comparison says how
            return False
        self.notes.append(f"compared in float32: in float64 it fails ({wide})")
        return True

    def _ours_is_right(self, kern: Equations, at: Caller) -> None:
        """The derived gradients against JAX's own of the forward as it was written: nothing is judged by a wrong model."""
        drawn = self.forward.drawn({**self.forward.lengths})
        names, floats = self.forward.names, self.forward.floats
        with float64():
            theirs, near = self._by_autodiff(drawn)
            given = {**self.forward.model.constants, **at.named(drawn)}
            ours = kern(**{t.name: given[t.name] for t in kern.inputs})[-1]
        for n, a in zip(floats, theirs, strict=True):
            b = np.asarray(a, float)
            if names[n] not in ours or not np.all(np.isfinite(b)):
                continue
            gap, scale = float(np.max(np.abs(ours[names[n]] - b), initial=0.0)), float(np.max(np.abs(b), initial=0.0))
            if not gap <= near * max(scale, 1e-6):
                raise NumericsError(
                    f"nx.check_vjp: the gradient of {names[n]} derived from {self.forward.called} differs from JAX's own by "
                    f"{gap:.1e} of {scale:.1e}: nothing can be said of yours; please report this with the function"
                )

    def _where_equal(self, at: Caller, fixed: Lengths) -> list[str]:
        """That a wrong gradient is right where lengths are equal that are equal in the arguments, and how to say so."""
        own = self.forward.lengths
        free = [s for s in own if s not in fixed]
        groups = [some for n in sorted(set(own.values())) if len(some := [s for s in free if own[s] == n]) > 1]
        if not groups or not all(
            self._agrees(at, {s: n + (more if s in free else 0) for s, n in own.items()}) for more in (0, 1)
        ):
            return []
        one = {s: some[0] for some in groups for s in some}
        equal = ", ".join(" = ".join(s.name for s in some) for some in groups)
        pairs = [(n, t.axes) for n, t in zip(self.forward.names, self.forward.tensors, strict=True) if t is not None]
        said = {n: " ".join(str(one.get(a, a)) for a in axes) for n, axes in pairs if any(a in one for a in axes)}
        return [f"yours is right where {equal}, as in the arguments; if they are always equal, say so: axes={said}"]

    def _agrees(self, at: Caller, lengths: Lengths) -> bool:
        """Whether the backward gives JAX's own gradients of the forward at some lengths."""
        try:
            drawn = self.forward.drawn(lengths, 1)
            with float64():
                theirs, near = self._by_autodiff(drawn)
                grads = at.rule(drawn.arrays, drawn.cotangents)[1]
                pairs = [(np.asarray(a, float), grads[n]) for n, a in zip(self.forward.floats, theirs, strict=True)]
                found = [(a, to_numpy(g).astype(float)) for a, g in pairs if g is not None]
        except Exception:  # whatever somebody else's function raises at other lengths
            return False
        near = AGREES_NARROW if at.narrow else near
        return all(a.shape == g.shape and np.allclose(a, g, rtol=near, atol=near * np.abs(a).max()) for a, g in found)

    def _by_autodiff(self, drawn: Drawn) -> tuple[list[Any], float]:
        """JAX's own gradients of the forward, and how near they are to be: without casts to narrower floats if that goes."""

        def pull(arrays: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
            return pulled_back(self.forward.results, arrays, self.forward.floats, cotangents, rules=False)[1]

        try:
            return jax.jit(widened(pull, written))(drawn.arrays, drawn.cotangents), AGREES
        except (TypeError, ValueError):
            return jax.jit(pull)(drawn.arrays, drawn.cotangents), AGREES_NARROW

    def _own_values(self, kern: Equations, at: Caller, held: dict[str, Any]) -> CrossReport | None:
        """The comparison at the arguments' own values in float32, where they are values and few."""
        arrays = self.forward.given()
        if arrays is None or any(np.any(np.isinf(a)) for a in arrays if a.dtype.kind == "f"):
            return None
        rng = np.random.default_rng(
            (self.seed, 1)
        )  # not by the seed alone, as arguments are drawn: dy = x tells nothing
        cots = [rng.normal(size=o.shape).astype(np.float32) for o in self.forward.shapes(arrays)]
        given = {**held, **at.named(Drawn(arrays, cots))}
        given = {t.name: given[t.name] for t in kern.inputs}
        sizes = bind_sizes(kern.derivation.program, given, kern.fixed)
        if points(kern.derivation.program, sizes) > LARGE:
            self.notes.append("the arguments are large: compared at drawn ones only")
            return None
        rounds = narrows(self.rule, arrays, cots)
        if rounds is None or jnp.finfo(rounds).bits >= 32:
            return crosscheck(kern, at, given, self.seed)
        self.notes.append(f"at the values given it rounds to {rounds} inside: compared as {rounds} arithmetic makes it")
        return crosscheck(kern, lambda **x: {n: jnp.asarray(a, rounds) for n, a in at(**x).items()}, given, self.seed)


def _joined(report: CrossReport, own: CrossReport | None) -> list[Any]:
    """The verdicts at drawn inputs; where those are right, of the arguments' own values."""
    found = []
    for v in report.verdicts:
        other = next((w for w in own.verdicts if w.tensor == v.tensor), v) if own is not None else v
        if v.ok and not other.ok:
            other = replace(other, text=f"right in float64, wrong at the values given, in float32: {other.text}")
        found.append(other if v.ok and not other.ok else v)
    return found


def _with_defaults(f: Callable[..., Any], args: Sequence[Any], has_rules: bool) -> list[Any]:
    """The arguments; with the defaults of those that were not given where JAX hands them to rules."""
    try:
        bound = inspect.signature(f).bind(*args)
    except ValueError:
        return list(args)
    except TypeError as error:
        raise InputError(
            f"nx.check_vjp: {called(f)}{inspect.signature(f)} does not take the arguments given: {error}"
        ) from None
    if has_rules:
        bound.apply_defaults()
    return list(bound.args)


def _keeps(forward: Callable[..., Any], args: Arguments) -> bool:
    """Whether a forward returns residuals beside its results."""
    try:
        out = jax.eval_shape(lambda *a: forward(*args.with_arrays(a)), *shapes_of(args))
    except Exception:  # told when the definitions are read, with the line
        return False
    return isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], tuple | list | dict)


def _is_torch(f: Callable[..., Any], args: Arguments, of_torch: bool) -> bool:
    """Whether a plain function takes torch's tensors: JAX's arrays it does not take; ``of_torch`` where it takes neither."""
    for takes in (f, in_jax(f)):
        try:
            jax.eval_shape(lambda *a, takes=takes: takes(*args.with_arrays(a)), *shapes_of(args))
            return takes is not f
        except UnsupportedError:
            return True  # of a function of torch that has no meaning here, told when the definitions are read
        except Exception:  # whatever somebody else's function raises, told then too
            continue
    return of_torch


def _from_torch(x: Any) -> Any:
    return to_numpy(x) if hasattr(x, "detach") else x
