"""The programs that generate with one model, each compiled once: of one position, of a prompt, of what a text is read beside.

once    what does not depend on the sequence, such as the keys of an encoder's memory
read    keys, values and states of a long prompt, by one pass over all of it
run     the loop over positions: one step of the model, a token drawn, what is kept written in place
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from derive.derivation.derivation import Derivation
from derive.derivation.forward import forward
from derive.derivation.stepwise import Stepwise, named, stepwise
from derive.language.errors import DeriveError
from derive.language.tensor import Tensor
from derive.networks.model import Model
from derive.program.schedule import Scan, schedule
from numerics.kernel.compile import compile
from numerics.kernel.kernel import Kernel
from numerics.kernel.xla import outermost

from .continuing import Drawing
from .programs import PRNG, unfixed

# blocks up to which the loop over positions has none over depth, which would copy a block's parameters each time; of 24
# blocks the first call took four times as long, and a token no less
UNROLLED = 12
READ = 64  # positions of a prompt from which one pass over it is worth a program of its own


class Past(NamedTuple):
    """Where a generation stands.

    Attributes
    ----------
    tokens : (B, C + 1) int32
        The prompt, and what followed it so far.
    kept, before : dict
        Values at all positions, by the name of their tensor; values one position before, two positions before, and so on.
    """

    at: Any
    tokens: Any
    kept: dict
    before: dict
    done: Any
    finite: Any


class Stepper:
    """What generates with one model at so many positions.

    Attributes
    ----------
    steps : Stepwise
    positions : int
    """

    def __init__(self, model: Model, sequence: str):
        (output,) = model.inference.outputs.values()
        self.model, self.sequence = model, sequence
        self.positions = int(model.shape(model.inputs[sequence])[1])
        self.steps: Stepwise = stepwise(output, model.inference.inputs[sequence], f"{model.name}_step")
        self.kernel = self._compiled(model, self.steps.derivation)
        self.layered = self._layered()
        self.once = self._forward(model, self.steps.once, "once")
        self.readers: dict[int, Any] = {}  # by the length of a prompt: what reads it at once, or None
        last = next((p for p in model.layers if p.output == model.output), None)
        self.probabilities = getattr(getattr(last, "layer", None), "gives", "") == "probabilities"
        self.run = outermost(self._run, self.kernel.compiler_options, static_argnames=("greedy", "filtered"))

    @staticmethod
    def _compiled(model: Model, derivation: Derivation) -> Kernel:
        patterns = {"matrix-vector": "product"}
        if 0 < max(depths(derivation, model).values(), default=0) <= UNROLLED:
            patterns["recurrence"] = "unrolled"
        return compile(derivation, sizes=unfixed(derivation, model.sizes), patterns=patterns, xla=True)

    def _layered(self) -> dict[str, int]:
        """The axis of depth of the inputs that a program without a loop over depth reads block by block.

        Each block's part is then an array of its own, which is never cut out of the whole, and written in place if it is kept.
        """
        if (self.kernel.request.patterns or {}).get("recurrence") != "unrolled":
            return {}
        steps = [(e.idx[g.axis[e.name]], e) for g in scans(self.steps.derivation) for e in g.equations]
        reads = [(t, r) for t, e in steps for r in sorted(e.reads(), key=str)]
        found = {r.tensor.name: r.idx.index(t) for t, r in reads if r.tensor.is_input and t in r.idx}
        apart = {self.steps.token, *(t.name for of in self.steps.before.values() for t in of)}
        return {n: a for n, a in found.items() if n not in apart}

    def _forward(self, model: Model, outputs: Mapping[str, Tensor], what: str) -> Any:
        """``arrays -> outputs``, jitted; None where there is nothing to compute."""
        if not outputs:
            return None
        kernel = self._compiled(model, forward(outputs, f"{model.name}_{what}"))
        return outermost(lambda every: kernel.fn(*[every[t.name] for t in kernel.inputs]), kernel.compiler_options)

    # -- a text ------------------------------------------------------------------------------------------------------

    def write(
        self, given: dict, tokens: np.ndarray, asked: dict, drawing: Drawing, at: int, reader: Any = None
    ) -> tuple:
        """``(tokens, last position, finite)`` of rows that begin with a prompt.

        Parameters
        ----------
        given : dict
            Parameters, states, and inputs beside the sequence.
        tokens : (B, C + 1)
        at : int
            From which position on: 0, or the last one of the prompt where ``reader`` reads those before it.
        """
        every = given if self.once is None else {**given, **self.once(given)}
        kept, before = self._zeros(len(tokens))
        if reader is not None:
            kept, before = reader(given, tokens, at, kept, before)
        start = Past(jnp.int32(at), tokens, kept, before, asked["done"], jnp.bool_(True))
        return self.run(every, start, {n: a for n, a in asked.items() if n != "done"}, drawing.greedy, drawing.filtered)

    def _zeros(self, batch: int) -> tuple[dict, dict]:
        def zeros(t: Tensor):
            shape = [batch if str(a) == "B" else self.model.training.built.number(a) for a in t.axes]
            return jnp.zeros(shape, jnp.int32 if t.dtype == "int" else jnp.float32)

        kept = {n: zeros(one.tensor) for n, one in self.steps.kept.items()}
        return kept, {n: tuple(zeros(t) for t in of) for n, of in self.steps.before.items()}

    # -- one position ------------------------------------------------------------------------------------------------

    def _step(self, given: dict, past: Past):
        """The logits (B, V) of the next token, and what is kept with that of this position."""
        token = past.tokens[:, past.at]
        every = {**given, self.steps.token: token, **dict.fromkeys(self.steps.positions, past.at)}
        every |= {one.tensor.name: past.kept[n] for n, one in self.steps.kept.items()}
        every |= {t.name: a for n, of in self.steps.before.items() for t, a in zip(of, past.before[n], strict=True)}
        every |= {n: jnp.stack(every[n], a) for n, a in self.layered.items()}  # XLA reads each one where it is
        found = self.kernel.fn(*[every[t.name] for t in self.kernel.inputs])
        found = {self.steps.token: token, **found}
        # the same place, which waits until everything was read: so nothing is copied before it is written over
        place = jnp.minimum(past.at, past.at + found["output"].argmax())
        kept = {n: self._written(n, past.kept[n], found[n], place) for n in self.steps.kept}
        before = {n: (found[n], *values[:-1]) for n, values in past.before.items()}
        logits = found["output"]
        return jnp.log(logits) if self.probabilities else logits, kept, before

    def _parted(self, name: str, array):
        """What the blocks of a stack read, as one array for each."""
        return blocks(array, self.layered[name]) if name in self.layered else array

    def _written(self, name: str, kept, found, place):
        """What is kept, with that of one position."""
        along = self.steps.kept[name].place
        axis = self.layered.get(self.steps.kept[name].tensor.name)
        if axis is None:
            return lax.dynamic_update_index_in_dim(kept, found, place, along)
        rows = blocks(found, axis - (axis > along))
        return tuple(
            lax.dynamic_update_index_in_dim(one, row, place, along - (axis < along))
            for one, row in zip(kept, rows, strict=True)
        )

    def _run(self, given: dict, start: Past, asked: dict, greedy: bool, filtered: bool):
        key = jax.random.key(asked["seed"], impl=PRNG)

        def more(past: Past):
            return (past.at < asked["last"]) & ~past.done.all()

        def step(past: Past) -> Past:
            logits, kept, before = self._step(given, past)
            own = past.at + 1 < asked["prompt"]
            if greedy:
                drawn = logits.argmax(axis=1)
            else:
                scaled = logits / asked["temperature"]
                scaled = likely(scaled, asked["top_k"], asked["top_p"]) if filtered else scaled
                drawn = jax.random.categorical(jax.random.fold_in(key, past.at), scaled)
            given_next, before_this = past.tokens[:, past.at + 1], past.tokens[:, past.at]
            token = jnp.where(own, given_next, jnp.where(past.done, before_this, drawn.astype(jnp.int32)))
            done = past.done | (~own & asked["stop"][token])
            tokens = lax.dynamic_update_index_in_dim(past.tokens, token, past.at + 1, 1)
            finite = past.finite & ~jnp.isnan(logits).any() & (logits.max(axis=1) > -jnp.inf).all()
            return Past(past.at + 1, tokens, kept, before, done, finite)

        kept = {n: self._parted(one.tensor.name, start.kept[n]) for n, one in self.steps.kept.items()}
        given = {n: self._parted(n, a) for n, a in given.items()}
        end = lax.while_loop(more, step, start._replace(kept=kept))
        return end.tokens, end.at, end.finite

    # -- a prompt in one pass ----------------------------------------------------------------------------------------

    def reader(self, length: int, sized) -> Any:
        """What reads so many positions of a prompt, or a few more, at once: ``(given, tokens, at, kept, before)`` gives the
        last two as they are at position ``at``; None where the prompt is short, and is read by the loop.

        ``sized(positions)`` is the model at that length; a position does not depend on later ones, so those of a prompt
        that is shorter are overwritten before they are read.
        """
        if length < READ:
            return None
        size = min(READ << (length - 1 >> 6).bit_length(), self.positions)
        if size not in self.readers:
            try:
                self.readers[size] = self._reader(sized(size), size)
            except DeriveError:  # a model that is not made for this length
                self.readers[size] = None
        return self.readers[size]

    def _reader(self, model: Model, size: int):
        steps, tensors = self.steps, named(model.inference.outputs.values())
        wanted = {n: tensors[n] for n in [*steps.kept, *steps.before]}
        computed = self._forward(model, {n: t for n, t in wanted.items() if not t.is_input}, "read")

        def read(given: dict, tokens, at, kept: dict, before: dict):
            tokens = tokens[:, :size]
            every = {self.sequence: tokens, **(computed({**given, self.sequence: tokens}) if computed else {})}
            rows = {n: every[n].transpose(one.order) for n, one in steps.kept.items()}
            written = {n: lax.dynamic_update_slice(kept[n], a, (0,) * a.ndim) for n, a in rows.items()}
            back = {
                n: tuple(
                    jnp.where(
                        at >= k, lax.dynamic_index_in_dim(every[n], at - k, steps.past[n][1], keepdims=False), zero
                    )
                    for k, zero in enumerate(zeros, 1)
                )
                for n, zeros in before.items()
            }
            return written, back

        return outermost(read, self.kernel.compiler_options)


def scans(derivation: Derivation) -> list[Scan]:
    """The recurrences of a program, such as a stack of blocks."""
    return [g for g in schedule(derivation.program) if isinstance(g, Scan)]


def depths(derivation: Derivation, model: Model) -> dict[str, int]:
    """How many steps the recurrences of a program have, by the names of their members."""
    number = model.training.built.number
    return {e.name: int(number(e.tensor.axes[g.axis[e.name]])) for g in scans(derivation) for e in g.equations}


def blocks(array, axis: int) -> tuple:
    """An array of all blocks as one for each."""
    return tuple(lax.index_in_dim(array, n, axis, keepdims=False) for n in range(array.shape[axis]))


def likely(logits, top_k, top_p):
    """Logits of the ``top_k`` likeliest tokens, and of the fewest whose probabilities are ``top_p`` together; else -inf.

    >>> (likely(jnp.log(jnp.array([[0.5, 0.25, 0.15, 0.1]])), 4, 0.7)[0] > -jnp.inf).tolist()
    [True, True, False, False]
    """
    order = jnp.argsort(-logits, axis=1)  # of equals the first
    ranked = jnp.take_along_axis(logits, order, axis=1)
    p = jax.nn.softmax(ranked, axis=1)
    inside = (jnp.arange(logits.shape[1]) < top_k) & (jnp.cumsum(p, axis=1) - p < top_p)
    inside = jnp.take_along_axis(inside, jnp.argsort(order, axis=1), axis=1)
    return jnp.where(inside, logits, -jnp.inf)
