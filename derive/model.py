"""``dv.Sequential``: a network as a list of layers, put together into forward definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .backprop import backprop
from .derivation import Derivation
from .errors import DeriveError, ShapeError
from .hints import did_you_mean
from .index import Size, index
from .layers import layer_config, layer_from
from .layers.base import Builder, Layer, Parameter, whole
from .losses import Loss
from .losses import loss as find_loss
from .pipeline import Work, finish, run
from .tensor import Tensor, tensor


@dataclass(frozen=True)
class Placed:
    """A layer in its place: its name, what comes out of it and which parameters it made."""

    name: str
    layer: object
    output: Tensor
    parameters: tuple[Parameter, ...]

    @property
    def kind(self) -> str:
        return getattr(self.layer, "kind", "function")


class Sequential:
    """A network whose layers follow one another.

    Parameters
    ----------
    layers : sequence
        Layers of :mod:`derive.layers`, or functions ``(x, new) -> tensor`` of your own (see :mod:`derive.layers.base`).
    input_shape : tuple of int
        The shape of one example, without the batch axis; the batch stays symbolic, ``B``.
    name : str

    Attributes
    ----------
    input, output : Tensor
        ``x`` of shape ``(B, *input_shape)`` and what the last layer gives.
    parameters : dict of str to Parameter
        Name to shape, initializer, layer, and whether it is trained.
    sizes : dict of str to int
        What the symbolic sizes of the layers are bound to, for ``nx.compile(d, sizes=model.sizes)``.
    layers : tuple of Placed

    Raises
    ------
    ShapeError, DeriveError
        Naming the layer, what is wrong with it, and what would be accepted.

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

    def __init__(self, layers: Sequence, input_shape: Sequence[int], name: str = "model"):
        if isinstance(layers, Layer) or not isinstance(layers, Sequence) or isinstance(layers, str):
            raise DeriveError(f"Sequential: layers is {type(layers).__name__}; give a list, as in "
                              f"Sequential([L.Dense(10)], input_shape=(64,))")
        if not layers:
            raise DeriveError("Sequential: the list of layers is empty; a network has at least one")
        self.name = name
        self._new = Builder()
        self.input = self._input(input_shape)
        names = _names(layers)
        placed, x = [], self.input
        for layer_name, layer in zip(names, layers, strict=True):
            placed.append(self._place(layer_name, layer, x))
            x = placed[-1].output
        self.layers: tuple[Placed, ...] = tuple(placed)
        self.output = x

    def _input(self, shape) -> Tensor:
        if isinstance(shape, str) or not isinstance(shape, Sequence) or not shape:
            raise ShapeError(f"Sequential: input_shape is {shape!r}; give the shape of one example without the batch "
                             f"axis, as in (64,) or (28, 28, 1)")
        axes = [self._new.axis(whole(n, f"Sequential: an axis of input_shape {tuple(shape)}")) for n in shape]
        return tensor("x", index("b"), *axes)

    def _place(self, name: str, layer, x: Tensor) -> Placed:
        before = len(self._new.parameters)
        new = self._new.enter(name, getattr(layer, "trainable", True))
        connect = layer.connect if isinstance(layer, Layer) else layer
        try:
            output = connect(x, new)
        except DeriveError as e:
            if name in str(e):
                raise
            raise type(e)(f"layer {name}, given {x.name} of shape {self.shape(x)}: {e}") from e
        if not isinstance(output, Tensor) or output.is_input or None in output.letters:
            raise DeriveError(f"layer {name} gave {output!r}; a layer gives a tensor that it defined, as "
                              f"new.define('h', x.letters, ...)")
        return Placed(name, layer, output, tuple(self._new.parameters.values())[before:])

    # -- what it consists of -----------------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Parameter]:
        return dict(self._new.parameters)

    @property
    def sizes(self) -> dict[str, int]:
        return dict(self._new.sizes)

    def shape(self, t: Tensor) -> tuple:
        """The shape of a tensor of the network: numbers, and ``B`` for the batch."""
        bound = {Size(n): v for n, v in self.sizes.items()}
        return tuple(bound.get(a, a) for a in t.axes)

    def layer(self, name: str) -> Placed:
        """A layer by its name."""
        for placed in self.layers:
            if placed.name == name:
                return placed
        known = [p.name for p in self.layers]
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
        return self._loss(loss).target_tensor(self.output)

    def loss(self, loss) -> Tensor:
        """The scalar ``loss`` as a definition over ``x``, ``y`` and the parameters."""
        found = self._loss(loss)
        return found.define(self.output, found.target_tensor(self.output))

    def backprop(self, loss, frozen=(), explain: bool = False) -> Derivation:
        """Derive the gradients of a loss for all trainable parameters; the model's output comes with them.

        Parameters
        ----------
        loss : str, Loss or callable
            A name of :mod:`derive.losses`, or your own ``(output, y) -> scalar expression``.
        frozen : str or sequence of str
            Layers or parameters to leave out.
        explain : bool
            Print what each pass of the pipeline does.

        Returns
        -------
        Derivation
            Inputs ``x``, ``y`` and the parameters; results loss, grads by parameter name, and outputs.

        >>> from derive import layers as L
        >>> d = Sequential([L.Dense(3)], input_shape=(2,)).backprop("mean_squared_error")
        >>> list(d.gradients), list(d.result("outputs"))
        (['dense_1_kernel', 'dense_1_bias'], ['z1'])
        """
        wrt = [p.tensor for p in self.trainable(frozen)]
        if not wrt:
            raise DeriveError(f"{self.name} has no trainable parameters left; nothing to differentiate for")
        return backprop(self.loss(loss), wrt, outputs=[self.output], name=self.name, explain=explain)

    def forward(self) -> Derivation:
        """The definitions from ``x`` to the output alone, made numerically safe as for training; for predictions."""
        work = Work(self.output, ())
        reports = run(work)
        return finish(work, "forward", f"{self.name}_forward", [("output", self.output)], reports)

    def _loss(self, given) -> Loss:
        found = find_loss(given)
        last = self.layers[-1]
        gives = getattr(last.layer, "gives", "anything")
        wrong = ({"logits": gives in ("probabilities", "bits"), "probabilities": gives in ("values", "bits"),
                  "bits": gives == "values"}.get(found.reads, False))
        if wrong:
            what = f"layer {last.name} ends in {last.layer.activation.name}"
            raise DeriveError(f"loss {found.name!r} reads {_READS[found.reads]}, but {what}; {_advice(found, gives)}")
        classes = self.shape(self.output)[-1]
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
        return {"name": self.name, "input_shape": list(self.shape(self.input)[1:]),
                "layers": [layer_config(p.layer, p.name) for p in self.layers]}

    @classmethod
    def from_dict(cls, data: dict) -> Sequential:
        """The network that :meth:`to_dict` wrote.

        >>> from derive import layers as L
        >>> model = Sequential([L.Dense(3, activation="relu")], input_shape=(2,))
        >>> Sequential.from_dict(model.to_dict()).output == model.output
        True
        """
        return cls([layer_from(c) for c in data["layers"]], data["input_shape"], data["name"])

    def __repr__(self):
        return f"<Sequential {self.name}: {len(self.layers)} layers, {self.summary().total:,} parameters>"


class Summary:
    """The table of a network: one row per layer, and totals."""

    def __init__(self, model: Sequential):
        self.model = model
        everything = model.parameters.values()
        self.total = sum(p.size for p in everything)
        self.trained = sum(p.size for p in everything if p.trainable)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Layer, output shape, number of parameters, trainable, initializers."""
        found = []
        for p in self.model.layers:
            kinds = {q.trainable for q in p.parameters}
            shape = ", ".join(map(str, self.model.shape(p.output)))
            found.append((p.name, f"({shape})", f"{sum(q.size for q in p.parameters):,}",
                          {(): "-", (True,): "yes", (False,): "no"}.get(tuple(sorted(kinds)), "partly"),
                          ", ".join(q.init_name for q in p.parameters) or "-"))
        return found

    def __str__(self):
        head = ("layer", "output", "parameters", "trainable", "initializers")
        body = [head, *self.rows()]
        last = ("total", "", f"{self.total:,}", f"trainable {self.trained:,}, frozen {self.total - self.trained:,}", "")
        widths = [max(len(row[n]) for row in [*body, last if n < 3 else head]) for n in range(4)]
        lines = ["  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]),
                            row[3].ljust(widths[3]), row[4]]).rstrip() for row in [*body, last]]
        shape = ", ".join(map(str, self.model.shape(self.model.input)))
        return "\n".join([f"{self.model.name}: input ({shape})", *lines])

    __repr__ = __str__


_READS = {"logits": "logits", "probabilities": "probabilities of exclusive classes", "bits": "probabilities"}


def _advice(found: Loss, gives: str) -> str:
    if found.reads == "logits":
        other = {"softmax_cross_entropy": "categorical_cross_entropy",
                 "sparse_softmax_cross_entropy": "sparse_categorical_cross_entropy",
                 "sigmoid_binary_cross_entropy": "binary_cross_entropy"}[found.name]
        return f"drop that activation, or use {other!r} if it is the right one"
    end, other = {"categorical_cross_entropy": ("softmax", "softmax_cross_entropy"),
                  "sparse_categorical_cross_entropy": ("softmax", "sparse_softmax_cross_entropy"),
                  "binary_cross_entropy": ("sigmoid", "sigmoid_binary_cross_entropy")}[found.name]
    return f"end it in {end}, or use {other!r}, which reads logits"


def _names(layers) -> list[str]:
    """Each layer's own name, or its kind and a count."""
    counts: dict[str, int] = {}
    names: list[str] = []
    for n, layer in enumerate(layers):
        if any(layer is other for other in layers[:n]) and isinstance(layer, Layer):
            raise DeriveError(f"Sequential: layer {n + 1} ({type(layer).__name__}) is the same object as an earlier "
                              f"one; make a new layer for each place")
        if not isinstance(layer, Layer) and (isinstance(layer, type) or not callable(layer)):
            hint = f"; write {layer.__name__}(...)" if isinstance(layer, type) else ""
            raise DeriveError(f"Sequential: layer {n + 1} is {layer!r}; accepted are layers of derive.layers and "
                              f"functions (x, new) -> tensor{hint}")
        kind = layer.kind if isinstance(layer, Layer) else getattr(layer, "__name__", "layer").strip("<>")
        counts[kind] = counts.get(kind, 0) + 1
        name = getattr(layer, "name", None) or f"{kind}_{counts[kind]}"
        if name in names:
            raise DeriveError(f"Sequential: two layers are named {name!r}; give each its own name=")
        names.append(name)
    return names
