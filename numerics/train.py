"""``nx.Trainer``: a network trained with its derived gradients and an optax optimizer; no autodiff in the step."""

from __future__ import annotations

import time

import jax
import numpy as np

from derive.index import Size
from derive.losses import loss as find_loss

from . import data
from . import metrics as measures
from .errors import InputError, NumericsError
from .init import init
from .kernel import compile
from .progress import Progress


class Trainer:
    r"""Trains a network by the gradients derived from its definitions.

    .. math:: \theta_{n+1} = \theta_n + \mathrm{update}\big(\nabla_\theta L(\theta_n)\big)

    The step is the generated program (``kernel.fn``) and the optimizer's update, jitted together.

    Parameters
    ----------
    model : derive.Sequential
    loss : str, derive.losses.Loss or callable
        A name of :mod:`derive.losses`, or your own ``(output, y) -> scalar expression``.
    optimizer : optax.GradientTransformation
        Such as ``optax.adam(1e-3)``.
    metrics : sequence of str or callable
        ``"accuracy"`` and others of :mod:`numerics.metrics`, or functions ``(y, outputs) -> float``.
    seed : int
        Of the initial parameters and of the order of the batches.

    Attributes
    ----------
    params : dict of str to jax.Array
        By name, as ``dense_1_kernel``; frozen ones too.
    derivation, kernel
        What is trained with: the derivation, and its compiled program.
    history : dict of str to list
        Of all epochs so far: ``loss``, the metrics, ``val_loss`` ..., ``seconds``.
    frozen : tuple of str
    epoch : int
        How many epochs have been trained.

    Raises
    ------
    derive.DeriveError
        For a loss that does not fit the model's output.
    NumericsError
        For something that is not an optimizer, or an unknown metric.

    Examples
    --------
    >>> import derive as dv, numpy as np, optax
    >>> from derive import layers as L
    >>> model = dv.Sequential([L.Dense(2)], input_shape=(3,))
    >>> t = Trainer(model, loss="sparse_softmax_cross_entropy", optimizer=optax.sgd(0.5), metrics=["accuracy"])
    >>> X = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], "float32")
    >>> history = t.fit(X, np.array([0, 1, 1, 0]), batch_size=2, epochs=20, verbose=False)
    >>> history["loss"][-1] < history["loss"][0]
    True
    >>> t.predict(X).shape
    (4, 2)
    """

    def __init__(self, model, loss, optimizer, metrics=(), seed: int = 0):
        if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
            raise NumericsError(f"Trainer: optimizer is {optimizer!r}; accepted is an optax optimizer, as in "
                                f"optax.adam(1e-3)")
        several = len(getattr(model, "inputs", "x")) > 1 or len(getattr(model, "outputs", "y")) > 1
        if several or getattr(model, "random", None) or getattr(model, "state", None):
            raise NumericsError(f"Trainer: {model.name} has several inputs or outputs, random inputs or state; "
                                f"accepted is a model of one input and one output without them")
        self.model, self.optimizer, self.seed = model, optimizer, seed
        self.loss = find_loss(loss)
        self.metrics = measures.find(metrics, self.loss)
        self.frozen: tuple[str, ...] = ()
        self.epoch, self.history = 0, {}
        self._derive(())
        self.params = init(model, seed)
        self.opt_state = optimizer.init(self._trained(self.params))

    # -- derivation and compiled programs ------------------------------------------------------------------------------

    def _derive(self, frozen):
        """Derive and compile; nothing changes if that fails."""
        derivation = self.model.backprop(self.loss, frozen=frozen)
        kernel = compile(derivation, sizes=_unfixed(derivation, self.model.sizes))
        self.derivation, self.kernel, self.frozen = derivation, kernel, tuple(frozen)
        self._target = self.model.target(self.loss)
        self._step, self._measure = jax.jit(self._pure_step), jax.jit(self._pure_measure)
        forward = self.model.forward()
        forward = compile(forward, sizes=_unfixed(forward, self.model.sizes))
        names = [t.name for t in forward.inputs]
        self._forward = jax.jit(lambda params, x: forward.fn(*[x if n == "x" else params[n] for n in names])[0])

    def _run(self, params, x, y):
        arrays = {**params, self.model.input.name: x, self._target.name: y}
        loss, gradients, outputs = self.kernel.fn(*[arrays[t.name] for t in self.kernel.inputs])
        return loss, gradients, outputs[self.model.output.name]

    def _pure_step(self, params, opt_state, x, y):
        import optax
        loss, gradients, output = self._run(params, x, y)
        trained = self._trained(params)
        updates, opt_state = self.optimizer.update(gradients, opt_state, trained)
        return {**params, **optax.apply_updates(trained, updates)}, opt_state, loss, output

    def _pure_measure(self, params, x, y):
        loss, _, output = self._run(params, x, y)  # the gradients are unused, so XLA leaves them out
        return loss, output

    def _trained(self, params) -> dict:
        return {n: params[n] for n in self.derivation.gradients}

    # -- training ------------------------------------------------------------------------------------------------------

    def fit(self, X, Y, batch_size: int = 32, epochs: int = 1, validation_data=None, validation_split: float = 0.0,
            verbose: bool = True) -> dict[str, list[float]]:
        """Train for some epochs; each takes every example once, in a seeded order.

        Parameters
        ----------
        X : array (N, ...)
            Examples of the model's input shape; converted to float32.
        Y : array
            Targets that fit the loss.
        batch_size, epochs : int
            The last batch of an epoch may be smaller.
        validation_data : tuple (X, Y), optional
            Measured after every epoch, as ``val_loss`` and so on.
        validation_split : float, optional
            Hold out this share of X and Y instead, chosen by the seed.
        verbose : bool
            Show the progress.

        Returns
        -------
        dict of str to list
            One number an epoch: ``loss`` and the metrics (as seen while training), ``val_...``, ``seconds``.

        Raises
        ------
        InputError
            For data that does not fit: shapes, dtypes, NaN (with the first position), labels out of range.
        NumericsError
            When the loss is no longer finite.
        """
        batch_size, epochs = _whole(batch_size, "batch_size"), _whole(epochs, "epochs")
        if validation_split and validation_data is not None:
            raise InputError("fit: give validation_data or validation_split, not both")
        if validation_split:
            (X, Y), validation_data = data.split(X, Y, validation_split, self.seed)
        x, y = self._checked(X, Y)
        held_out = None if validation_data is None else self._checked(*_pair(validation_data), "validation ")
        history: dict[str, list[float]] = {}
        with Progress(epochs, -(-len(x) // batch_size), verbose) as progress:
            for _ in range(epochs):
                row = self._epoch(x, y, batch_size, progress)
                if held_out is not None:
                    row |= {f"val_{n}": v for n, v in self._measured(*held_out, batch_size).items()}
                row["seconds"] = row.pop("seconds")
                for name, value in row.items():
                    history.setdefault(name, []).append(value)
                    self.history.setdefault(name, []).append(value)
                progress.epoch(row)
        return history

    def _epoch(self, x, y, batch_size, progress) -> dict[str, float]:
        start = time.perf_counter()
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(x))
        losses, outputs = [], []
        params, state = self.params, self.opt_state
        for first in range(0, len(x), batch_size):
            rows = order[first:first + batch_size]
            params, state, loss, output = self._step(params, state, x[rows], y[rows])
            losses.append(loss)
            if self.metrics:
                outputs.append(output)
            progress.step()
        counts = [min(batch_size, len(x) - first) for first in range(0, len(x), batch_size)]
        total = float(np.average(np.asarray(losses, np.float64), weights=counts))
        if not np.isfinite(total):
            raise NumericsError(f"fit: the loss became {total} in epoch {self.epoch + 1}; the parameters are those "
                                f"before it. Lower the learning rate, or scale the inputs")
        self.params, self.opt_state, self.epoch = params, state, self.epoch + 1
        row = {"loss": total}
        if self.metrics:
            row |= self._metrics(y[order], np.concatenate([np.asarray(o) for o in outputs]))
        return {**row, "seconds": time.perf_counter() - start}

    def _metrics(self, y, outputs) -> dict[str, float]:
        return {name: measure(y, outputs, self.loss) for name, measure in self.metrics.items()}

    def _checked(self, X, Y, which=""):
        x = self._examples(X, f"{which}X")
        target, output = self.model.shape(self._target), self.model.shape(self.model.output)
        y = data.check_target(Y, self.loss, target[1:], int(output[-1]), f"{which}Y")
        if len(x) != len(y):
            raise InputError(f"{which}X has {len(x)} examples and {which}Y {len(y)}")
        return x, y

    def _examples(self, X, name="X"):
        given, shape = self.model.input, self.model.shape(self.model.input)[1:]
        if given.dtype == "int":
            return data.check_tokens(X, shape, self.model.training.built.number(given.below), name)
        return data.check_examples(X, shape, name)

    # -- use -----------------------------------------------------------------------------------------------------------

    def evaluate(self, X, Y, batch_size: int = 256) -> dict[str, float]:
        """The loss and the metrics on other data; nothing is trained."""
        return self._measured(*self._checked(X, Y), _whole(batch_size, "batch_size"))

    def _measured(self, x, y, batch_size) -> dict[str, float]:
        losses, outputs, counts = [], [], []
        for first in range(0, len(x), batch_size):
            part = slice(first, first + batch_size)
            loss, output = self._measure(self.params, x[part], y[part])
            losses.append(float(loss))
            outputs.append(np.asarray(output))
            counts.append(len(output))
        return {"loss": float(np.average(losses, weights=counts)), **self._metrics(y, np.concatenate(outputs))}

    def predict(self, X, batch_size: int = 256) -> np.ndarray:
        """The model's outputs (N, ...), float32: for a model that ends in logits, logits."""
        x = self._examples(X)
        batch_size = _whole(batch_size, "batch_size")
        return np.concatenate([np.asarray(self._forward(self.params, x[first:first + batch_size]))
                               for first in range(0, len(x), batch_size)])

    def freeze(self, *names: str) -> Trainer:
        """Train these layers (or single parameters) no longer: the gradients of the rest are derived again.

        What the optimizer has gathered for the rest is kept.
        """
        was = set(self.derivation.gradients)
        self._derive((*self.frozen, *(n for n in names if n not in self.frozen)))
        self.opt_state = _narrowed(self.opt_state, was, set(self.derivation.gradients))
        return self

    def save(self, folder):
        """Write everything needed to go on training into a folder; see :mod:`numerics.checkpoint`."""
        from .checkpoint import save
        return save(self, folder)

    def __repr__(self):
        return f"<Trainer of {self.model.name}: {self.epoch} epochs, loss {self.loss.name}>"


def _unfixed(derivation, sizes: dict) -> dict:
    """The sizes that no array's own axis fixes; the others stay symbolic, so that one program serves any."""
    axes = {a for t in derivation.program.inputs for a in t.axes}
    used = {s.name for s in derivation.program.sizes()}
    return {n: v for n, v in sizes.items() if n in used and Size(n) not in axes}


def _narrowed(state, was: set, now: set):
    """An optimizer's state with the entries of frozen parameters left out of every dict of parameters."""
    def is_params(node):
        return isinstance(node, dict) and set(node) == was

    return jax.tree.map(lambda node: {n: v for n, v in node.items() if n in now} if is_params(node) else node, state,
                        is_leaf=is_params)


def _whole(value, what: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
        raise InputError(f"fit: {what} is {value!r}; accepted is a whole number above 0")
    return int(value)


def _pair(given):
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise InputError("fit: validation_data is a pair (X, Y)")
    return given
