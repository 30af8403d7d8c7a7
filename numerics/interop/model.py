"""``nx.from_jax``: a JAX function as definitions in index notation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import sympy
from sympy import Expr, Piecewise
from sympy.logic.boolalg import Boolean

import derive as dv
from derive.derivation.derivation import Derivation
from derive.language.errors import DerivationError, UnsupportedError
from derive.language.index import Index
from derive.language.tensor import Read, Tensor
from numerics.checks.custom_rules import differing
from numerics.errors import InputError

from . import loops, matrices, pointwise, reductions, structure  # noqa: F401  their rows enter the table
from .arguments import axes_of_arguments, names_of, with_numbers
from .concrete import arrays_only, captured, kept, refuse_kept
from .flat import flatten
from .interpret import KINKS, Interpreter, reading
from .randoms import Draws, cut, is_key
from .shifts import without_shifts
from .sizes import Sizes
from .trace import Leaf, Traced, trace
from .value import Value, kind_of, opened, parts_of

_STILL = (dv.stop_gradient, dv.Iverson, sympy.sign, sympy.floor, Boolean)


class JaxModel:
    """A JAX function as definitions.

    Attributes
    ----------
    outputs : tuple of Tensor
        What the function returns, one for each array, the loss first.
    tensors : dict of str to Tensor
        Inputs and definitions by name.
    wrt : tuple of Tensor
        The arrays of the arguments that ``argnums`` names, in the order of their structure.
    constants : dict of str to array
        Arrays that the function holds itself, by the names of the inputs that stand for them.
    bound : tuple of str
        The axes whose lengths the function decides something by, as "x axis 1 = 12".
    conventions, notes : list of str
        Where JAX's own gradient differs, with lines; what else was found.
    """

    chosen = "argnums="  # what says by what is differentiated
    kinks: Mapping[str, str] = KINKS  # where the gradients of whom it comes from differ

    def __init__(self, f: Callable[..., Any], args: Sequence[Any], argnums: Any, axes: Any, custom_rules: str | None):
        if custom_rules not in (None, "primal"):
            raise InputError(
                f"custom_rules={custom_rules!r}: accepted are None, which refuses rules of their own, and 'primal'"
            )
        self.function = f
        self._single = isinstance(argnums, int)
        if not self._single and not (isinstance(argnums, tuple | list) and all(isinstance(n, int) for n in argnums)):
            raise InputError(
                f"nx.from_jax: argnums={argnums!r}; accepted: the place of an argument, or a tuple of them, such as (0, 2)"
            )
        self._argnums = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if not callable(f):
            raise InputError(f"nx.from_jax: {type(f).__name__} is no function; accepted: a function of arrays")
        if not args:
            raise InputError("nx.from_jax: no arguments were given; accepted: those that the function is called with")
        if not self._argnums or any(not -len(args) <= n < len(args) for n in self._argnums):
            raise InputError(
                f"nx.from_jax: argnums={argnums} of a function of {len(args)} arguments; accepted are numbers from 0 to "
                f"{len(args) - 1}"
            )
        self._argnums = tuple(n % len(args) for n in self._argnums)
        args, symbols = with_numbers(args)
        self._flat, self._tree = jax.tree_util.tree_flatten(tuple(args))
        self._names = names_of(f, args)
        leaves = self._leaves(args)
        self._leaf_dtypes = [leaf.dtype for leaf in leaves]

        def called(*flat: Any) -> Any:
            return arrays_only(f(*jax.tree_util.tree_unflatten(self._tree, flat)))

        self._called = called
        self._custom_rules = custom_rules
        before = kept(f)
        self._traced = trace(
            called, leaves, axes_of_arguments(axes, self._names, leaves, symbols), lambda t: self._use(t, leaves)
        )
        refuse_kept(before, kept(f))

    def _use(self, traced: Traced, leaves: Sequence[Leaf]) -> None:
        """Make the definitions of what was traced."""
        self._traced, self.bound = traced, traced.bound
        without_shifts(traced.block, traced.sizes)
        if traced.block.customs and self._custom_rules != "primal":
            self._check_rules(leaves)
        self._draws = cut(traced.block)
        self._drawn: dict[Any, Draws] = {}
        below: dict[str, Expr] = {}
        self._interpret(leaves, below)
        if below:
            self._interpret(leaves, below)

    def _leaves(self, args: Sequence[Any]) -> list[Leaf]:
        out = []
        owner = [n for n, a in enumerate(args) for _ in jax.tree_util.tree_leaves(a)]
        for n, (x, argument) in enumerate(zip(self._flat, owner, strict=True)):
            if not hasattr(x, "shape") and not isinstance(x, bool | int | float | np.number):
                raise InputError(
                    f"nx.from_jax: {self._names[n]} is {type(x).__name__}, no array; accepted: arrays and numbers in "
                    f"pytrees; close over the rest, as in lambda params, x: f(params, x, option)"
                )
            dtype = dtype_of(x)
            trained = argument in self._argnums
            if trained and (is_key(dtype) or kind_of(dtype) != "float"):
                raise InputError(
                    f"nx.from_jax: argnums={self._argnums} names {self._names[n]}, which is {dtype}; accepted: arrays of floats"
                )
            out.append(Leaf(self._names[n], tuple(np.shape(x)), dtype, trained))
        return out

    def _check_rules(self, leaves: Sequence[Leaf]) -> None:
        """Refuse derivative rules that are not those of what is computed."""
        rng = np.random.default_rng(0)
        args = []
        for x, leaf in zip(self._flat, leaves, strict=True):
            if isinstance(x, jax.core.Tracer | jax.ShapeDtypeStruct):
                floats = kind_of(leaf.dtype) == "float" if not is_key(leaf.dtype) else False
                x = jax.numpy.asarray(rng.normal(size=leaf.shape) if floats else np.zeros(leaf.shape), leaf.dtype)
            args.append(x)
        with jax.ensure_compile_time_eval():
            wrong = differing(self._called, args, [n for n, leaf in enumerate(leaves) if leaf.trained])
        if wrong:
            raise UnsupportedError(
                f"nx.from_jax: the derivative rules of {', '.join(self._traced.block.customs)} are not those of what it "
                f"computes: the gradients by {', '.join(leaves[n].name for n in wrong)} differ; accepted: "
                f"custom_rules='primal', which derives the gradients of what is computed"
            )

    def _interpret(self, leaves: Sequence[Leaf], below: dict[str, Expr]) -> None:
        new = Interpreter(self._traced.sizes, dict(below), self._traced.letters, self.kinks)
        ins: list[Value] = []
        self._inputs: list[Tensor | None] = []
        for leaf, axes in zip(leaves, self._traced.axes, strict=True):
            if leaf.trained:
                new.titles.parameter(leaf.name)
            if is_key(leaf.dtype):
                self._inputs.append(None)
                ins.append(Value(tuple((i,) for i in parts_of(axes)), None, "key"))
                continue
            made = _input(new, leaf, axes)
            self._inputs.append(made)
            ins.append(reading(made, axes))
        self._random = [new.drawn(*x) for x in self._draws.values]
        outs = new.run(self._traced.block, ins)
        below.update(new.below)
        self.outputs = tuple(self._output(new, v, n) for n, v in enumerate(outs))
        self.lines = new.lines
        read = self._read()
        self.constants = {name: a for name, a in new.arrays.items() if name in read}
        self.wrt = tuple(t for t, leaf in zip(self._inputs, leaves, strict=True) if leaf.trained and t is not None)
        unread = new.arrays.keys() - self.constants.keys()
        self.tensors = {name: t for name, t in new.names.items() if t is not None and name not in unread}
        self.conventions = list(new.conventions)
        self.notes = [f"bound: {axis}" for axis in self.bound]
        self.notes += [
            f"held as it is: {number}, which another value needs another trace for; pass it as an argument to change it"
            for number in captured(self.function)
        ]

    def _output(self, new: Interpreter, v: Value, n: int) -> Tensor:
        if any(len(a) > 1 for a in v.axes):  # a definition has the axes that the function returns
            inner = v if v.tensor is not None else new.named(v, None, "parts")
            idx = tuple((opened(s),) for s in v.shape)
            v = Value(idx, inner.at([a[0] for a in idx]), v.kind)
        t = v.tensor
        if t is not None and t.definition is not None:
            return t
        name = "loss" if n == 0 and not v.axes else "out"
        if v.kind == "bool":
            raise UnsupportedError(f"nx.from_jax: output {n} is boolean; accepted: arrays of numbers")
        made = new.named(v, None, name).tensor
        assert made is not None
        return made

    # -- use --------------------------------------------------------------------------------------------------------

    def arrays(self, *args: Any) -> dict[str, Any]:
        """The inputs of a kernel, by name, from arguments of the structure that was traced."""
        flat, tree = jax.tree_util.tree_flatten(args)
        if not self._is_traced(tree):
            raise InputError(f"the arguments have the structure {tree}, but {self._tree} was traced")
        read = self._read()
        given = {t.name: x for t, x in zip(self._inputs, flat, strict=True) if t is not None}
        if self._random:
            given |= zip((t.name for t in self._random), self._draw(flat), strict=True)
        return {name: x for name, x in (given | self.constants).items() if name in read}

    def _draw(self, flat: Sequence[Any]) -> list[Any]:
        """The values drawn from the keys, at the lengths of the arguments."""
        shapes = tuple(map(np.shape, flat))
        if shapes not in self._drawn:
            args = [jax.ShapeDtypeStruct(s, d) for s, d in zip(shapes, self._leaf_dtypes, strict=True)]
            self._drawn[shapes] = cut(flatten([jax.make_jaxpr(self._called)(*args)], Sizes((), ({},))))
        return self._drawn[shapes].run(flat)

    def _read(self) -> set[str]:
        """The names of the inputs that the results need."""
        seen: set[Tensor] = set()
        stack = list(self.outputs)
        while stack:
            t = stack.pop()
            if t not in seen:
                seen.add(t)
                if t.definition is not None:
                    stack += [r.tensor for r in t.definition.body.atoms(Read)]
                    stack += t.partners
        return {t.name for t in seen if t.is_input}

    def _is_traced(self, tree: Any) -> bool:
        return bool(tree == self._tree)

    def takes(self, args: Sequence[Any]) -> bool:
        """Whether arguments are of what was traced: structure, dtypes, and lengths that the sizes allow."""
        flat, tree = jax.tree_util.tree_flatten(tuple(args))
        if not self._is_traced(tree):
            return False
        sizes: dict[Any, int] = {}
        for x, dtype, axes in zip(flat, self._leaf_dtypes, self._traced.axes, strict=True):
            if dtype_of(x) != dtype or np.ndim(x) != len(axes):
                return False
            for a, n in zip(axes, np.shape(x), strict=True):
                times, size = a.as_coeff_Mul()
                if n % int(times) or int(n) // int(times) != sizes.setdefault(size, int(n) // int(times)):
                    return False
                if size == 1 and n != times or times == 1 and size != 1 and n == 1:
                    return False
        return True

    def structured(self, grads: Mapping[str, Any], args: Sequence[Any]) -> Any:
        """Gradients by name in the structure of the arguments; of those that the loss does not read, zeros."""
        flat, _ = jax.tree_util.tree_flatten(tuple(args))
        found = [
            jax.numpy.asarray(grads[t.name], dtype)
            if t is not None and t.name in grads
            else None
            if t is None
            else jax.numpy.zeros(np.shape(x), dtype)
            for t, x, dtype in zip(self._inputs, flat, self._leaf_dtypes, strict=True)
        ]
        whole = jax.tree_util.tree_unflatten(self._tree, found)
        return whole[self._argnums[0]] if self._single else tuple(whole[n] for n in self._argnums)

    def backprop(self) -> Derivation:
        """The derivation of the gradients, of the first output; the others are returned beside them."""
        loss, *others = self.outputs
        if loss.rank:
            scalar = next((t for t in others if not t.rank and t.dtype == "float"), None)
            also = f"return {scalar.name} first, " if scalar is not None else ""
            raise DerivationError(
                f"the function returns an array of axes ({', '.join(map(str, loss.axes))}), and gradients need a scalar; "
                f"sum or average it, {also}or use m.vjp()"
            )
        return dv.backprop(loss, wrt=self._by(loss), outputs=[t for t in others if t.dtype == "float"])

    def _by(self, y: Tensor) -> tuple[Tensor, ...]:
        found = self.reached(y)
        if not found:
            raise DerivationError(
                f"{y.name} depends on none of {', '.join(t.name for t in self.wrt)}, but through stop_gradient or steps: "
                f"its gradient is zero; name other arguments with {self.chosen}"
            )
        return found

    def reached(self, y: Tensor) -> tuple[Tensor, ...]:
        """Those of ``wrt`` that a result depends on, not through a stop_gradient, conditions or steps alone."""
        seen: set[Tensor] = set()
        stack = [y]
        while stack:
            t = stack.pop()
            if t in seen:
                continue
            seen.add(t)
            if t.definition is not None:
                stack += [r.tensor for r in _moving(t.definition.body) if r.tensor.dtype == "float"]
                stack += t.partners
        return tuple(t for t in self.wrt if t in seen)

    def vjp(self, cotangent: str = "dy") -> Derivation:
        """The vector-Jacobian product of the first output."""
        return dv.vjp(self.outputs[0], wrt=self._by(self.outputs[0]), cotangent=cotangent)

    def hessian(self) -> Derivation:
        """The Hessian of the loss."""
        return dv.hessian(self.outputs[0], wrt=self._by(self.outputs[0]))

    def hvp(self, direction: Mapping[Tensor, Tensor] | None = None) -> Derivation:
        """The product of the Hessian with a direction, by default of inputs ``W_dir``."""
        return dv.hvp(self.outputs[0], wrt=self._by(self.outputs[0]), direction=direction)

    def jacobian(self) -> Derivation:
        """The Jacobian of the first output."""
        return dv.jacobian(self.outputs[0], wrt=self._by(self.outputs[0]))

    def __str__(self) -> str:
        inputs = [f"{t.name}: {t.dtype}[{','.join(map(str, t.axes))}]" for t in self._inputs if t is not None]
        defined = [
            f"{t.name}[{','.join(map(str, t.definition.idx))}] = {t.definition.body}"
            + (f"    {self.lines[t.name]}" if t.name in self.lines else "")
            for t in self.tensors.values()
            if t.definition is not None
        ]
        return "\n".join([*inputs, *defined, *self.notes, *self.conventions])

    __repr__ = __str__


def from_jax(
    f: Callable[..., Any],
    /,
    *args: Any,
    argnums: int | Sequence[int] = 0,
    axes: Any = None,
    custom_rules: str | None = None,
) -> JaxModel:
    """A JAX function, traced at the given arguments, as definitions in index notation.

    Parameters
    ----------
    f : callable
        Of pytrees of arrays; it returns a scalar loss, an array, or a structure of them with the loss first.
    *args
        What to trace it at; ``jax.ShapeDtypeStruct`` will do, also with sizes of ``jax.export.symbolic_shape``.
    argnums : int or sequence of int
        Which arguments are differentiated by.
    axes : dict, optional
        Names for the axes of arrays, ``{"x": "B T D"}``; others are named here.
    custom_rules : {None, "primal"}
        Functions with ``custom_jvp`` or ``custom_vjp`` rules are what they compute; where their rules say otherwise, as
        of a straight-through estimator, they are refused, or with "primal" derived all the same.

    Returns
    -------
    JaxModel

    Raises
    ------
    UnsupportedError
        An operation without a meaning in index notation: its name, where it stands, and what would be accepted.

    >>> import jax.numpy as jnp
    >>> def loss(w, x):
    ...     return jnp.sum((x @ w) ** 2)
    >>> m = from_jax(loss, jnp.ones(3), jnp.ones((5, 3)))
    >>> print(m.backprop().gradient("w"))
    dw[i] = 2 sum_b loss_sum[b] x[b,i]
    """
    return JaxModel(f, args, argnums, axes, custom_rules)


def _moving(e: Any) -> Iterator[Read]:
    """What is read of an expression where a small change of it changes the value."""
    if isinstance(e, Read):
        yield e
    elif isinstance(e, Piecewise):
        for value, _ in e.args:
            yield from _moving(value)
    elif not isinstance(e, _STILL):
        for a in e.args:
            yield from _moving(a)


def dtype_of(x: Any) -> Any:
    """The dtype that JAX computes an argument in, or that of its keys."""
    dtype = x.dtype if hasattr(x, "dtype") else jax.numpy.asarray(x).dtype
    return dtype if jax.dtypes.issubdtype(dtype, jax.dtypes.extended) else jax.dtypes.canonicalize_dtype(dtype)


def _input(new: Interpreter, leaf: Leaf, axes: Sequence[Expr]) -> Tensor:
    taken: set[str] = set()
    letters: list[Any] = []
    for a in axes:
        if a.is_number:
            letters.append(a)
            continue
        i = new.letter(Index("i", a), taken)
        taken.add(i.name)
        letters.append(i)
    kind = kind_of(leaf.dtype)
    below = new.below.get(leaf.name) if kind == "int" else None
    made = dv.tensor(leaf.name, *letters, dtype=kind, below=below, role="parameter" if leaf.trained else "data")
    new.names[made.name] = made
    return made
