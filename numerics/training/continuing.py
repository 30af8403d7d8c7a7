"""What ``nx.generate`` is asked for, checked: a prompt as token numbers, how tokens are drawn, and where a text ends."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from numerics.data.sequences import Vocabulary
from numerics.errors import InputError

from .optimizer import whole


@dataclass(frozen=True)
class Prompt:
    """Token numbers (B, P), how many are to follow, and the vocabulary where they are a text."""

    tokens: np.ndarray
    length: int
    vocabulary: Vocabulary | None


@dataclass(frozen=True)
class Drawing:
    """How a token is drawn.

    Attributes
    ----------
    stop : array (V,) of bool
        The tokens that end a row.
    ends : tuple of arrays
        The numbers of texts that end a text.
    """

    temperature: float
    top_k: int
    top_p: float
    filtered: bool
    stop: np.ndarray
    ends: tuple[np.ndarray, ...]
    seed: int

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


def check_prompt(prompt: Any, length: Any, vocabulary: Any, tokens: int) -> Prompt:
    """A text or integers as token numbers below ``tokens``."""
    count = whole(length, "length", "generate")
    if vocabulary is not None and len(vocabulary) != tokens:
        raise InputError(
            f"generate: the vocabulary has {len(vocabulary)} tokens, and the model {tokens}; accepted is the vocabulary that "
            f"the model was trained with"
        )
    if isinstance(prompt, str):
        if vocabulary is None:
            raise InputError(
                "generate: the prompt is a text; give the vocabulary that it is read with, vocabulary=nx.Vocabulary(text), "
                "or token numbers (B, T)"
            )
        if not prompt:
            raise InputError("generate: the prompt is empty; accepted is a text of at least one token")
        try:
            found = np.asarray(vocabulary.encode(prompt), np.int32)[None]
        except InputError as error:
            raise InputError(f"generate: the prompt: {error}") from error
        return Prompt(found, count, vocabulary)
    try:
        given = np.asarray(prompt)
    except ValueError as error:  # rows of unequal lengths
        raise InputError(f"generate: the prompt is no array of integers (B, T): {error}") from error
    if given.size == 0:
        raise InputError(f"generate: the prompt is empty, of shape {given.shape}; accepted is at least one token a row")
    if given.ndim != 2 or given.dtype.kind not in "iu":
        raise InputError(
            f"generate: the prompt has shape {given.shape} and dtype {given.dtype}; accepted is a text, or integers (B, T), "
            f"as prompt[None] for one row"
        )
    outside = np.argwhere((given < 0) | (given >= tokens))
    if len(outside):
        b, t = map(int, outside[0])
        raise InputError(f"generate: prompt[{b}, {t}] is {given[b, t]}; the model has the tokens 0 to {tokens - 1}")
    return Prompt(given.astype(np.int32), count, None)


def check_drawing(
    temperature: Any, top_k: Any, top_p: Any, stop: Any, seed: Any, prompt: Prompt, tokens: int
) -> Drawing:
    """The options of drawing, in their ranges."""
    heat = _number(temperature, "temperature")
    if not 0 <= heat < math.inf:
        raise InputError(
            f"generate: temperature is {temperature}; accepted is 0, which takes the likeliest, or a number above"
        )
    if top_k is not None:
        top_k = whole(top_k, "top_k", "generate")
    if top_p is not None and not 0 < _number(top_p, "top_p") <= 1:
        raise InputError(f"generate: top_p is {top_p}; accepted are probabilities above 0, up to 1")
    single, ends = _stops(stop, prompt, tokens)
    share = 1.0 if top_p is None else float(top_p)
    return Drawing(heat, min(top_k or tokens, tokens), share, top_k is not None or share < 1, single, ends, _seed(seed))


def _number(given: Any, what: str) -> float:
    if isinstance(given, bool | str) or not np.isscalar(given) and np.ndim(given) != 0:
        raise InputError(f"generate: {what} is {given!r}; accepted is a number")
    try:
        return float(given)
    except (TypeError, ValueError):
        raise InputError(f"generate: {what} is {given!r}; accepted is a number") from None


def _seed(given: Any) -> int:
    try:
        found = operator.index(given)
    except TypeError:
        found = -1
    if not 0 <= found < 2**32:
        raise InputError(f"generate: seed is {given!r}; accepted is a whole number from 0, below 2**32")
    return found


def _stops(stop: Any, prompt: Prompt, tokens: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The single tokens that end a row, as a mask, and all ends, as numbers."""
    mask, ends = np.zeros(tokens, bool), []
    given = [] if stop is None else list(stop) if isinstance(stop, list | tuple | set | np.ndarray) else [stop]
    for one in given:
        if isinstance(one, str):
            if prompt.vocabulary is None:
                raise InputError(f"generate: stop is {one!r}, and there is no vocabulary; accepted are token numbers")
            try:
                numbers = np.asarray(prompt.vocabulary.encode(one), np.int32)
            except InputError as error:
                raise InputError(f"generate: stop {one!r}: {error}") from error
        else:
            numbers = np.array([_token(one, tokens)], np.int32)
        ends.append(numbers)
        if len(numbers) == 1:
            mask[numbers[0]] = True
    return mask, tuple(ends)


def _token(given: Any, tokens: int) -> int:
    try:
        found = -1 if isinstance(given, bool) else operator.index(given)
    except TypeError:
        found = -1
    if not 0 <= found < tokens:
        raise InputError(f"generate: stop is {given!r}; accepted are tokens from 0 to {tokens - 1}, or texts")
    return found


def ended(made: np.ndarray, at: int, prompt: Prompt, drawing: Drawing) -> Any:
    """The text, up to its end, or all rows with their last tokens repeated."""
    first, total = prompt.tokens.shape[1], prompt.tokens.shape[1] + prompt.length
    if prompt.vocabulary is None:
        made[:, at + 1 :] = made[:, at : at + 1]
        return made[:, :total]
    row, end = made[0, : at + 1], at + 1
    for stop in drawing.ends:
        for n in range(first, len(row) - len(stop) + 1):
            if n + len(stop) < end and np.array_equal(row[n : n + len(stop)], stop):
                end = n + len(stop)
    return prompt.vocabulary.decode(row[:end])
