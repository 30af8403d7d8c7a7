"""Transfer learning: a trained network with another head."""

from __future__ import annotations

from numerics.errors import NumericsError

from .trainer import Trainer


def transfer(
    trained: Trainer, head, loss=None, optimizer=None, after: str | None = None, freeze: bool = True, **options
) -> Trainer:
    """A trainer of the same network with another head; what stays keeps its weights and running averages.

    Parameters
    ----------
    trained : Trainer
        Such as one that :func:`numerics.load` gave; it is not changed.
    head : layer or sequence of layers
        Instead of everything from the last layer with parameters on, or of all that comes after the layer ``after``.
    loss, optimizer
        As for :class:`Trainer`; the loss is that of ``trained`` where none is given.
    freeze : bool
        Whether what stays is frozen: then only the head's gradients are derived and computed.
    **options
        Of :class:`Trainer`: ``metrics``, ``seed``, ``learning_rate`` ...

    Returns
    -------
    Trainer
        ``unfreeze("dense_2")`` trains a layer again, at a lower rate if ``learning_rate`` is set lower.

    References
    ----------
    Yosinski, Clune, Bengio, Lipson, *How transferable are features in deep neural networks?*, NeurIPS 2014.

    >>> import derive as dv, optax
    >>> from derive import layers as L
    >>> old = dv.Sequential([L.Dense(8, activation="relu"), L.Dense(5)], input_shape=(4,))
    >>> t = transfer(Trainer(old, "sparse_softmax_cross_entropy", optax.adam(1e-2)), L.Dense(3), optimizer=optax.sgd(0.1))
    >>> t.frozen, list(t.derivation.gradients)
    (('dense_1',), ['head_1_kernel', 'head_1_bias'])
    """
    if not isinstance(trained, Trainer):
        raise NumericsError(f"transfer: takes a trainer, as nx.load gives it; it was given {type(trained).__name__}")
    model = trained.model.with_head(head, after)
    new = Trainer(model, trained.loss if loss is None else loss, optimizer, **options)
    old = {p.name for p in trained.model.layers}
    stays = list(dict.fromkeys(p.name for p in model.layers if p.name in old))
    new.params = {n: trained.params[n] if model.parameters[n].layer in old else a for n, a in new.params.items()}
    new.state = {n: trained.state[n] if model.state[n].layer in old else a for n, a in new.state.items()}
    if freeze:
        new.freeze(*(n for n in stays if any(p.layer == n for p in model.parameters.values())))
    return new
