"""Pictures as sequences of patches, and the place in front of a sequence where its class is read."""

from __future__ import annotations

from sympy import Eq, Piecewise

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Tensor
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .convolution import Conv2D
from .registry import in_catalogue
from .sizes import radix


@in_catalogue
class PatchEmbedding(Layer):
    r"""Square patches of a picture, each mapped to a vector, in row-major order.

    .. math:: h_{b,\,uV + v,\,j} = \sum_{r,s,c} x_{b,\,Su + r,\,Sv + s,\,c}\, W_{rscj} + w_j

    Parameters
    ----------
    size : int
        S, the side of a patch; it divides the height and the width.
    units : int
    name : str, optional
        The parameters are ``<name>_kernel`` (S, S, C, units) and ``<name>_bias``.
    trainable : bool

    References
    ----------
    Dosovitskiy et al., *An image is worth 16x16 words*, ICLR 2021.

    >>> from derive import Sequential
    >>> Sequential([PatchEmbedding(4, 8)], input_shape=(12, 8, 3)).shape_of("patch_embedding_1")
    (6, 8)
    """

    kind = "patch_embedding"
    gives = "values"

    def __init__(self, size: int, units: int, name: str | None = None, trainable: bool = True):
        super().__init__(name, trainable)
        self.size = whole(size, f"PatchEmbedding({size!r}): size")
        self.units = whole(units, f"PatchEmbedding({size!r}, {units!r}): units")
        self._map = Conv2D(self.units, self.size, strides=self.size)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        if x.rank != 4:
            raise ShapeError(f"PatchEmbedding reads pictures (B, H, W, C); it was given {new.shape(x)}")
        sides = [new.number(a) for a in x.axes[1:3]]
        if any(n % self.size for n in sides):
            raise ShapeError(
                f"PatchEmbedding({self.size}): patches of {self.size} do not divide a picture of {sides[0]} by {sides[1]}"
            )
        z = self._map.connect(x, new)
        b, u, v, j = z.indices
        f = apart(Index("f", u.size * v.size), b, u, v, j)
        return new.define("h", (b, f, j), Sum(z[z.indices] * Iverson(Eq(f, radix([u, v]))), u, v))


@in_catalogue
class ClassToken(Layer):
    r"""A learned vector in front of a sequence: :math:`h_{b,0,j} = c_j`, :math:`h_{b,t+1,j} = x_{b,t,j}`.

    Parameters
    ----------
    token_initializer : str, number or callable
    name : str, optional
        The parameter is ``<name>_token`` (J,).
    trainable : bool

    References
    ----------
    Devlin, Chang, Lee, Toutanova, *BERT*, NAACL 2019.

    >>> from derive import Sequential
    >>> Sequential([ClassToken()], input_shape=(6, 8)).shape_of("class_token_1")
    (7, 8)
    """

    kind = "class_token"
    gives = "values"

    def __init__(self, token_initializer: Initializer = "normal", name: str | None = None, trainable: bool = True):
        super().__init__(name, trainable)
        self.token_initializer = initializer(token_initializer, "ClassToken: token_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        if x.rank != 3:
            raise ShapeError(f"ClassToken stands in front of a sequence (B, T, D); it was given {new.shape(x)}")
        b, t, j = x.indices
        token = new.parameter("token", j, init=self.token_initializer)
        after = Index(t.name, t.size + 1)
        return new.define("h", (b, after, j), Piecewise((token[j], Eq(after, 0)), (x[b, after - 1, j], True)))
