"""Steps of your own: several players, each with a loss, parameters and an optimizer, trained on the same batches.

A player is a derivation and what it may change; other tensors that its loss reads, the other players' parameters among
them, are inputs.  A step is a function that says whose turn it is::

    def step(turn, batch, generator):                    # two steps of the critic for one of the generator
        for _ in range(2):
            turn("critic", {**batch, "z": generator.normal(size=(32, 2))})
        turn("generator", {"z": generator.normal(size=(32, 2))})

    params, history = nx.play({"critic": nx.Player(d_critic, optax.adam(1e-3)),
                               "generator": nx.Player(d_generator, optax.adam(1e-4))}, params, {"x": X}, step)

A player is a model and its loss as well.  Models that are called on one another have their parameters by the names that
they were given, so that every player reads the newest of all::

    generator = dv.Sequential([L.Dense(32, activation="relu"), L.Dense(1)], input_shape=(2,), name="generator")
    critic = dv.Sequential([L.Dense(32, activation="relu"), L.Dense(1)], input_shape=(1,), name="critic")
    real = dv.Input((1,), name="real")
    judged = dv.Model([real, generator.input], {"real": critic(real), "fake": critic(generator.output)})
    forged = dv.Model(generator.input, critic(generator.output))
    loss = "sigmoid_binary_cross_entropy"
    players = {"critic": nx.Player(judged, optax.adam(1e-3), loss={"real": loss, "fake": loss}, frozen="generator"),
               "generator": nx.Player(forged, optax.adam(1e-3), loss=loss, frozen="critic")}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from derive.derivation.derivation import Derivation
from derive.networks.model import Model
from numerics.errors import InputError, NumericsError
from numerics.kernel.compile import compile
from numerics.kernel.xla import outermost

from . import optimizer as optimizers
from .examples import one_length, order_of, slices
from .optimizer import whole
from .programs import unfixed


class Player:
    """A derived program, the parameters that it is differentiated for, and an optimizer.

    Parameters
    ----------
    derivation : Derivation or derive.Model
        Of ``dv.backprop(loss, wrt=own)`` or ``model.backprop(loss)``; it trains what it is differentiated for.  A model,
        with its ``loss``: its targets are arrays of the batch like its inputs, ``y``, or ``y_<output>`` of several outputs.
    optimizer : optax.GradientTransformation
    sizes : dict, optional
        Sizes that no array fixes, by name; a model has its own.
    loss : str, derive.networks.losses.Loss, callable, or dict of output name to one of these, optional
        Of a model.
    frozen : str or sequence of str
        Of a model: what the other players train, models that were called in it, layers or parameters.
    loss_weights : dict of output name to number, optional
        Of a model of several outputs.

    Attributes
    ----------
    own : tuple of str
        The names of its parameters.
    kernel : Kernel
    """

    def __init__(
        self,
        derivation: Derivation | Model,
        optimizer,
        sizes=None,
        loss=None,
        frozen: str | Sequence[str] = (),
        loss_weights: dict | None = None,
    ):
        if isinstance(derivation, Model):
            derivation, sizes = _of_model(derivation, loss, frozen, loss_weights, sizes)
        elif loss is not None or frozen or loss_weights:
            raise NumericsError("Player: loss, frozen and loss_weights are those of a model; a derivation has its own")
        if not isinstance(derivation, Derivation) or derivation.kind != "backprop":
            raise NumericsError(
                f"Player: takes a derivation of dv.backprop(loss, wrt=own parameters), or a model with loss=; it was given "
                f"{getattr(derivation, 'kind', type(derivation).__name__)}"
            )
        self.kernel, self.optimizer = compile(derivation, sizes, xla=True), optimizers.build(optimizer)
        self.own = tuple(derivation.gradients)
        self._turn = outermost(self._pure, self.kernel.compiler_options)

    def start(self, params: dict):
        """The optimizer's state before the first turn."""
        return optimizers.started(self.optimizer, {n: params[n] for n in self.own})

    def _pure(self, params, state, batch):
        import optax

        every = {**params, **batch}
        loss, gradients, *_ = self.kernel.fn(*[every[t.name] for t in self.kernel.inputs])
        own = {n: params[n] for n in self.own}
        updates, state = self.optimizer.update(gradients, state, own)
        return optax.apply_updates(own, updates), state, loss

    def turn(self, params: dict, state, batch: dict):
        """``(own parameters, state, loss)`` after one update; ``params`` has those of all players."""
        missing = [t.name for t in self.kernel.inputs if t.name not in params and t.name not in batch]
        if missing:
            raise InputError(
                f"Player: its program reads {', '.join(missing)}, which is neither a parameter nor in the "
                f"batch; there are {', '.join([*params, *batch])}"
            )
        reads = {t.name for t in self.kernel.inputs}
        return self._turn(
            {n: a for n, a in params.items() if n in reads or n in self.own},
            state,
            {n: a for n, a in batch.items() if n in reads},
        )


def _of_model(model: Model, loss, frozen, weights, sizes) -> tuple[Derivation, dict]:
    """The derivation of a model's loss for what is not frozen, and the sizes that no array fixes."""
    if loss is None:
        raise NumericsError(
            f"Player: {model.name} is a model; give its loss, as in nx.Player(model, optimizer, loss=...)"
        )
    for what, found in (("draws masks", model.random), ("keeps averages", model.state), ("carries", model.carried)):
        if found:
            raise NumericsError(
                f"Player: {model.name} {what} ({', '.join(found)}), which play does not hand from turn to turn; accepted "
                f"are models without dropout, running averages and carried states"
            )
    derivation = model.backprop(loss, frozen=frozen, weights=weights)
    return derivation, unfixed(derivation, model.sizes) if sizes is None else sizes


def play(
    players: dict[str, Player],
    params: dict,
    examples: dict,
    step: Callable,
    batch_size: int = 32,
    epochs: int = 1,
    seed: int = 0,
) -> tuple[dict, dict[str, list[float]]]:
    """Train several players, each on its own loss.

    Parameters
    ----------
    players : dict of str to Player
        No two of them train the same parameter.
    params : dict of str to array
        The first parameters of all of them.
    examples : dict of str to array (N, ...)
        Taken in a seeded order; every batch has ``batch_size`` of them, what is left over is dropped.
    step : callable
        ``(turn, batch, generator)``: calls ``turn(name, arrays)``, which updates that player's parameters with the newest
        parameters of all and returns its loss; ``generator`` is a seeded NumPy generator.

    Returns
    -------
    params : dict
    history : dict of str to list
        For each player, the mean loss of its turns in each epoch.

    Examples
    --------
    Two numbers, u * v: one player wants it small, the other large.

    >>> import derive as dv, optax
    >>> u, v, x = dv.tensor("u"), dv.tensor("v"), dv.tensor("x", dv.index("b"))
    >>> value = dv.define("value", (), u * v + dv.Sum(x[x.letters], *x.letters) * 0)
    >>> down, up = dv.backprop(value, wrt=[u]), dv.backprop(dv.define("loss", (), -value), wrt=[v])
    >>> params, _ = play({"down": Player(down, optax.sgd(0.5)), "up": Player(up, optax.sgd(0.5))},
    ...                  {"u": 1.0, "v": 1.0}, {"x": np.zeros(4)},
    ...                  lambda turn, batch, generator: (turn("down", batch), turn("up", batch)), batch_size=4)
    >>> float(params["u"]), float(params["v"])
    (0.5, 1.25)
    """
    owners: dict[str, str] = {}
    for name, player in players.items():
        for n in player.own:
            if n in owners:
                raise NumericsError(f"play: {owners[n]} and {name} both train {n}; a parameter belongs to one player")
            if n not in params:
                raise InputError(f"play: params lacks {n}, which {name} trains")
            owners[n] = name
    count, size = one_length(examples), whole(batch_size, "batch_size", "play")
    if size > count:
        raise InputError(f"play: batch_size is {size}, but there are {count} examples")
    params = {n: jnp.asarray(a, jnp.float32) for n, a in params.items()}
    examples = {n: np.asarray(a) for n, a in examples.items()}
    states = {name: player.start(params) for name, player in players.items()}
    history: dict[str, list[float]] = {name: [] for name in players}
    for epoch in range(whole(epochs, "epochs", "play")):
        losses: dict[str, list] = {name: [] for name in players}

        def turn(name: str, batch: dict, losses=losses):
            if name not in players:
                raise InputError(f"play: there is no player {name!r}; there are {', '.join(players)}")
            arrays = {n: a.astype(np.float32) if np.asarray(a).dtype == np.float64 else a for n, a in batch.items()}
            own, states[name], loss = players[name].turn(params, states[name], arrays)
            params.update(own)
            losses[name].append(loss)
            return loss

        order = order_of(count, seed, epoch, True)
        for number, part in enumerate(slices(count, size, drop_last=True)):
            generator = np.random.default_rng([seed, epoch, number])
            step(turn, {k: a[order[part]] for k, a in examples.items()}, generator)
        for name, found in losses.items():
            history[name].append(float(np.mean(jax.device_get(found))) if found else float("nan"))
            if found and not np.isfinite(history[name][-1]):
                raise NumericsError(
                    f"play: the loss of {name} became {history[name][-1]} in epoch {epoch + 1}; lower its learning rate"
                )
    return params, history
