"""``nx.generate``: a text continued, each token drawn from what the model gives for the ones before it.

The program of one position is derived from the model's own definitions (:mod:`derive.derivation.stepwise`): what attention
reads of the positions before, keys and values, is kept, and what a recurrence reads of the step before is handed on.  So a
token costs one position, and the text is that of the full forward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.language.errors import DeriveError
from derive.networks.model import Model
from numerics.data.sequences import Vocabulary
from numerics.errors import InputError, NotFiniteError

from .continuing import Drawing, Prompt, check_drawing, check_prompt, ended
from .examples import check_inputs
from .stepper import Stepper
from .trainer import Trainer

ROUNDED = 64  # lengths are rounded up to a multiple, so that there are few programs


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
    inputs: dict | None = None,
):
    r"""Continue a prompt with a language model, token by token.

    .. math:: x_{t+1} \sim \mathrm{softmax}(z_t / \tau), \qquad z_t = f(x_0, \dots, x_t)

    Parameters
    ----------
    trainer : Trainer
        Of a model that takes token numbers (B, T) and gives logits, or probabilities, of the next token (B, T, V), and in
        which no position depends on later ones.  It may take more, such as what an encoder reads: see ``inputs``.
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
    inputs : dict of str to array, optional
        What the model takes beside the sequence, by the names of its inputs, (B, ...) each: the text that is translated,
        the picture that is described, masks.  What follows from these alone is computed once.

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
    if not isinstance(trainer, Trainer):
        raise InputError(
            f"generate: takes a trainer, nx.Trainer(model, loss) or nx.load(folder); it was given {type(trainer).__name__}"
        )
    sequence = _sequence(trainer.model, inputs)
    tokens = _vocabulary_size(trainer.model, sequence)
    given = check_prompt(prompt, length, vocabulary, tokens)
    drawing = check_drawing(temperature, top_k, top_p, stop, seed, given, tokens)
    count, first = given.tokens.shape
    others = _other_inputs(trainer.model, inputs or {}, count)
    stepper = _stepper(trainer, given, sequence, others)
    rows = np.zeros((count, stepper.positions + 1), np.int32)
    rows[:, :first] = given.tokens
    others = _checked(stepper.model, sequence, rows, others)
    arrays = {**trainer.params, **trainer.state, **trainer.programs.start(count), **others}
    shapes = {n: a.shape[1:] for n, a in others.items()}
    reader = stepper.reader(
        first - 1, lambda n: trainer.programs.for_shapes(_shapes(trainer.model, sequence, n, shapes)).model
    )
    asked = {**_asked(given, drawing), "done": np.zeros(count, bool)}
    made, at, finite = stepper.write(arrays, rows, asked, drawing, 0 if reader is None else first - 1, reader)
    if not finite:
        raise NotFiniteError(
            f"generate: {trainer.model.name} gave logits that are no numbers, by position {int(at) - 1}; "
            f"trainer.diagnose() says where they come from"
        )
    return ended(np.array(made), int(at), given, drawing)


def _sequence(model: Model, inputs: Any) -> str:
    """The input that is continued: the only one that is not given."""
    if inputs is not None and not isinstance(inputs, dict):
        raise InputError(
            f"generate: inputs is {type(inputs).__name__}; accepted is a dict by {', '.join(model.inputs)}"
        )
    unknown = [n for n in inputs or {} if n not in model.inputs]
    if unknown:
        raise InputError(f"generate: inputs has {unknown[0]!r}; the model has {', '.join(model.inputs)}")
    left = [n for n in model.inputs if n not in (inputs or {})]
    if len(left) != 1:
        said = "is continued; give the others" if left else "would be left to continue; leave it out of them"
        raise InputError(
            f"generate: {model.name} takes {', '.join(model.inputs)}, and one of them {said}, "
            f"as in inputs={{{next(iter(model.inputs))!r}: array}}"
        )
    return left[0]


def _other_inputs(model: Model, inputs: dict, count: int) -> dict[str, np.ndarray]:
    """The inputs beside the sequence, as many rows as the prompt has."""
    found = {n: np.asarray(a) for n, a in inputs.items()}
    for n, a in found.items():
        if not a.ndim or len(a) != count:
            raise InputError(
                f"generate: inputs[{n!r}] has shape {a.shape}, and the prompt {count} row{'s' if count > 1 else ''}; "
                f"accepted is (B, ...) with B = {count}"
            )
    return found


def _checked(model: Model, sequence: str, rows: np.ndarray, others: dict) -> dict:
    """The other inputs, of the dtypes and in the ranges of the model."""
    found = check_inputs(model, {**others, sequence: rows[:, :-1]}, "generate: ")
    return {n: a for n, a in found.items() if n != sequence}


def _shapes(model: Model, sequence: str, positions: int, others: dict) -> dict:
    """The shape of an example of each input."""
    return {n: (positions,) if n == sequence else others[n] for n in model.inputs}


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


def _vocabulary_size(model: Model, sequence: str) -> int:
    """V, where tokens (B, T) below V go in and numbers for each of V tokens come out at every position."""
    shapes = [{n: model.shape(t) for n, t in found.items()} for found in (model.inputs, model.outputs)]
    said = [", ".join(f"{n} ({', '.join(map(str, s))})" for n, s in of.items()) for of in shapes]
    if len(model.outputs) == 1:
        x, y = model.inputs[sequence], model.output
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


def _stepper(trainer, given: Prompt, sequence: str, others: dict) -> Stepper:
    """The program for as many positions as are needed, a few more so that other texts need no other one."""
    model, needed = trainer.model, given.tokens.shape[1] + given.length - 1
    built = int(model.shape(model.inputs[sequence])[1])
    wanted = [built] if needed <= built else [-(-needed // ROUNDED) * ROUNDED, needed]
    known = trainer.programs.steppers
    shapes = {n: a.shape[1:] for n, a in others.items()}
    for n, positions in enumerate(wanted):
        key = (positions, *shapes.values())
        if key in known:
            return known[key]
        try:
            sized = trainer.programs.for_shapes(_shapes(model, sequence, positions, shapes)).model
        except DeriveError as error:
            if n + 1 < len(wanted):
                continue
            said = f" beside {', '.join(f'{m} {s}' for m, s in shapes.items())}" if shapes else ""
            raise InputError(
                f"generate: a prompt of {given.tokens.shape[1]} tokens and {given.length} more take {needed} positions, "
                f"and {model.name} has fewer{said}: {error}"
            ) from error
        known[key] = Stepper(sized, sequence)
        break
    return known[key]
