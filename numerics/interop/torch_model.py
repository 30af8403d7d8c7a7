"""``nx.from_torch``: a torch module as definitions in index notation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from derive.language.errors import UnsupportedError
from derive.language.naming import numbered
from numerics.errors import InputError, NumericsError

from .model import JaxModel
from .torch_call import Call, weights
from .torch_checks import check_wrt, identifier
from .torch_graph import Given, Graph, array


class TorchModel(JaxModel):
    """A torch module as definitions; what :class:`JaxModel` has, with the weights of the module.

    Attributes
    ----------
    names : dict of str to str
        For each name in the state dictionary that of its tensor here.
    """

    chosen = "wrt="
    kinks = {
        "max": "at a tie the first argument has the gradient, as of torch.clamp; torch.maximum gives half to each",
        "min": "at a tie the first argument has the gradient, as of torch.clamp; torch.minimum gives half to each",
        "reduce_max": "among equal maxima the first has the gradient; torch.amax gives each an equal part",
        "reduce_min": "among equal minima the first has the gradient; torch.amin gives each an equal part",
    }

    def __init__(
        self, module: Any, args: Sequence[Any], loss: Any, dynamic_shapes: Any, wrt: Any, named: Mapping[str, Any]
    ):
        self.module = module
        self._call = Call(module, args, loss, named)
        given = self._call.dynamic(dynamic_shapes)
        self._graph = Graph(self._call.as_module(), self._call.args, self._call.specs, self._call.masked)
        self._held: dict[Any, bool] = {}
        self._state = self._call.state()
        inputs = self._call.names
        asked = self._trained(wrt, inputs)
        self._slots = self._named(inputs)
        trained = {self.names.get(n, n) for n in asked}
        unread = [
            n for n in self._state | dict.fromkeys(inputs) if n in asked and self.names.get(n, n) not in self._slots
        ]
        if wrt is not None and unread:
            raise InputError(f"nx.from_torch: wrt={wrt!r}: nothing that is returned reads {unread[0]!r}")
        by = OrderedDict((n, x) for n, x in self._slots.items() if n in trained)
        rest = OrderedDict((n, x) for n, x in self._slots.items() if n not in trained)
        self._order = (tuple(by), tuple(rest))
        values = self._values(self._call.leaves)
        axes = {n: letters for n, letters in zip(inputs, given, strict=True) if any(letters)}
        try:
            super().__init__(self._computed, self._packed(values), 0, axes or None, "primal")
        except (InputError, UnsupportedError) as error:
            raise type(error)(str(error).replace("nx.from_jax", "nx.from_torch", 1)) from error
        self._compare(values)
        self.notes += [f"not read, so that it has no gradient: {n}" for n in unread]
        self.notes += [f"not part of the definitions: {n} is updated in training" for n in self._graph.updated]
        self.notes += [
            f"not part of the definitions: the module keeps what it computes in {n}" for n in self._graph.kept
        ]

    # -- what the graph reads -----------------------------------------------------------------------------------------

    def _trained(self, wrt: Any, inputs: Sequence[str]) -> set[str]:
        """The names, in the state or of inputs, of what is differentiated by."""
        from torch.nn import Parameter

        own = self._state
        if wrt is None:
            found = {n for n, x in own.items() if isinstance(x, Parameter) and x.requires_grad}
            if not found:
                floats = [n for n, x in zip(inputs, self._call.leaves, strict=True) if "float" in str(x.dtype)]
                raise InputError(
                    "nx.from_torch: the module has no parameters that require gradients; accepted is wrt=, of its "
                    f"inputs {', '.join(map(repr, floats))}"
                )
            return found
        known = {identifier(n): n for n in (*(n for n in own if isinstance(own[n], Parameter)), *inputs)}
        dtypes = {n: str(x.dtype).removeprefix("torch.") for n, x in zip(inputs, self._call.leaves, strict=True)}
        integers = {n: t for n, t in dtypes.items() if "float" not in t}
        check_wrt(wrt, known, integers, [n for n in own if not isinstance(own[n], Parameter)])
        return {known[identifier(str(name))] for name in ([wrt] if isinstance(wrt, str) else wrt)}

    def _named(self, inputs: Sequence[str]) -> OrderedDict[str, list[Given]]:
        """What the graph reads, by names of their own; a tensor that is read under two names is one."""
        slots: OrderedDict[str, list[Given]] = OrderedDict()
        of_tensor: dict[int, str] = {}
        self.names: dict[str, str] = {}
        arguments = iter(self._call.slots)
        used = {n.name for n in self._graph.nodes if n.op == "placeholder" and n.users}
        for g in self._graph.given:
            if g.kind == "argument":
                place = next(arguments)
                if place is None:
                    continue
                name = inputs[place]
            elif g.kind == "constant" or g.node not in used or g.target in self._graph.updated and len(g.target) == 0:
                continue
            else:
                tensor = self._state[g.target]
                name = of_tensor.setdefault(id(tensor), numbered(identifier(g.target), [*slots, *inputs], "_"))
                self.names[g.target] = name
            slots.setdefault(name, []).append(g)
        self.names |= {key: of_tensor[id(x)] for key, x in self._state.items() if id(x) in of_tensor}
        return slots

    def _values(self, leaves: Sequence[Any], state: Mapping[str, Any] | None = None) -> dict[str, Any]:
        state = self._state if state is None else state
        given = dict(zip(self._call.names, leaves, strict=True))
        out = {}
        for name, slot in self._slots.items():
            out[name] = array(given[name] if slot[0].kind == "argument" else self._own(state, slot))
        return out

    def _own(self, state: Mapping[str, Any], slot: Sequence[Given]) -> Any:
        for g in slot:
            for key in (g.target, identifier(g.target)):
                if key in state:
                    return state[key]
        if slot[0].target in self._state:
            return self._state[slot[0].target]
        raise InputError(f"the weights given have no {slot[0].target!r}; they are {', '.join(state)}")

    def _packed(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(OrderedDict((n, values[n]) for n in order) for order in self._order)

    def _computed(self, trained: Mapping[str, Any], rest: Mapping[str, Any]) -> Any:
        """The module in JAX, at shapes at which torch exports the same operations."""
        values = {**trained, **rest}
        self._hold({n: tuple(x.shape) for n, x in values.items()})
        given = {g.node: values[name] for name, slot in self._slots.items() for g in slot}
        given |= {g.node: jax.numpy.asarray(array(g.value)) for g in self._graph.given if g.kind == "constant"}
        outs = self._graph.run(given)
        return outs[0] if len(outs) == 1 else tuple(outs)

    def _compare(self, values: Mapping[str, Any]) -> None:
        """Hold what was read of the module against the module itself, at the arguments that it was exported at.

        Raises
        ------
        NumericsError
            Where they give other numbers.
        """
        by = [[key for key, own in self.names.items() if own == n] or [n] for n in self._order[0]]
        wanted, gradients, functions = self._call.values(by)
        arguments = self._packed(values)
        found = jax.tree_util.tree_leaves(jax.jit(self._computed)(*arguments))
        for n, (here, there) in enumerate(zip(found, wanted, strict=True)):
            if np.issubdtype(here.dtype, np.floating) and not _near(here, there):
                raise NumericsError(
                    f"nx.from_torch: output {n}: what was read of the module gives {np.ravel(here)[:3]}, and the module "
                    f"{np.ravel(there)[:3]}: a mistake here: please report it"
                )
        if functions:
            ours = jax.grad(lambda trained: self._weighted(trained, arguments[1]))(arguments[0])
            wrong = [n for (n, here), there in zip(ours.items(), gradients, strict=True) if not _near(here, there)]
            if wrong:
                raise UnsupportedError(
                    f"nx.from_torch: the backward pass of {', '.join(functions)} is not that of what it computes: the "
                    f"gradients by {', '.join(wrong)} differ; accepted: functions whose gradient is their own; nx.check_vjp "
                    f"says where"
                )

    def _weighted(self, trained: Mapping[str, Any], rest: Mapping[str, Any]) -> Any:
        """All that is returned, in one number."""
        outs = jax.tree_util.tree_leaves(self._computed(trained, rest))
        return sum((x * weights(x.shape, x.dtype)).sum() for x in outs if np.issubdtype(x.dtype, np.floating))

    def _hold(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse lengths at which the module does something else.

        An axis of an argument that torch could not leave open (an LSTM's time) is one that it may have fixed, so that
        the module is exported there too and the operations compared.  Where the weights have other shapes the module is
        another one, of the same operations.
        """
        moved: dict[tuple[str, int], int] = {}
        for name, slot in self._slots.items():
            own = self._graph.shapes[slot[0].node]
            if slot[0].kind != "argument" and shapes[name] != own:
                return
            moved |= {
                (name, n): m for n, (s, m) in enumerate(zip(own, shapes[name], strict=True)) if s not in (None, m)
            }
        if not moved:
            return
        key = frozenset(moved.items())
        if key not in self._held:
            self._held[key] = self._graph.is_same_at(self._call.resized(shapes))
        if not self._held[key]:
            raise InputError(f"the module does something else at {dict(shapes)}")

    # -- use ----------------------------------------------------------------------------------------------------------

    def arrays(self, *args: Any, **named: Any) -> dict[str, Any]:
        """The inputs of a kernel, by name: the module's weights as they are now, and the arguments.

        Parameters
        ----------
        *args
            As the module takes them, then what the loss takes, tensors or arrays; none for those traced.  Before them a
            module, or a dictionary of weights by their names in the state, gives the weights in place of the module's.
        **named
            The arguments that were given by name.

        Raises
        ------
        InputError
            Other arguments than were traced.
        """
        state = None
        if args and (
            hasattr(args[0], "state_dict") or isinstance(args[0], Mapping) and not self._call.begins_with_mapping
        ):
            first, *args = args  # type: ignore[assignment]
            state = first if isinstance(first, Mapping) else first.state_dict(keep_vars=True)
        leaves = self._call.flat(self._call.ordered(args, named)) if args or named else self._call.leaves
        return super().arrays(*self._packed(self._values(leaves, state)))


def _near(here: Any, there: Any) -> bool:
    """Whether two arrays are equal to the digits that a program of their dtype keeps."""
    near = 1e3 * float(np.finfo(here.dtype).eps) ** 0.75
    return here.shape == there.shape and np.allclose(here, there, rtol=near, atol=near, equal_nan=True)


def from_torch(
    module: Any,
    /,
    *args: Any,
    loss: Callable[..., Any] | None = None,
    dynamic_shapes: Any = None,
    wrt: str | Sequence[str] | None = None,
    **named: Any,
) -> TorchModel:
    """A torch module, exported at the given arguments, as definitions in index notation.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode, or in training mode without dropout.
    *args
        What to call it with, tensors or arrays; what the module does not take is the loss's.
    loss : callable, optional
        ``loss(output, *rest)``, as ``torch.nn.functional.cross_entropy``, a loss module, or a function of one's own.
    dynamic_shapes : optional
        As of ``torch.export.export``: names for axes, by ``torch.export.Dim("B")``; by default every axis that can be
        is a size.
    wrt : str or sequence of str, optional
        Names of parameters in the state dictionary, or of inputs; by default the parameters that require gradients.
    **named
        Arguments of the module by name, as ``mask=mask``; tensors, or options as they are.

    Returns
    -------
    TorchModel

    Raises
    ------
    UnsupportedError
        An operation without a meaning in index notation, dropout in training mode, mutation: what and where.
    """
    return TorchModel(module, args, loss, dynamic_shapes, wrt, named)
