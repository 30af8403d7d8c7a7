"""Examples to train on, checked: arrays by the names of the network's inputs and targets, and batches of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax
import numpy as np

from derive.language.hints import did_you_mean
from numerics.data import examples as data
from numerics.data import metrics as measures
from numerics.errors import InputError

AHEAD = 2  # batches that are on the device before they are needed


@dataclass(frozen=True)
class Examples:
    """Examples by the names of tensors; all arrays have one length.

    Attributes
    ----------
    inputs, targets : dict of str to array
    weights : dict of str to array
        ``sample_weight``, where the loss has it.
    """

    inputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, rows) -> dict[str, np.ndarray]:
        """Some rows of everything, by name."""
        return {n: a[rows] for group in (self.inputs, self.targets, self.weights) for n, a in group.items()}

    def rows(self, rows) -> Examples:
        """Some of the examples."""
        return Examples(
            *({n: a[rows] for n, a in group.items()} for group in (self.inputs, self.targets, self.weights))
        )

    def classes(self, losses: dict) -> np.ndarray | None:
        """The class of each example, where there is one loss and it chooses one class for each."""
        if len(losses) > 1:
            return None
        (loss,), (y,) = losses.values(), self.targets.values()
        if loss.target in ("labels", "bits", "signs", "probabilities") and (
            y.ndim == 1 or y.ndim == 2 and (loss.target == "probabilities" or y.shape[1] == 1)
        ):
            return measures.truth(y, loss)
        return None

    def split(self, held_out: float, seed: int, losses: dict) -> tuple[Examples, Examples]:
        """Shuffled and split, each class in proportion."""
        kept, held = data.split_rows(len(self), held_out, seed, self.classes(losses))
        return self.rows(kept), self.rows(held)

    def check_classes(self, losses: dict) -> None:
        """Training on one class only learns to say it always; that is a mistake in the data."""
        found = self.classes(losses)
        if found is None or len(self) < 2:
            return
        ignored = next(iter(losses.values())).ignored
        present = np.unique(found if ignored is None else found[found != ignored])
        if not len(present):
            raise InputError(f"Y: every label is {ignored}, which the loss ignores; there is nothing to train on")
        if len(present) == 1:
            raise InputError(
                f"Y: all {len(self)} examples to train on are of class {present[0]}; accepted are at least two classes"
            )


def given_by(names, given, what: str) -> dict:
    """What was given for several inputs or targets, by name: a dict, or a tuple in their order."""
    names = list(names)
    if isinstance(given, dict):
        unknown = [n for n in given if n not in names]
        if unknown:
            raise InputError(
                f"{what} has {unknown[0]!r}{did_you_mean(unknown[0], names)}; the model has {', '.join(names)}"
            )
        missing = [n for n in names if n not in given]
        if missing:
            raise InputError(f"{what} lacks {', '.join(missing)}; the model has {', '.join(names)}")
        return {n: given[n] for n in names}
    if len(names) == 1:
        return {names[0]: given}
    if not isinstance(given, tuple | list) or len(given) != len(names):
        found = f"{len(given)} arrays" if isinstance(given, tuple | list) else f"{type(given).__name__}"
        raise InputError(
            f"{what} is {found}; the model has {len(names)}: give a dict by the names {', '.join(names)}, "
            f"or a tuple in this order"
        )
    return dict(zip(names, given, strict=True))


def one_length(arrays: dict) -> int:
    """All arrays have as many examples."""
    lengths = {n: len(a) for n, a in arrays.items()}
    (first, n), *others = lengths.items()
    for other, m in others:
        if m != n:
            raise InputError(f"{first} has {n} examples and {other} {m}")
    return n


def check_inputs(model, X, which: str = "") -> dict[str, np.ndarray]:
    """Arrays for the inputs of a model, by name."""
    found, several = {}, len(model.inputs) > 1
    for name, given in given_by(model.inputs, X, f"{which}X").items():
        t = model.inputs[name]
        said, shape = f"{which}X[{name!r}]" if several else f"{which}X", model.shape(t)[1:]
        if t.dtype != "int":
            found[name] = data.check_examples(given, shape, said)
            continue
        below = t.below if t.below is None or isinstance(t.below, int) else model.training.built.number(t.below)
        found[name] = data.check_tokens(given, shape, below, said)
    one_length({f"{which}X[{n!r}]": a for n, a in found.items()})
    return found


def check_targets(model, losses: dict, Y, which: str = "") -> dict[str, np.ndarray]:
    """Arrays for the targets of the losses, by the names of the tensors (``y``, or ``y_<output>``)."""
    tensors, several = model.targets(losses), len(losses) > 1
    found = {}
    for name, given in given_by(losses, Y, f"{which}Y").items():
        said = f"{which}Y[{name!r}]" if several else f"{which}Y"
        classes = int(model.shape(model.outputs[name])[-1])
        found[tensors[name].name] = data.check_target(
            given, losses[name], model.shape(tensors[name])[1:], classes, said
        )
    return found


def check_weights(n: int, given, which: str = "") -> np.ndarray:
    """``sample_weight``: one number that is not negative for each example; ones where none are given."""
    if given is None:
        return np.ones(n, np.float32)
    found = data.check_examples(given, (), f"{which}sample_weight")
    if len(found) != n:
        raise InputError(f"{which}sample_weight has {len(found)} numbers for {n} examples")
    if (found < 0).any():
        at = int(np.argmax(found < 0))
        raise InputError(f"{which}sample_weight[{at}] is {found[at]}; accepted are numbers that are not negative")
    return found


def check_examples(model, losses: dict, X, Y, sample_weight=None, which: str = "") -> Examples:
    """Inputs, targets and weights that fit a model and its losses."""
    inputs, targets = check_inputs(model, X, which), check_targets(model, losses, Y, which)
    said = {f"{which}X" if len(inputs) == 1 else f"{which}X[{n!r}]": a for n, a in inputs.items()}
    said |= {
        f"{which}Y" if len(targets) == 1 else f"{which}Y[{n!r}]": a
        for n, a in zip(losses, targets.values(), strict=True)
    }
    n = one_length(said)
    weighted = any(one.sample_weight for one in losses.values())
    return Examples(inputs, targets, {"sample_weight": check_weights(n, sample_weight, which)} if weighted else {})


# -- batches -----------------------------------------------------------------------------------------------------------


def order_of(n: int, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """The order of the examples in an epoch, by the seed and the number of the epoch."""
    return np.random.default_rng([seed, epoch]).permutation(n) if shuffle else np.arange(n)


def slices(n: int, size: int, drop_last: bool = False) -> list[slice]:
    """The batches of n examples, in order; the last one may be smaller."""
    return [slice(k, k + size) for k in range(0, n, size) if not drop_last or k + size <= n]


def prefetched(batches: Iterator[dict], put: Callable | None = None) -> Iterator[dict]:
    """The same batches, put on the device ahead of their use; what the device is doing meanwhile goes on.

    Steps are dispatched and not waited for, so that gathering, augmenting and copying a batch happens while the device
    computes the steps before.  Where the device is the host, the jitted step takes the arrays as they are: putting them
    there by themselves costs half a millisecond.  ``put`` puts them where they are wanted, such as on a mesh.
    """
    waiting: deque = deque()
    if put is None:
        put = (lambda batch: batch) if jax.default_backend() == "cpu" else jax.device_put
    for batch in batches:
        waiting.append(put(batch))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def augmented(augment: Callable | None, examples: Examples, batch: dict, seed) -> dict:
    """A batch after the user's ``augment(x, generator)``; its inputs keep their shapes."""
    if augment is None:
        return batch
    inputs = {n: batch[n] for n in examples.inputs}
    one = len(inputs) == 1
    made = augment(next(iter(inputs.values())) if one else inputs, np.random.default_rng(seed))
    made = given_by(inputs, made, "augment: what it returns")
    for n, a in inputs.items():
        if np.shape(made[n]) != a.shape:
            raise InputError(
                f"augment: {n} had shape {a.shape} and has {np.shape(made[n])} now; accepted are functions "
                f"(x, generator) -> x that keep the shape"
            )
    return {**batch, **{n: np.asarray(made[n], a.dtype) for n, a in inputs.items()}}
