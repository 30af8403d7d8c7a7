"""``dv.Model`` and ``dv.Sequential``: networks of layers, put together into forward definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sympy import Add, expand

from .backprop import backprop
from .define import define
from .derivation import Derivation
from .errors import DeriveError, ShapeError
from .finish import finish
from .hints import did_you_mean
from .index import Size, index
from .layers import layer_config, layer_from
from .layers.base import Builder, Carried, Function, Layer, Parameter, Random, State, whole
from .layers.graph import Input, Node, call, ordered
from .layers.sizes import solve
from .losses import Loss
from .losses import loss as find_loss
from .pipeline import run
from .summary import Summary
from .tensor import Tensor, tensor
from .work import Work

IMAGE = {2: (("t", "T"), (None, None)),
         3: (("p", "H"), ("q", "W"), ("c", "C")),
         4: (("d", "D"), ("p", "H"), ("q", "W"), ("c", "C"))}  # letters and sizes of an input's axes, by their number


@dataclass(frozen=True)
class Placed:
    """A layer in its place: its name, what comes out of it and which parameters it reads.

    Attributes
    ----------
    shared : bool
        Whether an earlier place has the same layer, and so the same parameters.
    of : tuple of Tensor
        What goes in.
    """

    name: str
    layer: object
    output: Tensor
    parameters: tuple[Parameter, ...]
    shared: bool = False
    of: tuple[Tensor, ...] = ()

    @property
    def kind(self) -> str:
        return getattr(self.layer, "kind", "function")


@dataclass(frozen=True)
class Graph:
    """The definitions of a network, for training or for use."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    layers: tuple[Placed, ...]
    built: Builder


class Model:
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
    Where two branches meet, their sizes are solved for and become one symbol (:mod:`derive.layers.sizes`).  Layers that
    behave differently in training (dropout, batch normalization) are connected twice: ``backprop`` uses the training
    definitions, ``forward`` the others.

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

    _shape_said = "the shape of an Input"  # how messages call it

    def __init__(self, inputs, outputs, name: str = "model"):
        self.name = name
        self._given = _inputs(inputs)
        wanted = _nodes(list(outputs.values()) if isinstance(outputs, dict) else outputs, "outputs")
        self._nodes = ordered(wanted)
        self._check_graph(wanted)
        self._names = _names([n.layer for n in self._nodes if n.layer is not None])
        self._outputs = dict(outputs) if isinstance(outputs, dict) else self._called(wanted)
        self._put_together()

    def _called(self, nodes) -> dict[str, Node]:
        """Outputs by the names of their layers."""
        found: dict[str, Node] = {}
        for node in nodes:
            name, n = self._names[node.layer], 2
            while name in found:
                name, n = f"{self._names[node.layer]}_{n}", n + 1
            found[name] = node
        return found

    def _check_graph(self, outputs):
        if any(n.layer is None for n in outputs):
            raise DeriveError("Model: an output is an input; there is nothing to compute")
        loose = [n for n in self._nodes if n.layer is None and n not in self._given]
        if loose:
            raise DeriveError(f"Model: the outputs need the input {loose[0].given['name']!r}, which is not among "
                              f"inputs")
        idle = [n for n in self._given if n not in self._nodes]
        if idle:
            raise DeriveError(f"Model: no output depends on the input {idle[0].given['name']!r}")

    def _put_together(self):
        """Define everything; again, with sizes solved for, until all that meets agrees."""
        solved: dict = {}
        known: dict[str, int] = {}
        for _ in range(8):
            self.training = self._graph(Builder(True, solved, known))
            built = self.training.built
            unequal = [(a, b) for a, b in built.equal if expand(a - b) != 0]
            if not unequal:
                self.inference = self._graph(Builder(False, solved, known))
                return
            known |= built.sizes
            new = solve(unequal, known)
            solved = {s: e.xreplace(new) for s, e in solved.items()} | new
        a, b = unequal[0]
        raise ShapeError(f"{self.name}: the sizes {a} and {b} must be one, and no choice of symbols makes them so")

    def _graph(self, new: Builder) -> Graph:
        made: dict[Node, Tensor] = {}
        placed: list[Placed] = []
        inputs: dict[str, Tensor] = {}
        for node in self._given:
            inputs[node.given["name"]] = made[node] = self._input(node, new)
        for node in self._nodes:
            if node.layer is None:
                continue
            name = self._names[node.layer]
            on = [made[n] for n in node.of]
            placed.append(self._place(name, node.layer, on if node.layer.merges else on[0], new,
                                      any(p.layer is _own(node.layer) for p in placed)))
            made[node] = placed[-1].output
        return Graph(inputs, {name: made[n] for name, n in self._outputs.items()}, tuple(placed), new)

    def _input(self, node: Node, new: Builder) -> Tensor:
        shape = node.given["shape"]
        letters = IMAGE.get(len(shape), ((None, None),) * len(shape))
        axes = [new.axis(whole(n, f"{type(self).__name__}: an axis of {self._shape_said} {shape}"), *wish)
                for n, wish in zip(shape, letters, strict=True)]
        below = node.given["below"]
        if isinstance(below, int) and not isinstance(below, bool) and below > 2:  # a size of its own, as axes have
            below = new.axis(below, "v", "V").size
        return tensor(node.given["name"], index("b"), *axes, dtype=node.given["dtype"], below=below)

    def _place(self, name: str, layer: Layer, x, new: Builder, shared: bool) -> Placed:
        new.enter(name, layer.trainable)
        try:
            output = layer.connect(x, new)
        except DeriveError as e:
            if name in str(e):
                raise
            shapes = ", ".join(f"{t.name} of shape {new.shape(t)}" for t in (x if isinstance(x, list) else [x]))
            raise type(e)(f"layer {name}, given {shapes}: {e}") from e
        if output is x and not new.training:  # dropout is absent
            return Placed(name, _own(layer), output, (), shared, (x,))
        if not isinstance(output, Tensor) or output.is_input or None in output.letters:
            raise DeriveError(f"layer {name} gave {output!r}; a layer gives a tensor that it defined, as "
                              f"new.define('h', x.letters, ...)")
        return Placed(name, _own(layer), output, tuple(p for p in new.parameters.values() if p.layer == name), shared,
                      tuple(x) if isinstance(x, list) else (x,))

    # -- what it consists of -----------------------------------------------------------------------------------------

    @property
    def inputs(self) -> dict[str, Tensor]:
        return dict(self.training.inputs)

    @property
    def outputs(self) -> dict[str, Tensor]:
        return dict(self.training.outputs)

    @property
    def input(self) -> Tensor:
        return _only(self.inputs, self.name, "input")

    @property
    def output(self) -> Tensor:
        return _only(self.outputs, self.name, "output")

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
        known = [p.name for p in self.layers if not p.shared]
        raise DeriveError(f"{self.name} has no layer {name!r}{did_you_mean(name, known)}; it has {', '.join(known)}")

    def trainable(self, frozen=()) -> list[Parameter]:
        """The parameters to differentiate for; ``frozen`` names further layers or parameters to leave out."""
        left_out = set()
        for name in (frozen,) if isinstance(frozen, str) else frozen:
            found = {name} if name in self.parameters else {p.name for p in self.layer(name).parameters}
            left_out |= found
        return [p for p in self.parameters.values() if p.trainable and p.name not in left_out]

    # -- what it is for ----------------------------------------------------------------------------------------------

    def target(self, loss) -> Tensor:
        """The input ``y`` that a loss needs: its shape, dtype, declared range and facts."""
        return self._loss(loss, *_first(self._only_output())).target_tensor(self.output)

    def targets(self, loss) -> dict[str, Tensor]:
        """The targets of a model with several outputs, by output: inputs ``y_<output>``."""
        found = self._losses(loss)
        if len(self.outputs) == 1:
            return {name: one.target_tensor(self.outputs[name]) for name, one in found.items()}
        return {name: one.target_tensor(self.outputs[name], f"y_{name}") for name, one in found.items()}

    def loss(self, loss, weights: dict | None = None) -> Tensor:
        """The scalar ``loss`` as a definition over the inputs, ``y`` and the parameters.

        With several outputs, ``loss`` is a dict of output name to loss, and the total is their sum, by ``weights``.
        """
        found, targets = self._losses(loss), self.targets(loss)
        if len(self.outputs) == 1:
            (name, one), = found.items()
            return one.define(self.outputs[name], targets[name])
        parts = {name: one.define(self.outputs[name], targets[name], f"loss_{name}") for name, one in found.items()}
        unknown = sorted(set(weights or {}) - set(parts))
        if unknown:
            raise DeriveError(f"loss weights: {unknown[0]!r} has no loss{did_you_mean(unknown[0], parts)}")
        return define("loss", (), Add(*((weights or {}).get(name, 1) * part for name, part in parts.items())))

    def backprop(self, loss, frozen=(), explain: bool = False, weights: dict | None = None) -> Derivation:
        """Derive the gradients of a loss for all trainable parameters; the model's outputs come with them.

        Parameters
        ----------
        loss : str, Loss, callable, or dict of output name to one of these
            A name of :mod:`derive.losses`, or your own ``(output, y) -> scalar expression``.
        frozen : str or sequence of str
            Layers or parameters to leave out.
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
        wrt = [p.tensor for p in self.trainable(frozen)]
        if not wrt:
            raise DeriveError(f"{self.name} has no trainable parameters left; nothing to differentiate for")
        outputs = dict.fromkeys([*self.outputs.values(), *(s.update for s in self.state.values()),
                                 *(s.update for s in self.carried.values())])
        d = backprop(self.loss(loss, weights), wrt, outputs=list(outputs), name=self.name, explain=explain)
        return replace(d, network=(self, self._losses(loss)))

    def forward(self) -> Derivation:
        """The definitions from the inputs to the outputs alone, made numerically safe as for training; for predictions.

        Without dropout, and with the running averages of batch normalization.  Where recurrent layers carry their state
        on, a second result ``carried`` has the states after the last step, by the names of the inputs.
        """
        outputs = self.inference.outputs
        carried = {s.name: s.update for s in self.inference.built.carried.values()}
        first, *rest = dict.fromkeys([*outputs.values(), *carried.values()])
        work = Work(first, (), tuple(rest))
        reports = run(work)
        results = [("output", first)] if len(outputs) == 1 else [("outputs", dict(outputs))]
        results += [("carried", carried)] if carried else []
        return finish(work, "forward", f"{self.name}_forward", results, reports)

    def _only_output(self) -> dict[str, Tensor]:
        _only(self.outputs, self.name, "output")
        return self.outputs

    def _losses(self, given) -> dict[str, Loss]:
        if not isinstance(given, dict):
            given = dict.fromkeys(self._only_output(), given)
        unknown = [name for name in given if name not in self.outputs]
        if unknown or not given:
            raise DeriveError(f"losses are given for outputs {', '.join(given) or '(none)'}; {self.name} has "
                              f"{', '.join(self.outputs)}")
        return {name: self._loss(one, name, self.outputs[name]) for name, one in given.items()}

    def _loss(self, given, name: str, output: Tensor) -> Loss:
        found = find_loss(given)
        last = next((p for p in self.layers if p.output == output), self.layers[-1])
        gives = getattr(last.layer, "gives", "anything")
        if not found.admits(gives):
            what = f"layer {last.name} ends in {last.layer.activation.name}"
            raise DeriveError(f"loss {found.name!r} reads {_READS[found.reads]}, but {what}; {found.advice(gives)}")
        classes = self.shape(output)[-1]
        if classes == 1 and found.target in ("probabilities", "labels"):
            raise DeriveError(f"loss {found.name!r} chooses among classes, but layer {last.name} has 1 unit; use "
                              f"'sigmoid_binary_cross_entropy', or a unit per class")
        return found

    def summary(self) -> Summary:
        """The table of layers: output shape, parameters, whether trained, initializers; it shows itself and prints."""
        return Summary(self)

    # -- as data -----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict:
        """The network as plain data (strings, numbers, lists, dicts), for saving as JSON; see :meth:`from_dict`.

        Raises
        ------
        DeriveError
            For layers, activations or initializers that are functions of your own: code is not saved.
        """
        calls = [n for n in self._nodes if n.layer is not None]
        place = {node: n for n, node in enumerate([*self._given, *calls])}
        return {"name": self.name, "inputs": [{**n.given, "shape": list(n.given["shape"])} for n in self._given],
                "layers": [layer_config(_own(layer), name) for layer, name in self._names.items()],
                "calls": [{"layer": self._names[n.layer], "of": [place[m] for m in n.of]} for n in calls],
                "outputs": {name: place[n] for name, n in self._outputs.items()}}

    @classmethod
    def from_dict(cls, data: dict) -> Model:
        """The network that :meth:`to_dict` wrote, a Sequential where it was one.

        >>> from derive import Sequential, layers as L
        >>> model = Sequential([L.Dense(3, activation="relu")], input_shape=(2,))
        >>> Model.from_dict(model.to_dict()).output == model.output
        True
        """
        if "input_shape" in data:
            return Sequential([layer_from(c) for c in data["layers"]], data["input_shape"], data["name"])
        layers = {c["name"]: layer_from(c) for c in data["layers"]}
        nodes = [Input(**{**given, "shape": tuple(given["shape"])}) for given in data["inputs"]]
        inputs = list(nodes)
        for made in data["calls"]:
            layer, on = layers[made["layer"]], [nodes[n] for n in made["of"]]
            nodes.append(call(layer, on if layer.merges else on[0]))
        return Model(inputs, {name: nodes[n] for name, n in data["outputs"].items()}, data["name"])

    def __repr__(self):
        return f"<{type(self).__name__} {self.name}: {len(self.layers)} layers, {self.summary().total:,} parameters>"


class Sequential(Model):
    """A network whose layers follow one another: a :class:`Model` with one input ``x`` and one output.

    Parameters
    ----------
    layers : sequence
        Layers of :mod:`derive.layers`, or functions ``(x, new) -> tensor`` of your own (see :mod:`derive.layers.base`).
    input_shape : tuple of int
        The shape of one example, without the batch axis; the batch stays symbolic, ``B``.
    name : str

    >>> from derive import layers as L
    >>> model = Sequential([L.Dense(128, activation="relu"), L.Dense(10)], input_shape=(64,))
    >>> model.sizes
    {'I': 64, 'J': 128, 'K': 10}
    >>> model.summary()
    model: input (B, 64)
    layer    output    parameters  trainable  initializers
    dense_1  (B, 128)       8,320  yes        he_normal, zeros
    dense_2  (B, 10)        1,290  yes        glorot_uniform, zeros
    total                   9,610  trainable 9,610, frozen 0
    """

    _shape_said = "input_shape"

    def __init__(self, layers: Sequence, input_shape: Sequence[int], name: str = "model"):
        if isinstance(layers, Layer) or not isinstance(layers, Sequence) or isinstance(layers, str):
            raise DeriveError(f"Sequential: layers is {type(layers).__name__}; give a list, as in "
                              f"Sequential([L.Dense(10)], input_shape=(64,))")
        if not layers:
            raise DeriveError("Sequential: the list of layers is empty; a network has at least one")
        if isinstance(input_shape, str) or not isinstance(input_shape, Sequence) or not input_shape:
            raise ShapeError(f"Sequential: input_shape is {input_shape!r}; give the shape of one example without the "
                             f"batch axis, as in (64,) or (28, 28, 1)")
        made = _as_layers(layers)
        x = node = Input(input_shape, **made[0].takes)
        for n, layer in enumerate(made):
            if layer.merges:
                raise DeriveError(f"Sequential: layer {n + 1} is {type(layer).__name__}, which merges several symbols; "
                                  f"use dv.Model, as in L.Add()([h, x])")
            node = layer(node)
        super().__init__(x, node, name)

    def to_dict(self) -> dict:
        """The network as plain data; see :meth:`Model.to_dict`."""
        return {"name": self.name, "input_shape": list(self.shape(self.input)[1:]),
                "layers": [layer_config(p.layer, p.name) for p in self.layers]}


_READS = {"logits": "logits", "probabilities": "probabilities of exclusive classes",
          "bits": "probabilities of separate answers", "nonnegative": "numbers that are not negative"}


def _own(layer):
    """What the user gave: the function itself, where a layer only wraps it."""
    return layer.function if isinstance(layer, Function) else layer


def _only(found: dict, name: str, what: str) -> Tensor:
    if len(found) != 1:
        raise DeriveError(f"{name} has {len(found)} {what}s ({', '.join(found)}); name one, as in "
                          f"model.{what}s[{next(iter(found))!r}]")
    return next(iter(found.values()))


def _first(found: dict) -> tuple:
    return next(iter(found.items()))


def _nodes(given, what: str) -> tuple[Node, ...]:
    given = (given,) if isinstance(given, Node) else given
    if not isinstance(given, list | tuple) or not given:
        raise DeriveError(f"Model: {what} is {given!r}; give a symbol or a list of them")
    for node in given:
        if not isinstance(node, Node):
            raise DeriveError(f"Model: {what} has {node!r}; accepted are symbols, made by dv.Input(shape) or by "
                              f"calling layers on symbols")
    if len(set(given)) < len(given):
        raise DeriveError(f"Model: {what} names one symbol twice")
    return tuple(given)


def _inputs(given) -> tuple[Node, ...]:
    nodes = _nodes(given, "inputs")
    for node in nodes:
        if node.layer is not None:
            raise DeriveError(f"Model: inputs has {node!r}; inputs are made by dv.Input(shape)")
    names = [n.given["name"] for n in nodes]
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise DeriveError(f"Model: two inputs are named {twice[0]!r}; give each its own, as in "
                          f"dv.Input(shape, name='a')")
    return nodes


def _as_layers(given) -> list[Layer]:
    made: list[Layer] = []
    for n, layer in enumerate(given):
        if isinstance(layer, Layer) and any(layer is other for other in made):
            raise DeriveError(f"Sequential: layer {n + 1} ({type(layer).__name__}) is the same object as an earlier "
                              f"one; make a new layer for each place")
        if not isinstance(layer, Layer) and (isinstance(layer, type) or not callable(layer)):
            hint = f"; write {layer.__name__}(...)" if isinstance(layer, type) else ""
            raise DeriveError(f"Sequential: layer {n + 1} is {layer!r}; accepted are layers of derive.layers and "
                              f"functions (x, new) -> tensor{hint}")
        made.append(layer if isinstance(layer, Layer) else Function(layer, getattr(layer, "name", None)))
    return made


def _names(layers) -> dict[Layer, str]:
    """Each layer's own name, or its kind and a count; a shared layer has one."""
    counts: dict[str, int] = {}
    names: dict[Layer, str] = {}
    for layer in dict.fromkeys(layers):
        counts[layer.kind] = counts.get(layer.kind, 0) + 1
        name = layer.name or f"{layer.kind}_{counts[layer.kind]}"
        if name in names.values():
            raise DeriveError(f"two layers are named {name!r}; give each its own name=")
        names[layer] = name
    return names
