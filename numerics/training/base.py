"""What a trainer holds and a step changes: the programs, the memory, and one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from numerics.data import metrics as measures
from numerics.errors import NumericsError

from . import optimizer as optimizers
from .fit import Part
from .fitting import NO_OPTIMIZER, columns
from .labels import Labels
from .placement import Placement
from .programs import Memory, Programs


class TrainerBase:
    """What a :class:`~numerics.training.trainer.Trainer` is before it has data: what it holds, and how a batch changes it."""

    model: Any
    losses: dict[str, Any]
    metrics: dict[str, Any]
    optimizer: Any
    programs: Programs
    placement: Placement | None
    labels: Labels
    class_weight: np.ndarray | None
    rows: list[dict]
    part: Part | None
    step: int
    _memory: Memory
    _latest: tuple[Memory, dict, int] | None
    _steps: dict[Programs, Callable]

    @property
    def memory(self) -> Memory:
        """Everything that a step changes; on a mesh, spread over its devices."""
        return self._memory

    @memory.setter
    def memory(self, memory: Memory):
        self._memory = memory if self.placement is None else self.placement.put_memory(memory)

    params = property(lambda self: self.memory.params, lambda self, v: self._put_params(v), doc="By name.")
    state = property(lambda self: self.memory.state, lambda self, v: self._put(state=v), doc="Running averages.")
    carried = property(lambda self: self.memory.carried, lambda self, v: self._put(carried=v), doc="Carried states.")
    opt_state = property(lambda self: self.memory.opt_state, lambda self, v: self._put(opt_state=v), doc="Of optax.")

    def _put_params(self, params: dict) -> None:
        for name, p in self.model.parameters.items():
            if name not in params:
                raise NumericsError(
                    f"params: {name} is missing; {self.model.name} has {', '.join(self.model.parameters)}"
                )
            wanted = tuple(int(a) for a in self.model.shape(p.tensor))
            if np.shape(params[name]) != wanted:
                raise NumericsError(
                    f"params: {name} has shape {np.shape(params[name])}, and in {self.model.name} {wanted}"
                )
        self._put(params=params)

    def _put(self, **parts):
        self.memory = self.memory._replace(**parts)

    @property
    def derivation(self):
        return self.programs.derivation

    @property
    def kernel(self):
        return self.programs.kernel

    @property
    def forward(self):
        return self.programs.forward

    @property
    def loss(self):
        """The loss of the only output; ``losses`` has those of several."""
        if len(self.losses) > 1:
            raise NumericsError(
                f"{self.model.name} has {len(self.losses)} losses ({', '.join(self.losses)}); see trainer.losses"
            )
        return next(iter(self.losses.values()))

    @property
    def history(self) -> dict[str, list[float]]:
        return columns(self.rows)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.classes

    @property
    def learning_rate(self) -> float | None:
        """The current rate, where the optimizer keeps it in its state; it can be set unless a schedule sets it."""
        return optimizers.rate(self.opt_state)

    @learning_rate.setter
    def learning_rate(self, value: float):
        self._put(opt_state=optimizers.with_rate(self.opt_state, value))

    # -- steps ---------------------------------------------------------------------------------------------------------

    def advance(self, batch: dict):
        """One step on a batch, arrays by the names of the inputs and targets; returns its loss and watched outputs.

        The arrays are not checked; ``fit`` does that.  The loss is on the device: nothing waits for it.
        """
        if self.optimizer is None:
            raise NumericsError(NO_OPTIMIZER)
        batch = self.placed(batch)
        self._latest = self.memory, batch, self.step
        self._memory, loss, outputs = self._step(batch)(self.memory, batch, np.uint32(self.step))
        self.step += 1
        return loss, outputs

    def _step(self, batch: dict) -> Callable:
        """The jitted step for the lengths of a batch."""
        programs = self.programs.of(batch)
        if programs not in self._steps:
            kept = (self.programs, *self.programs.others.values())
            self._steps = {p: step for p, step in self._steps.items() if p in kept}
            watched = {
                n: partial(measures.kept, loss=self.losses[n], metrics=found)
                for n, found in self.metrics.items()
                if found
            }
            self._steps[programs] = programs.step(self.optimizer, watched)
        return self._steps[programs]

    def placed(self, batch: dict) -> dict:
        """A batch where the step wants it: on a mesh, split over its devices."""
        return batch if self.placement is None else self.placement.put_batch(batch, self.constants)

    def inputs(self) -> dict:
        """Every input of the latest step's program by name: its batch, its masks, and what was before that step.

        ``trainer.kernel(**trainer.inputs())`` is the loss, the gradients and the outputs of that step.
        """
        if self._latest is None:
            raise NumericsError("inputs: no step has been taken yet")
        return self.programs.of(self._latest[1]).arrays(*self._latest)

    @property
    def constants(self) -> dict:
        """Arrays that every batch has besides its examples: the weights of classes."""
        if not any(one.class_weight for one in self.losses.values()):
            return {}
        return {"class_weight": jnp.asarray(self._class_weights())}

    def _classes(self) -> int:
        name = next(n for n, one in self.losses.items() if one.class_weight)
        return int(self.model.shape(self.model.outputs[name])[-1])

    def _class_weights(self) -> np.ndarray:
        return np.ones(self._classes(), np.float32) if self.class_weight is None else self.class_weight

    def metric_names(self, by_output: bool = False):
        """The names the metrics were asked for by; by output, or all in a row."""
        found = {
            name: [m.removeprefix(f"{name}_") if len(self.losses) > 1 else m for m in metrics]
            for name, metrics in self.metrics.items()
        }
        return found if by_output else [m for names in found.values() for m in names]

    def new_epoch(self) -> Self:
        """Leave an epoch that was interrupted; the next fit begins another."""
        self.part = None
        return self
