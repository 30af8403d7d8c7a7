"""Where the arrays of a training run stand, on a mesh of devices: XLA splits the step after them, and adds up what it must.

    data parallel      shardings=None      the batch is split, parameters are on every device
    fully sharded      shardings="full"    and each parameter along its longest axis that divides, with what the optimizer keeps
    tensor parallel    shardings={...}     and parameters as told, by names or patterns: {"dense_1_kernel": P(None, "model")}

The derived program is the same on one device and on many: sizes are those of the whole batch, so a mean stays that mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from numerics.errors import InputError, NumericsError

FULL = "full"
DATA = ("data", "batch")  # what the axis of a mesh is called along which batches are split; else it is the first


class Placement:
    """How arrays are spread over a mesh.

    Parameters
    ----------
    mesh : jax.sharding.Mesh
    shardings : None, "full", or dict of str to PartitionSpec
        By the names of parameters, running averages, inputs and targets, or patterns of them (``"*_kernel"``); the first that
        fits counts.  An input that is not named is split along its first axis, everything else is whole on every device.
    shapes : dict of str to tuple
        Of the parameters, by name.
    others : iterable of str
        Names that may be given beside them.

    Raises
    ------
    NumericsError
        For a mesh or shardings that are none, a name that is unknown, an axis that the mesh has not, and a parameter whose
        axis the mesh does not divide: with what would be accepted.
    """

    def __init__(self, mesh: Any, shardings: Any, shapes: Mapping[str, tuple[int, ...]], others: Any = ()):
        if not isinstance(mesh, Mesh):
            raise NumericsError(f"mesh={mesh!r}: give a jax.sharding.Mesh, such as jax.make_mesh((4,), ('data',))")
        if shardings is not None and shardings != FULL and not isinstance(shardings, Mapping):
            raise NumericsError(
                f"shardings={shardings!r}: accepted are None (every device has all parameters), 'full' (each parameter is "
                f"split), or PartitionSpecs by name, such as {{'dense_1_kernel': PartitionSpec(None, 'model')}}"
            )
        # jax.make_mesh makes explicit axes, where every product has to say how it is split: here that is left to XLA
        self.mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))
        self.shapes, self.full = dict(shapes), shardings == FULL
        self.given = {} if shardings is None or self.full else dict(shardings)
        self.axis = next((n for n in DATA if n in mesh.axis_names), mesh.axis_names[0])
        self.count = mesh.shape[self.axis]
        self._check([*shapes, *others])

    def _check(self, names: list[str]) -> None:
        for pattern, spec in self.given.items():
            spec = self.given[pattern] = spec.spec if isinstance(spec, NamedSharding) else spec
            if not isinstance(spec, PartitionSpec):
                raise NumericsError(f"shardings: {pattern!r} has {spec!r}; a jax.sharding.PartitionSpec is expected")
            if not any(fnmatchcase(n, pattern) for n in names):
                raise NumericsError(f"shardings: nothing is called {pattern!r}; there are {', '.join(names)}")
            unknown = [a for a in _axes(spec) if a not in self.mesh.shape]
            if unknown:
                raise NumericsError(
                    f"shardings: {pattern!r} names the axis {unknown[0]!r}; the axes of the mesh are "
                    f"{', '.join(f'{n} of {k}' for n, k in self.mesh.shape.items())}"
                )
        for name, shape in self.shapes.items():
            spec = self._told(name)
            misfit = "" if spec is None else self._misfit(spec, shape)
            if misfit:
                raise NumericsError(f"shardings: {name} has shape {shape}, and {misfit}")

    def _told(self, name: str) -> PartitionSpec | None:
        return next((s for pattern, s in self.given.items() if fnmatchcase(name, pattern)), None)

    def _misfit(self, spec: PartitionSpec, shape: tuple[int, ...]) -> str:
        """Why an array cannot be split so; "" where it can."""
        if len(spec) > len(shape):
            return f"{spec} is for {len(spec)} axes"
        for n, along in enumerate(spec):
            parts = self._parts(along)
            if shape[n] % parts:
                return f"{spec} splits its axis {n} over {parts} devices, which do not divide {shape[n]}"
        return ""

    def _parts(self, along: Any) -> int:
        return int(np.prod([self.mesh.shape[a] for a in _axes((along,))], dtype=int))

    # -- what stands where -------------------------------------------------------------------------------------------

    def parameter(self, name: str, shape: tuple[int, ...]) -> NamedSharding:
        """Of a parameter, and of what an optimizer keeps for each of its numbers."""
        spec = self._told(name)
        if spec is None and self.full:
            fits = [n for n, size in enumerate(shape) if size % self.count == 0]
            longest = max(fits, key=lambda n: shape[n], default=None)
            spec = None if longest is None else PartitionSpec(*(None,) * longest, self.axis)
        return NamedSharding(self.mesh, spec if spec is not None else PartitionSpec())

    def example(self, name: str, shape: tuple[int, ...]) -> NamedSharding:
        """Of an input, a target or a carried state: split along the batch, or whole where that is not divided."""
        told = self._told(name)
        spec = PartitionSpec(self.axis) if told is None else told
        return NamedSharding(self.mesh, PartitionSpec() if self._misfit(spec, shape) else spec)

    @property
    def backend(self) -> str:
        """The platform of its devices, which need not be JAX's default one."""
        return str(self.mesh.devices.flat[0].platform)

    @property
    def whole(self) -> NamedSharding:
        """On every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def memory(self, memory: Any) -> Any:
        """The sharding of everything that a step changes, as a tree like it."""

        def kept(path: tuple, a: Any) -> NamedSharding:
            named = [str(k.key) for k in path if isinstance(k, jax.tree_util.DictKey)]
            name = next((n for n in reversed(named) if n in self.shapes), None)
            same = name is not None and np.shape(a) == self.shapes[name]
            return self.parameter(name, np.shape(a)) if same and name is not None else self.whole

        return type(memory)(
            {n: self.parameter(n, np.shape(a)) for n, a in memory.params.items()},
            jax.tree_util.tree_map_with_path(kept, memory.opt_state),
            {
                n: self.whole if (spec := self._told(n)) is None else NamedSharding(self.mesh, spec)
                for n in memory.state
            },
            {n: self.example(n, np.shape(a)) for n, a in memory.carried.items()},
        )

    def put(self, tree: Any, shardings: Any) -> Any:
        """Arrays that are on this host, as arrays on the mesh; of those that are there already, nothing is copied."""
        return jax.tree_util.tree_map(_put, tree, shardings)

    def put_memory(self, memory: Any) -> Any:
        """Everything that a step changes, on the mesh."""
        return self.put(memory, self.memory(memory))

    def put_batch(self, batch: dict, constants: Any = ()) -> dict:
        """A batch on the mesh; ``constants`` have no examples and are whole."""
        return {n: _put(a, self.whole if n in constants else self.example(n, np.shape(a))) for n, a in batch.items()}

    def used(self, params: dict) -> dict:
        """Inside a step: parameters as the program reads them.  Of fully sharded ones every device gathers its own copy, once;
        left to itself, XLA would split activations along features instead, and move them back and forth."""
        return {n: a if self._told(n) is not None else self.everywhere(a) for n, a in params.items()}

    def split(self, gradients: dict) -> dict:
        """Inside a step: gradients where their parameters are, so that each device updates its part only; added up first, which
        XLA does for all at once, and makes a reduce-scatter of where a device has one."""
        return {
            n: jax.lax.with_sharding_constraint(
                self.everywhere(a) if self._told(n) is None else a, self.parameter(n, a.shape)
            )
            for n, a in gradients.items()
        }

    def kept(self, memory: Any) -> Any:
        """Inside a step: what it changes stays where it was."""
        return jax.lax.with_sharding_constraint(memory, self.memory(memory))

    def everywhere(self, tree: Any) -> Any:
        """Inside a step: numbers that every process reads."""
        return jax.tree_util.tree_map(lambda a: jax.lax.with_sharding_constraint(a, self.whole), tree)

    def check_batch(self, size: int, where: str) -> None:
        """Refuse batches that the mesh does not divide."""
        if size % self.count:
            raise InputError(
                f"{where}: batches of {size} examples cannot be split over the {self.count} devices along {self.axis!r} of "
                f"the mesh; accepted are multiples of {self.count}, such as {max(1, round(size / self.count)) * self.count}"
            )


def _axes(spec: Any) -> list[str]:
    """The names of mesh axes in a PartitionSpec."""
    return [a for along in spec if along is not None for a in (along if isinstance(along, tuple) else (along,))]


def _put(a: Any, sharding: NamedSharding) -> Any:
    if isinstance(a, jax.Array) and a.sharding.is_equivalent_to(sharding, a.ndim):
        return a
    if isinstance(a, jax.Array) and not a.is_fully_addressable:
        return jax.device_put(a, sharding)
    on_host = np.asarray(a)
    return jax.make_array_from_callback(on_host.shape, sharding, lambda part: on_host[part])


def on_host(a: Any) -> np.ndarray:
    """All of an array, also where other processes have parts of it; every process has to ask at the same time."""
    if isinstance(a, jax.Array) and not a.is_fully_addressable and not a.is_fully_replicated:
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(a, tiled=True))
    return np.asarray(a)


def writes() -> bool:
    """Whether this process is the one that writes files: the first of all that train together."""
    return jax.process_index() == 0


def together(what: str) -> None:
    """Wait for the other processes, so that none reads a file before it is there."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def placed_on(mesh: Any, shardings: Any, model: Any, losses: Any) -> Placement | None:
    """Where the arrays of a network and its targets are on a mesh; None without one."""
    if mesh is None:
        if shardings is not None:
            raise NumericsError("Trainer: shardings say how arrays are spread over a mesh; give mesh= too")
        return None
    shapes = {n: tuple(int(a) for a in model.shape(p.tensor)) for n, p in model.parameters.items()}
    targets = [t.name for t in model.targets(losses).values()]
    return Placement(mesh, shardings, shapes, [*model.state, *model.inputs, *targets])
