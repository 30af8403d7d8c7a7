"""Attention of several heads: to the sequence itself or to another one, causal, padded, grouped, with rotary positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
from sympy import Eq, Piecewise, sqrt
from sympy.logic.boolalg import And, Boolean

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Tensor
from derive.networks.initializers import AsMatrix, Initializer, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .dropout import Dropout
from .part import Part
from .registry import in_catalogue

BASE = 10_000  # of the wave lengths of positions, as in both papers


@in_catalogue
class MultiHeadAttention(Layer):
    r"""Each position gathers the values of the positions whose keys fit its query, in several heads.

    .. math::

        s_{bhtq} = \frac{1}{\sqrt K} \sum_k Q_{bthk} K_{bqhk}, \qquad a_{bhtq} = \frac{e^{s_{bhtq}}}{\sum_{q'} e^{s_{bhtq'}}},
        \qquad o_{btj} = \sum_{h,k} \Bigl(\sum_q a_{bhtq} V_{bqhk}\Bigr) W^O_{hkj} + c^O_j

    where Q is x times its kernel, and K and V are x, or the memory, times theirs.  Called on ``x`` (B, T, D), or on
    ``[x, memory]`` or ``[x, memory, mask]``; a mask of the sequence itself is given as ``[x, x, mask]``.  A mask is

    - (B, S): 1 where a position of the memory counts, 0 where it is padding;
    - (B, T, S): 1 where position t may look at position q;
    - (B, 1) of integers: the lengths of the memories.

    Parameters
    ----------
    num_heads : int
    key_dim : int
        K, the size of a query, a key and a value.
    causal : bool
        Whether position t looks at positions up to t only.
    num_kv_heads : int, optional
        Keys and values of fewer heads, each for a group of queries; 1 is multi-query attention.
    rotary : bool
        Whether queries and keys are turned by their positions: :math:`(u_m, u_{m+K/2})` by the angle
        :math:`t\,10000^{-2m/K}`.
    dropout : float
        The share of weights that is dropped in training.
    use_bias : bool
    kernel_initializer, bias_initializer : str, number or callable
    name : str, optional
        The parameters are ``<name>_query_kernel`` (D, H, K), ``<name>_query_bias`` (H, K), the same of ``key`` and
        ``value``, and ``<name>_output_kernel`` (H, K, D), ``<name>_output_bias`` (D,).  In groups, H of the queries and
        of the output is two axes: the heads of the keys, and the queries of each.
    trainable : bool

    Raises
    ------
    ShapeError
        Groups that do not divide the heads, a mask of another shape, causal attention to a memory of another length.

    References
    ----------
    Vaswani et al., *Attention is all you need*, NIPS 2017; Ainslie et al., *GQA*, EMNLP 2023 (groups); Su et al.,
    *RoFormer*, arXiv:2104.09864 (2021) (rotary).

    >>> from derive import Sequential
    >>> model = Sequential([MultiHeadAttention(2, 4, causal=True)], input_shape=(5, 8))
    >>> model.shape_of("multi_head_attention_1"), model.parameters["multi_head_attention_1_query_kernel"].shape
    ((5, 8), (8, 2, 4))
    """

    kind = "multi_head_attention"
    gives = "values"
    may_merge = True
    called = "L.MultiHeadAttention(8, 64)([x, memory])"

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        causal: bool = False,
        num_kv_heads: int | None = None,
        rotary: bool = False,
        dropout: float = 0,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = self._where = f"MultiHeadAttention({num_heads!r}, {key_dim!r})"
        self.num_heads = whole(num_heads, f"{where}: num_heads")
        self.key_dim = whole(key_dim, f"{where}: key_dim")
        self.num_kv_heads = None if num_kv_heads is None else whole(num_kv_heads, f"{where}: num_kv_heads")
        if self.num_kv_heads is not None and self.num_heads % self.num_kv_heads:
            raise ShapeError(
                f"{where}: num_kv_heads is {num_kv_heads}, which does not divide {num_heads} heads; accepted are "
                f"{', '.join(str(n) for n in range(1, self.num_heads + 1) if self.num_heads % n == 0)}"
            )
        self.causal, self.rotary, self.use_bias = bool(causal), bool(rotary), bool(use_bias)
        if self.rotary and self.key_dim % 2:
            raise ShapeError(
                f"{where}: rotary positions turn pairs, and key_dim is {key_dim}; accepted is an even number"
            )
        self.dropout = dropout
        self._drop = Dropout(dropout)
        self.kernel_initializer = initializer(kernel_initializer, f"{where}: kernel_initializer")
        self.bias_initializer = initializer(bias_initializer, f"{where}: bias_initializer")

    def connect(self, x: Any, new: Builder) -> Tensor:
        x, memory, mask = self._given(x, new)
        b, t, i = x.indices
        q = apart(Index("q", memory.axes[1]), b, t, i)
        if self.causal:
            self._check_causal(t, q, new)
        heads, groups, k = self._axes(new)
        every = (*heads, *groups)
        query = self._projected(x, "query", (b, t), every, k, new)
        key = self._projected(memory, "key", (b, q), heads, k, new)
        value = self._projected(memory, "value", (b, q), heads, k, new)
        if self.rotary:
            query, key = self._turned(query, "query", new), self._turned(key, "key", new)
        score = Sum(query[(b, t, *every, k)] * key[(b, q, *heads, k)], k) / sqrt(k.size)
        seen = self._seen(mask, b, t, q, new)
        if seen is not None:
            score = Piecewise((score, seen), (-sympy.oo, True))
        s = new.define("s", (b, *every, t, q), score)
        other = apart(Index("r", q.size), b, t, i, k, *every)
        weight = sympy.exp(s[(b, *every, t, q)]) / Sum(sympy.exp(s[(b, *every, t, other)]), other)
        a = new.define("a", (b, *every, t, q), weight)
        if self.dropout:
            a = self._drop.connect(a, Part.of(new, "weights"))
        o = new.define("o", (b, t, *every, k), Sum(a[(b, *every, t, q)] * value[(b, q, *heads, k)], q))
        j = Index(i.name, i.size)
        kernel = new.parameter("output_kernel", *every, k, j, init=AsMatrix(self.kernel_initializer, len(every) + 1))
        out = Sum(o[(b, t, *every, k)] * kernel[(*every, k, j)], *every, k)
        if self.use_bias:
            out += new.parameter("output_bias", j, init=self.bias_initializer)[j]
        return new.define("h", (b, t, j), out)

    # -- what it is called on ----------------------------------------------------------------------------------------

    def _given(self, x: Any, new: Builder) -> tuple[Tensor, Tensor, Tensor | None]:
        given = list(x) if isinstance(x, list | tuple) else [x]
        if len(given) > 3:
            raise ShapeError(
                f"{self._where} is called on x, [x, memory] or [x, memory, mask]; it was given {len(given)} symbols"
            )
        x = given[0]
        memory = given[1] if len(given) > 1 else x
        for what, one in (("x", x), ("the memory", memory)):
            if one.rank != 3 or one.dtype != "float":
                hint = "; a mask of the sequence itself is given as [x, x, mask]" if what != "x" else ""
                raise ShapeError(f"{self._where}: {what} is a sequence (B, T, D); it was given {new.shape(one)}{hint}")
        return x, memory, given[2] if len(given) > 2 else None

    def _check_causal(self, t: Index, q: Index, new: Builder) -> None:
        if new.number(t.size) != new.number(q.size):
            raise ShapeError(
                f"{self._where}: causal attention from {new.number(t.size)} positions to a memory of "
                f"{new.number(q.size)}; accepted is a memory of the same length, or causal=False with a mask (B, T, S)"
            )
        new.same(t.size, q.size, self._where)

    def _seen(self, mask: Tensor | None, b: Index, t: Index, q: Index, new: Builder) -> Boolean | None:
        """Where a position may look, or None for everywhere."""
        found: list[Boolean] = [q <= t] if self.causal else []
        if mask is not None:
            found.append(self._unmasked(mask, b, t, q, new))
        return And(*found) if found else None

    def _unmasked(self, mask: Tensor, b: Index, t: Index, q: Index, new: Builder) -> Boolean:
        shape = tuple(new.number(a) for a in mask.axes[1:])
        steps, length = new.number(t.size), new.number(q.size)
        if shape == (1,) and mask.dtype == "int":
            return q < mask[b, 0]
        if shape == (length,):
            new.same(mask.axes[1], q.size, f"{self._where}: the mask {mask.name}")
            return mask[b, q] > 0
        if shape == (steps, length):
            new.same(mask.axes[1], t.size, f"{self._where}: the mask {mask.name}")
            new.same(mask.axes[2], q.size, f"{self._where}: the mask {mask.name}")
            return mask[b, t, q] > 0
        raise ShapeError(
            f"{self._where}: the mask {mask.name} has shape {new.shape(mask)}; accepted are (B, {length}), "
            f"(B, {steps}, {length}), and lengths (B, 1) of integers"
        )

    # -- queries, keys and values ------------------------------------------------------------------------------------

    def _axes(self, new: Builder) -> tuple[tuple[Index, ...], tuple[Index, ...], Index]:
        """The heads of the keys, the queries of each where they are grouped, and the axis of a key."""
        if self.num_kv_heads is None:
            heads: tuple[Index, ...] = (new.axis(self.num_heads, "u", "U"),)
            groups: tuple[Index, ...] = ()
        else:
            heads = (new.axis(self.num_kv_heads, "u", "U"),)
            groups = (new.axis(self.num_heads // self.num_kv_heads, "g", "G"),)
        k = new.axis(self.key_dim, "k", "K")
        if self.rotary:
            new.split(k.size, 2, self._where)
        return heads, groups, k

    def _projected(
        self, x: Tensor, role: str, at: tuple[Index, Index], heads: Sequence[Index], k: Index, new: Builder
    ) -> Tensor:
        i = apart(Index(x.indices[2].name, x.axes[2]), *at, *heads, k)
        kernel = new.parameter(f"{role}_kernel", i, *heads, k, init=AsMatrix(self.kernel_initializer))
        body = Sum(x[(*at, i)] * kernel[(i, *heads, k)], i)
        if self.use_bias:
            body += new.parameter(f"{role}_bias", *heads, k, init=self.bias_initializer)[(*heads, k)]
        return Part.of(new, role).define("z", (*at, *heads, k), body)

    def _turned(self, u: Tensor, role: str, new: Builder) -> Tensor:
        """Each pair ``(u[m], u[m + K/2])`` turned by the angle of its position."""
        part = Part.of(new, role)
        b, t, *heads, k = u.indices
        half = k.size / 2
        m = apart(Index("m", half), b, t, *heads, k)
        angle = t * sympy.exp(-2 * m * sympy.log(BASE) / k.size)
        cos, sin = (part.define(n, (t, m), f(angle)) for n, f in (("cos", sympy.cos), ("sin", sympy.sin)))
        first, second = u[(b, t, *heads, m)], u[(b, t, *heads, m + half)]
        return part.define(
            "turned",
            (b, t, *heads, k),
            Sum((first * cos[t, m] - second * sin[t, m]) * Iverson(Eq(k, m)), m)
            + Sum((second * cos[t, m] + first * sin[t, m]) * Iverson(Eq(k, m + half)), m),
        )
