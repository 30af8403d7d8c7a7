"""The block that Transformers are made of."""

from __future__ import annotations

from typing import Any

from derive.language.errors import DeriveError, ShapeError
from derive.language.hints import did_you_mean
from derive.language.tensor import Tensor
from derive.networks.activations import GivenActivation
from derive.networks.activations import activation as find_activation

from .attention import MultiHeadAttention
from .base import Layer
from .builder import Builder, whole
from .dense import Dense
from .dropout import Dropout
from .gated import GatedDense
from .normalization import LayerNorm
from .part import Part
from .registry import in_catalogue
from .rms_norm import RMSNorm

NORMS, NORMALIZATIONS = ("pre", "post"), ("layer", "rms")
EPSILON = 1e-5
WIDER = 4  # how many times wider than the sequence the hidden layer of the MLP is, if not said


@in_catalogue
class TransformerBlock(Layer):
    r"""Attention and a fully connected network for each position, each with a way past it and normalized.

    .. math::

        u = x + \operatorname{att}(\operatorname{norm}(x)), \qquad h = u + \operatorname{mlp}(\operatorname{norm}(u))

    for a block that normalizes before (pre), and after it :math:`u = \operatorname{norm}(x + \operatorname{att}(x))`,
    :math:`h = \operatorname{norm}(u + \operatorname{mlp}(u))` (post).

    GPT: ``causal=True``.  BERT: ``norm="post"``.  Llama: ``causal=True, normalization="rms", gated=True,
    activation="silu", rotary=True, use_bias=False``.  A decoder that reads an encoder: ``causal=True, cross=True``.
    Called on ``x`` or ``[x, mask]``; with ``cross`` on ``[x, memory]`` or ``[x, memory, mask]``, the mask being that of
    the memory; masks are those of :class:`MultiHeadAttention`.

    Parameters
    ----------
    num_heads : int
    key_dim : int, optional
        Of a head; by default the width of the sequence by the number of heads, which has to divide it.
    units : int, optional
        The width of the MLP's hidden layer; four times that of the sequence by default.
    activation : str, Activation or callable
        Of the MLP; of its gate where it is gated.
    causal : bool
    norm : {"pre", "post"}
    normalization : {"layer", "rms"}
    gated : bool
        Whether the MLP's hidden layer is a :class:`GatedDense`.
    rotary : bool
    num_kv_heads : int, optional
    cross : bool
        Whether attention to a memory follows the attention to the sequence itself.
    dropout : float
        Of the weights of attention, and of what each part adds.
    use_bias : bool
    name : str, optional
        The parameters are ``<name>_attention_query_kernel``, ``<name>_attention_norm_gamma``, ``<name>_up_kernel``,
        ``<name>_down_kernel``, ``<name>_mlp_norm_gamma`` and so on, with ``cross`` and ``cross_norm`` for the memory.
    trainable : bool

    References
    ----------
    Vaswani et al., *Attention is all you need*, NIPS 2017; Xiong et al., *On layer normalization in the transformer
    architecture*, ICML 2020 (pre and post).

    >>> from derive import Sequential
    >>> Sequential([TransformerBlock(2, causal=True)], input_shape=(5, 8)).shape_of("transformer_block_1")
    (5, 8)
    """

    kind = "transformer_block"
    gives = "values"
    may_merge = True

    def __init__(
        self,
        num_heads: int,
        key_dim: int | None = None,
        units: int | None = None,
        activation: GivenActivation = "gelu",
        causal: bool = False,
        norm: str = "pre",
        normalization: str = "layer",
        gated: bool = False,
        rotary: bool = False,
        num_kv_heads: int | None = None,
        cross: bool = False,
        dropout: float = 0,
        use_bias: bool = True,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = self._where = f"TransformerBlock({num_heads!r})"
        self.num_heads = whole(num_heads, f"{where}: num_heads")
        self.key_dim = None if key_dim is None else whole(key_dim, f"{where}: key_dim")
        self.units = None if units is None else whole(units, f"{where}: units")
        self.activation = find_activation(activation, where)
        for option, given, accepted in (("norm", norm, NORMS), ("normalization", normalization, NORMALIZATIONS)):
            if given not in accepted:
                raise DeriveError(
                    f"{where}: unknown {option} {given!r}{did_you_mean(given, accepted)}; accepted are {', '.join(accepted)}"
                )
        self.norm, self.normalization = norm, normalization
        self.causal, self.gated, self.rotary, self.cross = bool(causal), bool(gated), bool(rotary), bool(cross)
        self.num_kv_heads, self.dropout, self.use_bias = num_kv_heads, dropout, bool(use_bias)
        self._drop = Dropout(dropout)
        if num_kv_heads is not None:
            self._attention(2)  # refuses groups that do not divide the heads, here and not in a model
        self.called = "L.TransformerBlock(8, cross=True)([x, memory])"

    def connect(self, x: Any, new: Builder) -> Tensor:
        x, memory, mask = self._given(x, new)
        if x.rank != 3 or x.dtype != "float":
            hint = "; token numbers pass through L.Embedding first" if x.dtype == "int" else ""
            raise ShapeError(f"{self._where} reads a sequence (B, T, D); it was given {new.shape(x)}{hint}")
        key_dim = self._key_dim(x, new)
        own = self._attention(key_dim)
        masked = [] if self.cross or mask is None else [mask]
        u = self._beside("attention", x, lambda h, part: own.connect([h, h, *masked], part), new)
        if self.cross:
            other = self._attention(key_dim, cross=True)
            read = [memory] if mask is None else [memory, mask]
            u = self._beside("cross", u, lambda h, part: other.connect([h, *read], part), new)
        return self._beside("mlp", u, lambda h, part: self._mlp(h, new), new, last=True)

    def _given(self, x: Any, new: Builder) -> tuple[Tensor, Tensor | None, Tensor | None]:
        given = list(x) if isinstance(x, list) else [x]
        wanted = "[x, memory] or [x, memory, mask]" if self.cross else "x or [x, mask]"
        if not 1 + self.cross <= len(given) <= 2 + self.cross:
            raise ShapeError(f"{self._where} is called on {wanted}; it was given {len(given)} symbols")
        first, *rest = given
        memory = rest.pop(0) if self.cross else None
        return first, memory, rest[0] if rest else None

    def _key_dim(self, x: Tensor, new: Builder) -> int:
        width = new.number(x.axes[2])
        if self.key_dim is None and width % self.num_heads:
            raise ShapeError(
                f"{self._where}: {self.num_heads} heads do not divide the width {width} of {x.name}; accepted are "
                f"{', '.join(str(n) for n in range(1, width + 1) if width % n == 0)} heads, or a key_dim"
            )
        return self.key_dim or width // self.num_heads

    def _attention(self, key_dim: int, cross: bool = False) -> MultiHeadAttention:
        """To the sequence itself or to the memory, whose positions are another sequence's: they are not compared."""
        causal, rotary = self.causal and not cross, self.rotary and not cross
        return MultiHeadAttention(
            self.num_heads, key_dim, causal, self.num_kv_heads, rotary, self.dropout, self.use_bias
        )

    def _mlp(self, x: Tensor, new: Builder) -> Tensor:
        width = new.number(x.axes[2])
        units = self.units or WIDER * width
        hidden = GatedDense if self.gated else Dense
        up = hidden(units, activation=self.activation, use_bias=self.use_bias).connect(x, Part.of(new, "up"))
        return Dense(width, use_bias=self.use_bias).connect(up, Part.of(new, "down"))

    def _beside(self, part: str, x: Tensor, function: Any, new: Builder, last: bool = False) -> Tensor:
        """What a part adds to what goes past it, normalized before the part or after the sum."""
        norm = RMSNorm() if self.normalization == "rms" else LayerNorm(EPSILON)
        normed = Part.of(new, f"{part}_norm")
        made = function(norm.connect(x, normed) if self.norm == "pre" else x, Part.of(new, part))
        if self.dropout:
            made = self._drop.connect(made, Part.of(new, f"{part}_dropout"))
        for a, b in zip(x.axes[1:], made.axes[1:], strict=True):
            new.same(a, b, self._where)
        builder = new if last and self.norm == "pre" else Part.of(new, f"{part}_sum")
        total = builder.define("h", x.indices, x[x.indices] + made[x.indices])
        return total if self.norm == "pre" else norm.connect(total, normed)
