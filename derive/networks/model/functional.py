"""``dv.Model``: a network as a graph of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from derive.derivation.backprop import backprop
from derive.derivation.derivation import Derivation
from derive.derivation.forward import forward
from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.networks.layers.base import Layer, told
from derive.networks.layers.builder import Carried, Parameter, Random, State
from derive.networks.layers.graph import ordered
from derive.networks.losses import Loss

from . import habits, objective
from .calling import Composable, give_symbols, parts_of
from .connecting import Placed, Plan
from .given import check_graph, input_nodes, layer_names, nodes, only, output_names
from .serialise import graph_from_dict, graph_to_dict, readable
from .summary import Summary, shape_text
from .surgery import Regrown, regrown


class Model(Composable):
    """A network as a graph of layers: several inputs and outputs, shared layers, branches that meet again.

    Parameters
    ----------
    inputs : node or sequence of nodes
        Made by :func:`derive.Input`.
    outputs : node, sequence of nodes, or dict of str to node
        Made by calling layers on symbols; a dict names them, otherwise they are called after their layers.
    name : str

    Attributes
    ----------
    inputs, outputs : dict of str to Tensor
    input, output : Tensor
        Of a model that has one of each.
    parameters : dict of str to Parameter
        Name to shape, initializer, layer, and whether it is trained.
    state : dict of str to State
        What training returns anew at every step (running averages), with its first value and its update.
    carried : dict of str to Carried
        States (B, units) that recurrent layers take from the call before, with their values after this one.
    random : dict of str to Random
        Inputs of zeros and ones that are drawn for every training step (dropout masks).
    sizes : dict of str to int
        What the symbolic sizes of the layers are bound to, for ``nx.compile(d, sizes=model.sizes)``.
    layers : tuple of Placed
        In evaluation order; a shared layer stands there once for every call.

    Raises
    ------
    ShapeError, DeriveError
        Naming the layer, what is wrong with it, and what would be accepted.

    Notes
    -----
    Where two branches meet, their sizes are solved for and become one symbol (:mod:`derive.networks.layers.sizes`).
    Layers that behave differently in training (dropout, batch normalization) are connected twice: ``backprop`` uses the
    training definitions, ``forward`` the others.

    >>> from derive import Input, layers as L
    >>> x = Input((8,))
    >>> h = L.Dense(8, activation="relu")(x)
    >>> model = Model(x, L.Dense(3)(L.Add()([x, h])))
    >>> model.summary()
    model: input x (B, 8)
    layer    output  parameters  trainable  initializers
    dense_1  (B, 8)          72  yes        he_normal, zeros
    add_1    (B, 8)           0  -          -
    dense_2  (B, 3)          27  yes        glorot_uniform, zeros
    total                    99  trainable 99, frozen 0
    """

    _shape_said = "Model: an axis of the shape of an Input"  # how messages call it

    def __init__(self, inputs: Any, outputs: Any, name: str = "model"):
        self.name = name
        given = input_nodes(inputs)
        wanted = nodes(list(outputs.values()) if isinstance(outputs, dict) else outputs, "outputs")
        every = tuple(ordered(wanted))
        check_graph(given, every, wanted)
        names = layer_names(every)
        by_name = dict(zip(outputs, wanted, strict=True)) if isinstance(outputs, dict) else output_names(wanted, names)
        self._plan = Plan(name, given, every, names, by_name, self._shape_said, parts_of(every, names))
        self.training, self.inference = self._plan.connect()
        give_symbols(self)
        habits.tell_unflattened(self)

    def __getattr__(self, name: str) -> Any:
        raise habits.missing(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        habits.set_elsewhere(name)
        super().__setattr__(name, value)

    # -- what it consists of -----------------------------------------------------------------------------------------

    @property
    def inputs(self) -> dict[str, Tensor]:
        return dict(self.training.inputs)

    @property
    def outputs(self) -> dict[str, Tensor]:
        return dict(self.training.outputs)

    @property
    def input(self) -> Tensor:
        return only(self.inputs, self.name, "input")

    @property
    def output(self) -> Tensor:
        return only(self.outputs, self.name, "output")

    @property
    def layers(self) -> tuple[Placed, ...]:
        return self.training.layers

    @property
    def parameters(self) -> dict[str, Parameter]:
        return dict(self.training.built.parameters)

    @property
    def state(self) -> dict[str, State]:
        return dict(self.training.built.state)

    @property
    def random(self) -> dict[str, Random]:
        return dict(self.training.built.random)

    @property
    def carried(self) -> dict[str, Carried]:
        return dict(self.training.built.carried)

    @property
    def sizes(self) -> dict[str, int]:
        return dict(self.training.built.sizes)

    def shape(self, t: Tensor) -> tuple:
        """The shape of a tensor of the network: numbers, and ``B`` for the batch."""
        return tuple(a if a.free_symbols == {Size("B")} else self.training.built.number(a) for a in t.axes)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of one example of an input, an output or a layer's output, by name."""
        found = {**{p.name: p.output for p in self.layers}, **self.inputs, **self.outputs}
        if name not in found:
            raise DeriveError(f"{self.name} has no {name!r}{did_you_mean(name, found)}; it has {', '.join(found)}")
        return self.shape(found[name])[1:]

    def layer(self, name: str) -> Placed:
        """A layer by its name."""
        for placed in self.layers:
            if placed.name == name:
                return placed
        known = [*(p.name for p in self.layers if not p.shared), *self._plan.parts]
        raise DeriveError(f"{self.name} has no layer {name!r}{did_you_mean(name, known)}; it has {', '.join(known)}")

    def trainable(self, frozen: str | Sequence[str] = ()) -> list[Parameter]:
        """The parameters to differentiate for; ``frozen`` names layers, models or parameters to leave out."""
        left_out: set[str] = set()
        for name in (frozen,) if isinstance(frozen, str) else frozen:
            left_out |= self.parameters_of(name)
        return [p for p in self.parameters.values() if p.trainable and p.name not in left_out]

    def parameters_of(self, name: str) -> set[str]:
        """The names of the parameters of a layer, or of a model that was called in this one; a parameter's own name."""
        if name in self.parameters:
            return {name}
        return {p.name for layer in self._plan.parts.get(name, (name,)) for p in self.layer(layer).parameters}

    def still(self, frozen: str | Sequence[str] = ()) -> frozenset[str]:
        """Layers with running averages of which nothing is trained: they keep the averages and normalize with them."""
        given = (frozen,) if isinstance(frozen, str) else frozen
        named = {layer for name in given for layer in self._plan.parts.get(name, (name,))}
        moving = {p.layer for p in self.trainable(frozen)}
        left = {p.layer for p in self.parameters.values()} - moving
        return frozenset(s.layer for s in self.state.values() if s.layer in left | named)

    def _held(self, still: frozenset) -> Model:
        """This network with some layers as in use."""
        if not still:
            return self
        made = object.__new__(type(self))
        vars(made).update(vars(self))  # not copy(), which gives a network itself: nothing of it changes once it is made
        made.training, _ = self._plan.connect(still)
        return made

    # -- what it is for ----------------------------------------------------------------------------------------------

    def losses(self, loss: Any) -> dict[str, Loss]:
        """The loss of each output, by output; one loss stands for the only output."""
        return objective.losses(self, loss)

    def target(self, loss: Any) -> Tensor:
        """The input ``y`` that a loss needs: its shape, dtype, declared range and facts."""
        return objective.fitting(self, loss, self.output).target_tensor(self.output)

    def targets(self, loss: Any) -> dict[str, Tensor]:
        """The targets of a model with several outputs, by output: inputs ``y_<output>``."""
        return objective.targets(self, loss)

    def loss(self, loss: Any, weights: Mapping[str, float] | None = None) -> Tensor:
        """The scalar ``loss`` as a definition over the inputs, ``y`` and the parameters.

        With several outputs, ``loss`` is a dict of output name to loss, and the total is their sum, by ``weights``.
        """
        return objective.total(self, loss, weights)

    def backprop(
        self,
        loss: Any,
        frozen: str | Sequence[str] = (),
        explain: bool = False,
        weights: Mapping[str, float] | None = None,
    ) -> Derivation:
        """Derive the gradients of a loss for all trainable parameters; the model's outputs come with them.

        Parameters
        ----------
        loss : str, Loss, callable, or dict of output name to one of these
            A name of :mod:`derive.networks.losses`, or your own ``(output, y) -> scalar expression``.
        frozen : str or sequence of str
            Layers or parameters to leave out.  A frozen batch normalization is as in use: it normalizes with its running
            averages, and keeps them.
        explain : bool
            Print what each pass of the pipeline does.
        weights : dict of output name to number, optional
            Of the losses of several outputs.

        Returns
        -------
        Derivation
            Inputs ``x``, ``y`` and the parameters; results loss, grads by parameter name, and outputs: the model's, and
            the next values of its state.

        >>> from derive import Sequential, layers as L
        >>> d = Sequential([L.Dense(3)], input_shape=(2,)).backprop("mean_squared_error")
        >>> list(d.gradients), list(d.result("outputs"))
        (['dense_1_kernel', 'dense_1_bias'], ['z1'])
        """
        held, total, wrt, outputs = self.asked(loss, frozen, weights)
        d = backprop(total, wrt, outputs=outputs, name=self.name, explain=explain)
        return replace(
            d, network=None if held is not self else (self, self.losses(loss))
        )  # references train everything

    def asked(
        self, loss: Any, frozen: str | Sequence[str] = (), weights: Mapping[str, float] | None = None
    ) -> tuple[Model, Tensor, list[Tensor], list[Tensor]]:
        """What :meth:`backprop` derives from: the network with what is frozen held still, the total loss, the parameters
        that it is differentiated for, and what is computed beside."""
        held = self._held(self.still(frozen))
        wrt = [p.tensor for p in held.trainable(frozen)]
        if not wrt:
            raise DeriveError(f"{self.name} has no trainable parameters left; nothing to differentiate for")
        outputs = dict.fromkeys(
            [
                *held.outputs.values(),
                *(s.update for s in held.state.values() if s.update is not None),
                *(s.update for s in held.carried.values() if s.update is not None),
            ]
        )
        return held, held.loss(loss, weights), wrt, list(outputs)

    def forward(self, layers: Sequence[str] = ()) -> Derivation:
        """The definitions from the inputs to the outputs alone, made numerically safe as for training; for predictions.

        Without dropout, and with the running averages of batch normalization.  Its kernel returns the outputs by name, as
        that of any definitions; where recurrent layers carry their state on, a second result ``carried`` has the states
        after the last step, by the names of the inputs.

        ``layers`` asks for the outputs of these layers, by name, instead of the network's.
        """
        if not isinstance(layers, list | tuple):
            raise DeriveError(
                f"{self.name}.forward() gives definitions, of the layers in a list of names; it was given {told(layers)}; "
                f"nx.compile(model.forward()) runs them, and trainer.predict(X)"
            )
        placed = {p.name: p.output for p in self.inference.layers}
        outputs = {name: placed[self.layer(name).name] for name in layers} or self.inference.outputs
        carried = self._carried_on()
        return forward(outputs, f"{self.name}_forward", carried)

    def evaluation(self, loss: Any, weights: Mapping[str, float] | None = None) -> Derivation:
        """The loss and the outputs of the network in use, nothing differentiated: what held-out data is measured with.

        Without dropout, and with the running averages of batch normalization, as :meth:`forward`; parameters as for
        :meth:`backprop`.  Its kernel returns ``(loss, outputs, carried)``, the last where states are carried.

        >>> from derive import Sequential, layers as L
        >>> d = Sequential([L.Dropout(0.5), L.Dense(3)], input_shape=(2,)).evaluation("mean_squared_error")
        >>> sorted(t.name for t in d.program.inputs), [name for name, _ in d.results]
        (['dense_1_bias', 'dense_1_kernel', 'x', 'y'], ['loss', 'outputs'])
        """
        outputs = self.inference.outputs
        carried = self._carried_on()
        loss = objective.total(self, loss, weights, outputs)
        return forward(outputs, f"{self.name}_evaluation", carried, loss)

    def _carried_on(self) -> dict[str, Tensor]:
        """What the carried states are after a call in use, by the names of the inputs."""
        return {s.name: s.update for s in self.inference.built.carried.values() if s.update is not None}

    def with_head(self, head: Layer | Sequence, after: str | None = None, name: str | None = None) -> Model:
        """The same network up to a layer, and other layers from there on; layers that stay keep their names.

        Parameters
        ----------
        head : layer or sequence of layers
            Those without a name are called ``head_1``, ``head_2``.
        after : str, optional
            The last layer that stays; by default what comes before the last layer with parameters.

        Raises
        ------
        DeriveError
            Where it is not clear what the head is, or a name is taken.

        >>> from derive import Sequential, layers as L
        >>> old = Sequential([L.Dense(8, activation="relu"), L.Dense(5), L.Activation("softmax")], input_shape=(4,))
        >>> [layer.name for layer in old.with_head(L.Dense(3)).layers]
        ['dense_1', 'head_1']
        """
        return self._made_of(regrown(self, head, after), name or self.name)

    @staticmethod
    def _wrote(data: dict) -> bool:
        """Whether a subclass of this class wrote the data and makes the network again."""
        return False

    def _made_of(self, parts: Regrown, name: str) -> Model:
        """A network of this class from the parts of another."""
        return Model(parts.inputs, parts.output, name)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def summary(self, frozen: str | Sequence[str] = ()) -> Summary:
        """The table of layers: output shape, parameters, whether trained, initializers; it shows itself and prints."""
        return Summary(self, self._inputs_text(), frozen)

    def _inputs_text(self) -> str:
        return "input " + ", ".join(f"{name} {shape_text(self, t)}" for name, t in self.inputs.items())

    # -- as data -----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict:
        """The network as plain data (strings, numbers, lists, dicts), for saving as JSON; see :meth:`from_dict`.

        Raises
        ------
        DeriveError
            For layers, activations or initializers that are functions of your own: code is not saved.
        """
        plan = self._plan
        data = graph_to_dict(self.name, plan.inputs, plan.nodes, plan.names, plan.outputs)
        return {**data, "parts": {n: list(p) for n, p in plan.parts.items()}} if plan.parts else data

    @classmethod
    def from_dict(cls, data: dict, layers: Sequence[type[Layer]] = ()) -> Model:
        """The network that :meth:`to_dict` wrote, a Sequential where it was one.

        Layers of your own are written by the names of their classes.  These are looked for among ``layers`` and among the
        subclasses of ``L.Layer`` that are imported already; nothing is imported because a file names it.

        >>> from derive import Sequential, layers as L
        >>> model = Sequential([L.Dense(3, activation="relu")], input_shape=(2,))
        >>> Model.from_dict(model.to_dict()).output == model.output
        True
        """
        with readable():
            return next((c for c in Model.__subclasses__() if c._wrote(data)), Model)._from_dict(data, layers)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Model.from_dict, (self.to_dict(),)

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self  # nothing of it changes once it is made

    @classmethod
    def _from_dict(cls, data: dict, layers: Sequence[type[Layer]] = ()) -> Model:
        made = Model(*graph_from_dict(data, layers), data["name"])
        parts = {name: tuple(inside) for name, inside in data.get("parts", {}).items()}
        made._plan = replace(made._plan, parts=parts)
        return made

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self.layers)} layers, {self.summary().total:,} parameters>"
