"""``nx.Trainer``: a network trained with its derived gradients and an optax optimizer; no autodiff in the step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from html import escape

import jax
import numpy as np

from derive.language.printing import html_table
from numerics.data import examples as data
from numerics.data import metrics as measures
from numerics.errors import InputError, NumericsError
from numerics.kernel.store import Store

from . import habits, saving, use
from . import optimizer as optimizers
from .base import TrainerBase
from .examples import Examples, check_examples
from .fit import Part
from .fitting import Asked, batches_of, columns, fitted
from .freezing import left
from .init import draw, init, on_device
from .labels import Labels
from .placement import placed_on
from .programs import Memory, Programs
from .source import Arrays


class Trainer(TrainerBase):
    r"""Trains a network by the gradients derived from its definitions.

    .. math:: \theta_{n+1} = \theta_n + \mathrm{update}\big(\nabla_\theta L(\theta_n)\big)

    The step is the generated program (``kernel.fn``) and the optimizer's update, jitted together.  Dropout masks are
    drawn for every step, from the seed and the number of the step; running averages and the states that recurrent
    layers carry go from one step to the next.  ``evaluate`` and ``predict`` run the network in use: without dropout,
    with the running averages.

    Parameters
    ----------
    model : derive.Model or derive.Sequential
    loss : str, derive.networks.losses.Loss, callable, or dict of output name to one of these
        A name of :mod:`derive.networks.losses`, or your own ``(output, y) -> scalar expression``.
    optimizer : optax.GradientTransformation, str, a function that makes one of ``learning_rate``, or None
        Such as ``optax.adam(1e-3)``; ``"adam"``, with Keras's learning rate; or ``optax.adam`` with
        ``learning_rate=1e-3``.  Without one the trainer evaluates and predicts.
    metrics : sequence of str or callable, or dict of output name to such
        ``"accuracy"`` and others of :mod:`numerics.data.metrics`, or functions ``(y, outputs) -> float``.
    seed : int
        Of the initial parameters, the order of the batches, the masks and the augmentation.
    loss_weights : dict of output name to number, optional
    learning_rate : float or schedule ``step -> rate``, optional
        Then the rate is shown and kept in the history; a number can be changed: ``trainer.learning_rate = 1e-4``.
    clip_norm : float, optional
        Scale gradients down to this common norm.
    accumulate : int
        Update once in so many batches, with the mean of their gradients.
    cache : path-like, False or None
        The folder in which a later process finds the program of the same network, and derives nothing; False keeps nothing.
        By default the one that ``DERIVE_CACHE`` names ("off": none), else ``derive`` in the user's cache folder.
    mesh : jax.sharding.Mesh, optional
        The devices to train on; batches are split along its axis "data" or "batch", else along its first.
    shardings : "full" or dict of str to PartitionSpec, optional
        Without it parameters are on every device of the mesh; "full": each is split, with what the optimizer keeps of it;
        or by names and patterns, as ``{"*_kernel": PartitionSpec(None, "model")}``, see :mod:`numerics.training.placement`.
    native : bool
        Loops in C for equations over the same rows, on one CPU, as :func:`numerics.compile` has them.

    Attributes
    ----------
    params : dict of str to jax.Array
        By name, as ``dense_1_kernel``; frozen ones too.
    state, carried : dict of str to jax.Array
        Running averages; what recurrent layers carry from batch to batch, zeros at the start of an epoch.
    derivation, kernel
        What is trained with: the derivation, and its compiled program.
    forward : Kernel
        From the inputs to the outputs, in use.
    history : dict of str to list
        Of all epochs so far: ``loss``, the metrics, ``val_loss`` ..., ``seconds``.
    classes : tuple of str
        Where the targets were words: class k is ``classes[k]``.
    frozen : tuple of str
    epoch, step : int
        How many epochs and steps have been trained.
    stop : bool
        Set it, from a callback, to end the fit.

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

    @habits.told(habits.TRAINER)
    def __init__(
        self,
        model,
        loss,
        optimizer=None,
        metrics=(),
        seed: int = 0,
        loss_weights: dict | None = None,
        learning_rate=None,
        clip_norm: float | None = None,
        accumulate: int = 1,
        cache=None,
        mesh=None,
        shardings=None,
        native: bool = False,
    ):
        if native and mesh is not None:
            raise NumericsError(
                "Trainer(native=True, mesh=...): loops in C see whole arrays of one device; leave out one of them"
            )
        self.native = native
        self.optimizer = optimizers.build(optimizer, learning_rate, clip_norm, accumulate)
        self.model, self.seed, self.loss_weights = model, seed, loss_weights
        self.losses = model.losses(loss)
        self.metrics = measures.by_output(metrics, self.losses)
        self.frozen: tuple[str, ...] = ()
        self.epoch, self.step, self.stop = 0, 0, False
        self.rows: list[dict] = []
        self.part: Part | None = None
        self.labels = Labels()
        self.class_weight: np.ndarray | None = None
        self.fitted_size: int | None = None  # of the batches of the latest fit
        self._latest: tuple[Memory, dict, int] | None = None
        self._store = Store.of(cache)
        self.placement = placed_on(mesh, shardings, model, self.losses)
        self._derive((), self.losses)
        params = init(model, seed)
        state = on_device({s.name: np.asarray(draw(s, seed), np.float32) for s in model.state.values()})
        gathered = () if self.optimizer is None else optimizers.started(self.optimizer, self.programs.trained(params))
        self.memory = Memory(params, gathered, state, {})

    def __getattr__(self, name: str):
        raise habits.missing(name)

    def _derive(self, frozen, losses):
        """Derive and compile; nothing changes if that fails."""
        programs = Programs(
            self.model, losses, self.loss_weights, tuple(frozen), self.seed, self._store, self.placement, self.native
        )
        programs.kernel  # noqa: B018  derived now: what cannot be trained is told here
        self.programs, self.losses, self.frozen = programs, losses, tuple(frozen)
        self._steps: dict[Programs, Callable] = {}

    # -- training ------------------------------------------------------------------------------------------------------

    @habits.told(habits.FIT)
    def fit(
        self,
        X,
        Y=None,
        batch_size: int | None = None,
        epochs: int = 1,
        steps_per_epoch: int | None = None,
        validation_data=None,
        validation_split: float = 0.0,
        callbacks=(),
        sample_weight=None,
        class_weight=None,
        shuffle: bool = True,
        drop_last: bool = False,
        augment=None,
        checkpoint=None,
        checkpoint_every: int | None = None,
        resume: bool = False,
        verbose: bool = True,
    ) -> dict[str, list[float]]:
        """Train for some epochs; each takes every example once, in a seeded order.

        Parameters
        ----------
        X : array (N, ...), or a dict or tuple of them; or an iterable of batches
            Examples of the model's input shapes; converted to float32.  Masks are inputs like others.  Without ``Y``: a
            list, generator, ``DataLoader`` or function that gives one, of batches (x, y) or (x, y, sample_weight).
        Y : array, or a dict or tuple of them
            Targets that fit the losses.  Words are numbered in alphabetical order, see ``trainer.classes``.
        batch_size, epochs : int
            The last batch of an epoch may be smaller (unless ``drop_last``); 32, or all there are.
        steps_per_epoch : int, optional
            Of an iterable: how many of its batches are an epoch; all, where it is not given.
        validation_data : tuple (X, Y) or (X, Y, sample_weight), or an iterable of batches, optional
            Measured after every epoch, as ``val_loss`` and so on.
        validation_split : float, optional
            Hold out this share of X and Y instead, chosen by the seed, each class in proportion.
        callbacks : sequence of Callback
            See :mod:`numerics.training.callbacks`.
        sample_weight : array (N,), optional
            Multiplies the loss of each example.
        class_weight : array (K,), dict of class to number, or "balanced", optional
            Multiplies the loss of each class, from now on; balanced: N / (K times how often it occurs).
        shuffle : bool
            A model that carries its state is never shuffled: batches are taken in order, see ``nx.windows``.
        augment : callable, optional
            ``(x, generator) -> x`` on a batch of inputs, on the host, with a seeded NumPy generator.
        checkpoint : path-like, optional
            A folder that is written after every epoch, so that the process may end at any moment.
        checkpoint_every : int, optional
            Write it also after so many steps.
        resume : bool
            Go on with the run in that folder, to the bit as if it had not been interrupted; begin where there is none.
            Give the same data and arguments.
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
        NotFiniteError
            When the loss is no longer finite: names the step, the layer, the equation and the term.

        Warns
        -----
        TrainingWarning
            Of a layer that no longer learns, see :class:`numerics.training.watch.Watch`; of inputs that nobody scaled.
        """
        asked = Asked(
            X,
            Y,
            batch_size,
            epochs,
            steps_per_epoch,
            validation_data,
            validation_split,
            callbacks,
            sample_weight,
            class_weight,
            shuffle,
            drop_last,
            augment,
            checkpoint,
            checkpoint_every,
            resume,
            verbose,
        )
        start = fitted(self, asked)
        return habits.Curves(columns(self.rows[start:]))

    def weigh(self, sample_weight, class_weight, Y) -> None:
        """A loss that has no weights gets them when weights are given: derived again."""
        wanted = {"sample_weight": sample_weight is not None, "class_weight": class_weight is not None}
        new = {
            n: one.with_options(**{k: True for k, w in wanted.items() if w and not getattr(one, k)})
            for n, one in self.losses.items()
        }
        if new != self.losses:
            self._derive(self.frozen, new)
        if class_weight is not None:
            if len(self.losses) > 1:
                raise InputError("fit: class_weight is for a model with one output")
            self.class_weight = data.check_class_weight(class_weight, self._classes(), Y, self.loss)

    def checked(self, X, Y, sample_weight=None, which="") -> Examples:
        """Arrays by name, of shapes, dtypes and ranges that fit."""
        model = use.fitting(self, X, which).model
        return check_examples(model, self.losses, X, self.labels.numbers(Y), sample_weight, which)

    # -- use -----------------------------------------------------------------------------------------------------------

    @habits.told(habits.USE)
    def evaluate(self, X, Y=None, batch_size: int | None = None, sample_weight=None) -> dict[str, float]:
        """The loss and the metrics on other data, arrays or an iterable of batches (x, y); nothing is trained, and the
        network is as in use."""
        if Y is None:
            return use.evaluated(self, batches_of(self, X, "evaluate"))
        examples = self.checked(X, Y, sample_weight)
        size = use.use_size(self, batch_size, len(examples), "evaluate")
        return use.evaluated(self, Arrays(self, examples, size, shuffle=False))

    @habits.told(habits.USE)
    def predict(self, X, batch_size: int | None = None):
        """The model's outputs (N, ...), float32: for a model that ends in logits, logits; several are a dict.

        ``X`` is arrays as in :meth:`fit`, or an iterable of batches, of which targets are left aside.
        """
        return use.predicted(self, X, batch_size)

    # -- looking inside ------------------------------------------------------------------------------------------------

    def explain(self, X=None, Y=None):
        """Layer by layer the equation of each gradient, the lines of source that compute it, and its size on a batch.

        Without examples, on the batch of the latest step.  ``print`` shows text; notebooks a page; ``as_dict`` data.

        >>> import derive as dv, numpy as np, optax
        >>> from derive import layers as L
        >>> t = Trainer(dv.Sequential([L.Dense(2)], input_shape=(3,)), "mean_squared_error", optax.sgd(0.1))
        >>> row = t.explain(np.ones((4, 3)), np.zeros((4, 2))).row("dense_1_kernel")
        >>> print(row.equation, "|", *row.lines)
        d_dense_1_kernel[i,j] = sum_b x[b,i] dz1[b,j] | d_dense_1_kernel = x.T @ dz1
        """
        from .watch import explain

        return explain(self, X, Y)

    def diagnose(self, X=None, Y=None):
        """What is wrong on a batch, by the program's equations evaluated term by term: values that are not finite, units
        that are dead or saturated, layers whose gradient vanishes; each with its layer, equation and term.

        Without examples, on the batch of the latest step; ``.ok`` where nothing is found.
        """
        from .watch import diagnose

        return diagnose(self, X, Y)

    def summary(self):
        """The table of layers, with what is frozen now; it shows itself and prints."""
        return self.model.summary(self.frozen)

    # -- freezing ------------------------------------------------------------------------------------------------------

    def freeze(self, *names: str) -> Trainer:
        """Train these layers (or single parameters) no longer: the gradients of the rest are derived again.

        What the optimizer has gathered for the rest is kept.  A frozen batch normalization normalizes with its running
        averages, and keeps them.
        """
        return self._frozen((*self.frozen, *(n for n in names if n not in self.frozen)))

    def unfreeze(self, *names: str) -> Trainer:
        """Train these layers (or parameters) again, or all: their gradients are derived again, their optimizer's state
        starts afresh."""
        return self._frozen(left(self.model, self.frozen, names))

    def _frozen(self, frozen) -> Trainer:
        was = self.programs.trained(self.params)
        self._derive(frozen, self.losses)
        now = self.programs.trained(self.params)
        if self.optimizer is not None:
            self._put(opt_state=optimizers.regrafted(self.optimizer, self.opt_state, was, now))
        return self

    # -- files ---------------------------------------------------------------------------------------------------------

    def __copy__(self) -> Trainer:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo) -> Trainer:
        """Another trainer at the same place, which goes its own way; the programs, which never change, are shared."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._memory = jax.tree_util.tree_map(lambda a: a, self.memory)  # arrays are never written to, dicts may be
        for name in ("rows", "part", "class_weight", "metrics", "loss_weights", "labels"):
            setattr(made, name, copy.deepcopy(getattr(self, name), memo))
        return made

    def __reduce_ex__(self, protocol):
        raise NumericsError(
            "a Trainer is not pickled: t.save(folder) writes it, and nx.load(folder, optimizer) reads it"
        )

    def save(self, folder):
        """Write everything needed to go on training into a folder; see :mod:`numerics.training.saving`."""
        return saving.save(self, folder)

    def _repr_html_(self):
        """The layers and, of every curve in the history, its first and last value."""
        rows = [(name, f"{c[0]:.6g}", f"{c[-1]:.6g}") for name, c in self.history.items() if c]
        curves = (
            html_table(("after epoch", "1", str(self.epoch)), rows, repr(self))
            if rows
            else f"<p>{escape(repr(self))}</p>"
        )
        return f"<div>{curves}{self.model._repr_html_()}</div>"

    def __repr__(self):
        losses = ", ".join(one.name for one in self.losses.values())
        return f"<Trainer of {self.model.name}: {self.epoch} epochs, loss {losses}>"
