"""What training runs: the compiled programs of a network and its losses, as pure functions of a memory and a batch.

    step        the derived gradients and the optimizer's update; masks are drawn, running averages go on
    measure     the loss and the outputs of the network in use
    predict     the outputs alone

None of them calls autodiff.  A batch of other lengths than at building has programs of its own, of the same definitions
at these sizes: ``Programs.of``.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sympy import Integer

from derive.derivation.derivation import Derivation
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.networks.model.surgery import resized
from numerics.kernel import stored
from numerics.kernel.compile import compile
from numerics.kernel.kernel import Kernel
from numerics.kernel.store import Store
from numerics.kernel.xla import default_backend, outermost

from .placement import Placement

REMEMBERED = 16  # programs of one model for inputs of other sizes
PRNG = "threefry2x32"  # named, so that a change of JAX's default does not change a run


class Memory(NamedTuple):
    """Everything that a step changes.

    Attributes
    ----------
    params, state, carried : dict of str to array
        Parameters (frozen ones too); running averages; states that recurrent layers carry from batch to batch.
    opt_state : tree
        What the optimizer has gathered.
    """

    params: dict
    opt_state: object
    state: dict
    carried: dict


class Programs:
    """The programs of a model for its losses, with some layers frozen.

    Attributes
    ----------
    derivation, kernel
        What is trained with; made when they are first needed.
    forward : Kernel
        From the inputs to the outputs, in use; derived when it is first needed.
    """

    def __init__(
        self,
        model,
        losses: dict,
        weights: dict | None,
        frozen: tuple,
        seed: int,
        store: Store | None = None,
        placement: Placement | None = None,
        native: bool = False,
    ):
        self.native = native
        self.model, self.losses, self.weights, self.frozen, self.seed = model, losses, weights, frozen, seed
        self.placement = placement
        self.others: dict[tuple, Programs] = {}  # by the shapes of the inputs: those of the model at other sizes
        self.store = store
        self.steppers: dict[tuple, object] = {}  # by the shapes of the inputs: what generates, see stepper.py
        still = model.still(frozen)
        self.updated = [s for s in model.state.values() if s.layer not in still]
        self.shapes = {n: model.shape(t)[1:] for n, t in model.inputs.items()}  # of an example

    def _compiled(self, derivation) -> Kernel:
        sizes = unfixed(derivation, self.model.sizes)
        if self.native:  # loops in C count on the lengths of weights, which are what they are
            own = {s.name for p in self.model.parameters.values() for a in p.tensor.axes for s in a.free_symbols}
            sizes = {**sizes, **{n: size for n, size in self.model.sizes.items() if n in own}}
        return compile(derivation, sizes=sizes, backend=self.backend, xla=True, native=self.native)

    @functools.cached_property
    def backend(self) -> str:
        """Where they run: on the devices of the mesh, else on JAX's default one."""
        return default_backend() if self.placement is None else self.placement.backend

    @functools.cached_property
    def _asked(self) -> tuple:
        return self.model.asked(self.losses, self.frozen, self.weights)

    @functools.cached_property
    def gradients_of(self) -> list[str]:
        """The parameters that are differentiated for."""
        return [t.name for t in self._asked[2]]

    @functools.cached_property
    def kernel(self) -> Kernel:
        held, loss, wrt, outputs = self._asked
        return stored.kernel(
            self.store,
            [loss, *wrt, *outputs],
            [self.model.name, sorted(self.model.sizes.items()), held is self.model, self.native, self.backend],
            lambda: inputs_of([loss, *outputs]),
            lambda: self._compiled(self.derivation),
        )

    @functools.cached_property
    def derivation(self) -> Derivation:
        """Derived when it is first needed: never, where the program was kept from an earlier process and nobody asks."""
        return self.model.backprop(self.losses, frozen=self.frozen, weights=self.weights)

    @functools.cached_property
    def evaluation(self) -> Kernel:
        return self._compiled(self.model.evaluation(self.losses, weights=self.weights))

    @functools.cached_property
    def forward(self) -> Kernel:
        return self._compiled(self.model.forward())

    @functools.cached_property
    def examiner(self):
        """Evaluates the equations term by term on a batch; made when it is first needed."""
        from .diagnosis import Examiner

        return Examiner(self.derivation, unfixed(self.derivation, self.model.sizes))

    def trained(self, params: dict) -> dict:
        """The parameters that are differentiated for."""
        return {n: params[n] for n in self.gradients_of}

    def start(self, batch_size: int) -> dict:
        """The carried states of so many sequences before their first step: zeros."""
        return {
            s.name: jnp.zeros((batch_size, *self.model.shape(s.tensor)[1:]), jnp.float32)
            for s in self.model.carried.values()
        }

    # -- pure functions --------------------------------------------------------------------------------------------

    def draw(self, number, count: int) -> dict:
        """The random inputs of a step: each from a key of its own, made of the seed, the step and its name."""
        key = jax.random.fold_in(jax.random.key(self.seed, impl=PRNG), number)
        batch = {Size("B"): Integer(count)}
        return {
            r.name: jax.random.bernoulli(
                jax.random.fold_in(key, np.uint32(zlib.crc32(r.name.encode()))),
                float(r.chance),
                tuple(int(Integer(a) if isinstance(a, int) else a.xreplace(batch)) for a in self.model.shape(r.tensor)),
            ).astype(jnp.float32)
            for r in self.model.random.values()
        }

    def arrays(self, memory: Memory, batch: dict, number) -> dict:
        """Every input of the training program, by name."""
        count = len(batch[next(iter(self.model.inputs))])
        every = {**memory.params, **memory.state, **memory.carried, **batch, **self.draw(number, count)}
        return {t.name: every[t.name] for t in self.kernel.inputs}

    def gradients(self, memory: Memory, batch: dict, number):
        """``(loss, gradients, outputs, running averages, carried states)`` of a batch."""
        loss, gradients, outputs = self.kernel.fn(*self.arrays(memory, batch, number).values())
        state = {**memory.state, **{s.name: outputs[s.update.name] for s in self.updated}}
        carried = {s.name: outputs[s.update.name] for s in self.model.carried.values()}
        return loss, gradients, {n: outputs[t.name] for n, t in self.model.outputs.items()}, state, carried

    def step(self, optimizer, watched: Mapping[str, Callable]):
        """``(memory, batch, number) -> memory, loss, outputs``, jitted; the outputs that are watched come along, each as
        what its function makes of it."""
        return outermost(self.stepping(optimizer, watched), self.kernel.compiler_options)

    def stepping(self, optimizer, watched: Mapping[str, Callable] | None = None) -> Callable:
        """The same, not jitted yet."""
        import optax

        def step(memory: Memory, batch: dict, number):
            place = self.placement
            read = memory if place is None else memory._replace(params=place.used(memory.params))
            loss, gradients, outputs, state, carried = self.gradients(read, batch, number)
            gradients = gradients if place is None else place.split(gradients)
            trained = self.trained(memory.params)
            updates, opt_state = optimizer.update(gradients, memory.opt_state, trained)
            params = {**memory.params, **optax.apply_updates(trained, updates)}
            after = Memory(params, opt_state, state, carried)
            seen = {n: keep(outputs[n]) for n, keep in (watched or {}).items()}
            return (after, loss, seen) if place is None else (place.kept(after), *place.everywhere((loss, seen)))

        return step

    @functools.cached_property
    def measure(self):
        """``(params, state, carried, batch) -> loss, outputs, carried``, jitted."""
        names = [t.name for t in self.evaluation.inputs]
        tensors = self.evaluation.derivation.result("outputs")

        def measure(params, state, carried, batch):
            every = {**params, **state, **carried, **batch}
            loss, outputs, *rest = self.evaluation.fn(*[every[n] for n in names])
            return self._read((loss, {n: outputs[n] for n in tensors})) + (rest[0] if rest else {},)

        return outermost(measure, self.evaluation.compiler_options)

    @functools.cached_property
    def predict(self):
        """``(params, state, carried, inputs) -> outputs, carried``, jitted."""
        kernel = self.forward
        names = [t.name for t in kernel.inputs]

        def predict(params, state, carried, inputs):
            every = {**params, **state, **carried, **inputs}
            found = kernel.fn(*[every[n] for n in names])
            outputs, after = found if len(kernel.derivation.results) > 1 else (found, {})
            return self._read(outputs), after

        return outermost(predict, kernel.compiler_options)

    def _read(self, tree):
        """What the host reads of a program's results: on every device of the mesh."""
        return tree if self.placement is None else self.placement.everywhere(tree)

    def of(self, batch: dict) -> Programs:
        """Those for the lengths of a batch, arrays by name."""
        return self.for_shapes({n: batch[n].shape[1:] for n in self.shapes})

    def for_shapes(self, shapes: dict[str, tuple[int, ...]]) -> Programs:
        """Those for inputs of these shapes of an example; remembered, as long as there are few."""
        if shapes == self.shapes:
            return self
        key = tuple(shapes.items())
        if key not in self.others:
            made = Programs(
                resized(self.model, shapes),
                self.losses,
                self.weights,
                self.frozen,
                self.seed,
                self.store,
                self.placement,
                self.native,
            )
            while len(self.others) >= REMEMBERED:
                del self.others[next(iter(self.others))]
            self.others[key] = made
        return self.others[key]


def inputs_of(tensors) -> dict[str, Tensor]:
    """The inputs that definitions are computed from, by name."""
    todo = [t.member for t in tensors]
    seen = set(todo)
    for t in todo:
        reads = {r.member for r in t.definition.body.atoms(Tensor)} - seen if t.definition is not None else set()
        seen |= reads
        todo += reads
    return {t.name: t for t in todo if t.is_input}


def unfixed(derivation, sizes: dict) -> dict:
    """The sizes that no array's own axis fixes; the others stay symbolic, so that one program serves any."""
    axes = {a for t in derivation.program.inputs for a in t.axes}
    used = {s.name for s in derivation.program.sizes()}
    return {n: v for n, v in sizes.items() if n in used and Size(n) not in axes}
