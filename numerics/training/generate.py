"""``nx.generate``: a text continued, each token drawn from what the model gives for the ones before it.

The program of one position is derived from the model's own definitions (:mod:`derive.derivation.stepwise`): what attention
reads of the positions before, keys and values, is kept, and what a recurrence reads of the step before is handed on.  So a
token costs one position, and the text is that of the full forward pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from derive.derivation.stepwise import Stepwise, stepwise
from derive.language.errors import DeriveError
from derive.networks.model import Model
from numerics.data.sequences import Vocabulary
from numerics.errors import InputError, NotFiniteError
from numerics.kernel.compile import compile
from numerics.kernel.xla import outermost

from .continuing import Drawing, Prompt, check_drawing, check_prompt, ended
from .programs import PRNG, unfixed

FEWEST = 2  # rows: the sums over heads of one row alone take XLA several times as long as those of two, on CPUs
ROUNDED = 64  # lengths are rounded up to a multiple, so that there are few programs


class _Past(NamedTuple):
    """Where a generation stands.

    Attributes
    ----------
    tokens : (B, C + 1) int32
        The prompt, and what followed it so far.
    kept, before : dict
        Values at all positions, by the name of their tensor; values one position before, two before, and so on.
    """

    at: Any
    tokens: Any
    kept: dict
    before: dict
    done: Any
    finite: Any


class Stepper:
    """What generates with one model: its program for one position, and the loop around it, compiled once.

    Attributes
    ----------
    steps : Stepwise
    positions : int
        For how many positions.
    """

    def __init__(self, model: Model):
        (sequence,), (output,) = model.inference.inputs.values(), model.inference.outputs.values()
        self.model, self.positions = model, int(model.shape(sequence)[1])
        self.steps: Stepwise = stepwise(output, sequence, f"{model.name}_step")
        derivation = self.steps.derivation
        sizes = unfixed(derivation, model.sizes)
        self.kernel = compile(derivation, sizes=sizes, xla=True)
        last = next(p for p in model.layers if p.output == model.output) if model.layers else None
        self.probabilities = getattr(getattr(last, "layer", None), "gives", "") == "probabilities"
        self.run = outermost(self._run, self.kernel.compiler_options, static_argnames=("greedy", "filtered"))

    def _zeros(self, t, batch: int):
        shape = [batch if str(a) == "B" else self.model.training.built.number(a) for a in t.axes]
        return jnp.zeros(shape, jnp.int32 if t.dtype == "int" else jnp.float32)

    def _step(self, given: dict, past: _Past):
        """The logits (B, V) of the next token, and what is kept with that of this position."""
        token = past.tokens[:, past.at]
        every = {**given, self.steps.token: token, **dict.fromkeys(self.steps.positions, past.at)}
        every |= {t.name: past.kept[n] for n, (t, _) in self.steps.kept.items()}
        every |= {t.name: a for n, of in self.steps.before.items() for t, a in zip(of, past.before[n], strict=True)}
        found = self.kernel.fn(*[every[t.name] for t in self.kernel.inputs])
        found = {self.steps.token: token, **found}
        kept = {
            n: lax.dynamic_update_index_in_dim(past.kept[n], found[n], past.at, place)
            for n, (_, place) in self.steps.kept.items()
        }
        before = {n: (found[n], *values[:-1]) for n, values in past.before.items()}
        logits = found["output"]
        return jnp.log(logits) if self.probabilities else logits, kept, before

    def _run(self, given: dict, tokens, asked: dict, greedy: bool, filtered: bool):
        batch = tokens.shape[0]
        key = jax.random.key(asked["seed"], impl=PRNG)

        def more(past: _Past):
            return (past.at < asked["last"]) & ~past.done.all()

        def step(past: _Past) -> _Past:
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
            return _Past(past.at + 1, tokens, kept, before, done, finite)

        kept = {n: self._zeros(t, batch) for n, (t, _) in self.steps.kept.items()}
        before = {n: tuple(self._zeros(t, batch) for t in of) for n, of in self.steps.before.items()}
        start = _Past(jnp.int32(0), tokens, kept, before, asked["done"], jnp.bool_(True))
        end = lax.while_loop(more, step, start)
        return end.tokens, end.at, end.finite


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


def generate(
    trainer,
    prompt,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop=None,
    vocabulary: Vocabulary | None = None,
    seed: int = 0,
):
    r"""Continue a prompt with a language model, token by token.

    .. math:: x_{t+1} \sim \mathrm{softmax}(z_t / \tau), \qquad z_t = f(x_0, \dots, x_t)

    Parameters
    ----------
    trainer : Trainer
        Of a model that takes token numbers (B, T) and gives logits, or probabilities, of the next token (B, T, V), and in
        which no position depends on later ones.
    prompt : str, or integers (B, P)
    length : int
        How many tokens follow.
    temperature : float
        :math:`\tau`; 0 takes the likeliest token.
    top_k : int, optional
        Draw from the so many likeliest tokens only.
    top_p : float, optional
        Draw from the fewest likeliest tokens whose probabilities are at least this together.
    stop : str, int, or sequence of them, optional
        Of a text: it ends after the first of these that follows the prompt.  Of integers: a row that gave one of these
        tokens repeats it to the end.
    vocabulary : Vocabulary, optional
        For text: what has ``encode`` and ``decode``.
    seed : int
        The same seed gives the same text.

    Returns
    -------
    str, or integers (B, P + length)
        The prompt and what follows it.

    Raises
    ------
    InputError
        An empty prompt, unknown tokens, more positions than the model has, options out of their ranges, or a model that is
        no language model.
    DeriveError
        A model in which a position depends on later ones: the tensor and its equation.

    References
    ----------
    Holtzman et al., *The curious case of neural text degeneration*, ICLR 2020 (top_p).

    >>> import derive as dv
    >>> from derive import layers as L
    >>> from numerics.training.trainer import Trainer
    >>> words = Vocabulary("hello world")
    >>> model = dv.Sequential(
    ...     [L.Embedding(len(words), 8), L.GRU(8, return_sequences=True), L.Dense(len(words))], input_shape=(5,)
    ... )
    >>> text = generate(Trainer(model, "sparse_softmax_cross_entropy"), "hell", 3, temperature=0, vocabulary=words)
    >>> len(text), text[:4]
    (7, 'hell')
    """
    tokens = _vocabulary_size(trainer.model)
    given = check_prompt(prompt, length, vocabulary, tokens)
    drawing = check_drawing(temperature, top_k, top_p, stop, seed, given, tokens)
    stepper = _stepper(trainer, given)
    count = max(len(given.tokens), FEWEST)
    rows = np.zeros((count, stepper.positions + 1), np.int32)
    rows[:, : given.tokens.shape[1]] = given.tokens
    arrays = {**trainer.params, **trainer.state, **trainer.programs.start(count)}
    asked = {**_asked(given, drawing), "done": np.arange(count) >= len(given.tokens)}
    made, at, finite = stepper.run(arrays, rows, asked, drawing.greedy, drawing.filtered)
    made = made[: len(given.tokens)]
    if not finite:
        raise NotFiniteError(
            f"generate: {trainer.model.name} gave logits that are no numbers, by position {int(at) - 1}; "
            f"trainer.diagnose() says where they come from"
        )
    return ended(np.array(made), int(at), given, drawing)


def _asked(given: Prompt, drawing: Drawing) -> dict:
    """What a run is told in arrays, so that nothing is compiled again for other numbers."""
    length = given.tokens.shape[1]
    return {
        "prompt": np.int32(length),
        "last": np.int32(length + given.length - 1),
        "temperature": np.float32(drawing.temperature),
        "top_k": np.int32(drawing.top_k),
        "top_p": np.float32(drawing.top_p),
        "stop": drawing.stop,
        "seed": np.uint32(drawing.seed),
    }


def _vocabulary_size(model: Model) -> int:
    """V, where tokens (B, T) below V go in and numbers for each of V tokens come out at every position."""
    shapes = [{n: model.shape(t) for n, t in found.items()} for found in (model.inputs, model.outputs)]
    said = [", ".join(f"{n} ({', '.join(map(str, s))})" for n, s in of.items()) for of in shapes]
    if len(model.inputs) == len(model.outputs) == 1:
        x, y = model.input, model.output
        inside, outside = model.shape(x), model.shape(y)
        if x.dtype == "int" and len(inside) == 2 and x.below is not None and y.dtype == "float":
            below = int(model.training.built.number(x.below))
            if outside[1:] == (inside[1], below):
                return below
            said[0] += f" below {below}"
    raise InputError(
        f"generate: {model.name} takes {said[0]} and gives {said[1]}; accepted is a language model, which takes token "
        f"numbers (B, T) below V, as before L.Embedding(V, ...), and gives (B, T, V), as after L.Dense(V)"
    )


def _stepper(trainer, given: Prompt) -> Stepper:
    """The program for as many positions as are needed, a few more so that other texts need no other one."""
    model, needed = trainer.model, given.tokens.shape[1] + given.length - 1
    name, built = next(iter(model.inputs)), int(model.shape(model.input)[1])
    wanted = [built] if needed <= built else [-(-needed // ROUNDED) * ROUNDED, needed]
    known = trainer.programs.steppers
    for n, positions in enumerate(wanted):
        if positions in known:
            return known[positions]
        try:
            sized = trainer.programs.for_shapes({name: (positions,)})[0]
        except DeriveError as error:
            if n + 1 < len(wanted):
                continue
            raise InputError(
                f"generate: a prompt of {given.tokens.shape[1]} tokens and {given.length} more take {needed} positions, "
                f"and {model.name} has fewer: {error}"
            ) from error
        known[positions] = Stepper(sized)
        break
    return known[positions]
