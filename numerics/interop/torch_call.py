"""A torch module with its loss as one call: its arguments, what they and their axes are called, its state."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derive.language.naming import numbered
from numerics.errors import InputError

from .torch_checks import as_it_was, check_module, identifier, own_rules, refuse_call
from .torch_graph import array


class Call:
    """A module with its loss as one call of the arguments; what its parameters and its arguments are called."""

    def __init__(self, module: Any, args: Sequence[Any], loss: Any, named: Mapping[str, Any]):
        import torch

        check_module(module, (*args, *named.values()))
        if loss is not None and not callable(loss):
            raise InputError(
                f"nx.from_torch: loss={loss!r} is no function; accepted: loss(output, *rest), as "
                f"torch.nn.functional.cross_entropy"
            )
        if not args and not named:
            raise InputError(
                "nx.from_torch: no arguments to trace the module at; accepted: example tensors, as it is called"
            )
        self.module, self.loss, self.args, self.named = module, loss, tuple(args), tuple(named)
        self.taken = self._split()
        self.args = self.ordered(args, named)
        tops = self._tops()
        self.names: list[str] = []
        self.slots: list[int | None] = []
        leaves = []
        for top, a in zip(tops, self.args, strict=True):
            flat, _ = torch.utils._pytree.tree_flatten(a)
            for n, x in enumerate(flat):
                if not isinstance(x, torch.Tensor | np.ndarray):
                    self.slots.append(None)
                    continue
                self.slots.append(len(self.names))
                self.names.append(numbered(identifier(top if len(flat) == 1 else f"{top}_{n}"), self.names, "_"))
                leaves.append(x)
        self.leaves = leaves
        self.args = tuple(
            torch.utils._pytree.tree_map(lambda x: torch.as_tensor(x) if isinstance(x, np.ndarray) else x, a)
            for a in self.args
        )
        self.tops = tops

    def ordered(self, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arguments of the module in their order, those by name after them, then those of the loss."""
        if set(named) != set(self.named):
            was, now = (", ".join(names) or "none" for names in (self.named, named))
            raise InputError(f"the module was traced with arguments named {was}, not {now}")
        return (*args[: self.taken], *(named[n] for n in self.named), *args[self.taken :])

    def _split(self) -> int:
        """How many of the arguments are the module's; the others are the loss's."""
        count = len(self.args)
        for taken in range(count, -1, -1):
            rest = count - taken
            if _binds(self.module.forward, taken, self.named) and (
                rest == 0 if self.loss is None else _binds(self._loss_function, 1 + rest)
            ):
                return taken
        given = f"{count} arguments" + (f" and {', '.join(self.named)} by name" if self.named else "")
        also = f", and {_signature(self._loss_function)} of the loss" if self.loss is not None else ""
        raise InputError(
            f"nx.from_torch: {given} do not fit forward{_signature(self.module.forward)} of the module{also}"
        )

    @property
    def _loss_function(self) -> Any:
        return getattr(self.loss, "forward", self.loss)

    def _tops(self) -> list[str]:
        mine = self.taken + len(self.named)
        names = [*_parameters(self.module.forward, self.taken), *self.named]
        if self.loss is not None:
            names += _parameters(self._loss_function, 1 + len(self.args) - mine)[1:]
        out: list[str] = []
        for n in names:
            out.append(numbered(n, out, "_"))
        return out

    @property
    def begins_with_mapping(self) -> bool:
        return bool(self.args) and isinstance(self.args[0], Mapping)

    def flat(self, args: Sequence[Any]) -> list[Any]:
        """The tensors among arguments of the structure traced."""
        import torch

        leaves, spec = torch.utils._pytree.tree_flatten(tuple(args))
        _, wanted = torch.utils._pytree.tree_flatten(self.args)
        if spec != wanted:
            raise InputError(
                f"{len(args)} arguments were given, of the structure {spec}; the module was traced at {', '.join(self.tops)}"
            )
        return [x for x, slot in zip(leaves, self.slots, strict=True) if slot is not None]

    def state(self) -> dict[str, Any]:
        """The parameters and buffers of the module, and of the loss, by the names of the state."""
        out: dict[str, Any] = {}
        for prefix, owner in (("", self.module), ("loss.", self.loss)):
            for which in ("named_parameters", "named_buffers"):
                if hasattr(owner, which):
                    out |= {prefix + n: x for n, x in getattr(owner, which)(remove_duplicate=False)}
        return out

    def masked(self, label: int) -> bool:
        """Whether labels to be ignored are among the arguments: a class that is ignored, or a number that is no class."""
        return label >= 0 or any(
            not np.issubdtype(x.dtype, np.inexact) and bool((x == label).any()) for x in map(array, self.leaves)
        )

    # -- sizes --------------------------------------------------------------------------------------------------------

    def dynamic(self, given: Any) -> list[list[str | None]]:
        """Keep the ``dynamic_shapes`` of the export, an entry for each argument; the names that they give to axes.

        Raises
        ------
        InputError
            Where they name no argument.
        """
        import torch

        if given is None:
            auto = torch.export.Dim.AUTO
            self.specs = tuple(
                torch.utils._pytree.tree_map(
                    lambda x: (
                        {n: auto for n, m in enumerate(x.shape) if m > 1} if isinstance(x, torch.Tensor) else None
                    ),
                    a,
                )
                for a in self.args
            )
            return [[None] * x.ndim for x in self.leaves]
        if isinstance(given, Mapping):
            unknown = set(given) - set(self.tops)
            if unknown:
                raise InputError(
                    f"nx.from_torch: dynamic_shapes names {sorted(unknown)[0]!r}; the arguments are {', '.join(self.tops)}"
                )
            self.specs = tuple(given.get(top) for top in self.tops)
        else:
            if len(given) > len(self.tops):
                raise InputError(
                    f"nx.from_torch: dynamic_shapes has {len(given)} entries; the arguments are {', '.join(self.tops)}"
                )
            self.specs = (*given, *[None] * (len(self.tops) - len(given)))
        out = []
        for a, spec in zip(self.args, self.specs, strict=True):
            if isinstance(a, torch.Tensor):
                out.append([_name(spec, n) for n in range(a.ndim)])
                continue
            flat = torch.utils._pytree.tree_flatten(a)[0]
            out += [[None] * x.ndim for x in flat if isinstance(x, torch.Tensor)]
        return out

    def resized(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Any, ...]:
        """The arguments at other lengths, their values repeated."""
        import torch

        names = iter(self.names)
        each = [
            [
                torch.as_tensor(np.resize(array(x), shapes[next(names)])) if isinstance(x, torch.Tensor) else x
                for x in torch.utils._pytree.tree_flatten(a)[0]
            ]
            for a in self.args
        ]
        specs = [torch.utils._pytree.tree_flatten(a)[1] for a in self.args]
        return tuple(torch.utils._pytree.tree_unflatten(x, s) for x, s in zip(each, specs, strict=True))

    def values(self, by: Sequence[Sequence[str]]) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
        """What torch returns of the arguments, one array for each tensor; its buffers stay as they are.

        Where functions with backward passes of their own make it, also the gradients by ``by``, of all of it weighted by
        :func:`weights`, and the names of those functions.  Each of ``by`` is an argument's name, or those of a parameter.
        """
        import torch

        whole = self.as_module()
        state = {n: x.detach().clone() for n, x in (*whole.named_parameters(), *whole.named_buffers())}
        leaves = {n: torch.as_tensor(x).detach().clone() for n, x in zip(self.names, self.leaves, strict=True)}
        owned = {n.removeprefix("module."): x for n, x in state.items()} | leaves
        wanted = [next(owned[n] for n in names if n in owned) for names in by]
        for x in wanted:
            x.requires_grad_()
        with as_it_was(whole):
            try:
                found = torch.func.functional_call(whole, state, self._with(list(leaves.values())))
            except Exception as error:
                refuse_call(error)
        outs = [x for x in torch.utils._pytree.tree_leaves(found) if isinstance(x, torch.Tensor)]
        names = own_rules(outs)
        if not names:
            return [array(x) for x in outs], [], []
        floats = [x for x in outs if x.is_floating_point()]
        loss = torch.stack([(x * torch.as_tensor(weights(x.shape, array(x).dtype))).sum() for x in floats]).sum()
        grads = torch.autograd.grad(loss, wanted, allow_unused=True)
        each = [np.zeros(x.shape) if g is None else array(g) for x, g in zip(wanted, grads, strict=True)]
        return [array(x) for x in outs], each, names

    def _with(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with other tensors in their places."""
        import torch

        flat, spec = torch.utils._pytree.tree_flatten(self.args)
        whole = [x if slot is None else leaves[slot] for x, slot in zip(flat, self.slots, strict=True)]
        given: tuple[Any, ...] = torch.utils._pytree.tree_unflatten(whole, spec)
        return given

    def as_module(self) -> Any:
        """The call as a module of the arguments, its parameters below ``module.`` and ``loss.``."""
        import torch

        class Whole(torch.nn.Module):
            def __init__(self, module: Any, loss: Any):
                super().__init__()
                self.training = module.training
                self.module, self.loss = module, loss

            def forward(self, *args: Any) -> Any:
                rest = taken + len(named)
                found = self.module(*args[:taken], **dict(zip(named, args[taken:rest], strict=True)))
                return found if self.loss is None else self.loss(found, *args[rest:])

        taken, named = self.taken, self.named
        return Whole(self.module, self.loss)


def weights(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Numbers that differ, one for each element of an array."""
    return np.cos(np.arange(int(np.prod(shape)))).reshape(tuple(shape)).astype(dtype)


def _name(spec: Any, axis: int) -> str | None:
    """The name that an entry of ``dynamic_shapes`` gives to an axis."""
    try:
        dim = spec.get(axis) if isinstance(spec, Mapping) else spec[axis]
    except (TypeError, IndexError):
        return None
    name = getattr(dim, "__name__", dim if isinstance(dim, str) else None)
    return name if isinstance(name, str) and name.isidentifier() else None


def _signature(f: Any) -> str:
    try:
        return str(inspect.signature(f))
    except (TypeError, ValueError):
        return "(...)"


def _binds(f: Any, count: int, named: Sequence[str] = ()) -> bool:
    """Whether a function takes so many arguments, and those by name; one that does not say takes one."""
    try:
        inspect.signature(f).bind(*[None] * count, **dict.fromkeys(named))
    except ValueError:
        return count == 1
    except TypeError:
        return False
    return True


def _parameters(f: Any, count: int) -> list[str]:
    """The names of a function's first arguments."""
    try:
        found = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        found = []
    out = [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    rest = next((p.name for p in found if p.kind == p.VAR_POSITIONAL), "x")
    return [*out, *(f"{rest}_{n}" for n in range(count - len(out)))]
