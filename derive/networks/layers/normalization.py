"""Normalization: mean and variance are definitions like any other, and so their gradients come by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Integer, Mul, sqrt

from derive.language.errors import DeriveError, ShapeError
from derive.language.index import Index
from derive.language.nodes import Sum
from derive.language.tensor import Tensor

from .base import Layer
from .builder import Builder, whole
from .convolution import beside
from .numbers import exact
from .registry import in_catalogue


class Normalization(Layer):
    """What the normalizations share: ``gamma`` and ``beta``, one for each channel, and epsilon."""

    def _take(self, epsilon: float, center: bool, scale: bool) -> None:
        self.epsilon, self.center, self.scale = epsilon, bool(center), bool(scale)
        self._eps = exact(epsilon, f"{type(self).__name__}: epsilon")

    def affine(self, element: Expr, c: Index, new: Builder) -> Expr:
        """``gamma * element + beta``, by channel."""
        if self.scale:
            element = new.parameter("gamma", c, init="ones")[c] * element
        return element + new.parameter("beta", c, init="zeros")[c] if self.center else element

    def moments(
        self, element: Expr, over: Sequence[Index], kept: tuple[Index, ...], new: Builder
    ) -> tuple[Tensor, Tensor]:
        """Mean and variance over some indices, by the kept ones."""
        count = Mul(*(i.size for i in over))
        mean = new.define("mean", kept, Sum(element, *over) / count)
        return mean, new.define("var", kept, Sum((element - mean[kept]) ** 2, *over) / count)


@in_catalogue
class BatchNorm(Normalization):
    r"""Batch normalization over all axes but the last.

    .. math::

        \mu_c = \frac1N \sum_{b,p,q} x_{b,p,q,c}, \qquad
        \sigma^2_c = \frac1N \sum_{b,p,q} (x_{b,p,q,c} - \mu_c)^2, \qquad
        \hat x = \frac{x - \mu_c}{\sqrt{\sigma^2_c + \epsilon}}, \qquad h = \gamma_c \hat x + \beta_c

    In training the statistics are those of the batch, and the derivation returns the next running averages,
    :math:`m\,\bar\mu + (1 - m)\,\mu`; ``model.forward()`` uses the running averages in their place.

    Parameters
    ----------
    momentum : float
        m, the share of the old average that is kept.
    epsilon : float
    center, scale : bool
        Whether there are beta and gamma.
    name : str, optional
        The parameters are ``<name>_gamma`` and ``<name>_beta`` (C,); the state is ``<name>_mean`` and
        ``<name>_variance``.
    trainable : bool

    Notes
    -----
    The running variance is that of the batch (over N, as in Keras and Flax; PyTorch keeps the one over N - 1).

    References
    ----------
    Ioffe, Szegedy, *Batch normalization*, ICML 2015, algorithm 1.

    >>> from derive import Sequential
    >>> model = Sequential([BatchNorm()], input_shape=(4, 5, 3))
    >>> list(model.parameters), list(model.state)
    (['batch_norm_1_gamma', 'batch_norm_1_beta'], ['batch_norm_1_mean', 'batch_norm_1_variance'])
    >>> model.state["batch_norm_1_mean"].update.name
    'batch_norm_1_mean_new'
    """

    kind = "batch_norm"

    def __init__(
        self,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self._take(epsilon, center, scale)
        self.momentum, self._m = momentum, exact(momentum, "BatchNorm: momentum")
        if not 0 <= self._m < 1:
            raise DeriveError(f"BatchNorm: momentum is {momentum}; accepted is a number from 0, below 1")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *over, c = x.indices
        held = new.remember("mean", c, init="zeros"), new.remember("variance", c, init="ones")
        if new.training:
            mean, variance = self.moments(x[x.indices], over, (c,), new)
            for state, now in zip(held, (mean, variance), strict=True):
                new.update(state, self._m * state[c] + (1 - self._m) * now[c])
        else:
            mean, variance = held
        hat = new.define("xh", x.indices, (x[x.indices] - mean[c]) / sqrt(variance[c] + self._eps))
        return new.define("h", x.indices, self.affine(hat[x.indices], c, new))


@in_catalogue
class LayerNorm(Normalization):
    r"""Each example's channels normalized among themselves, over the last axis.

    .. math::

        \mu_b = \frac1C \sum_c x_{b,c}, \qquad \sigma^2_b = \frac1C \sum_c (x_{b,c} - \mu_b)^2, \qquad
        h_{b,c} = \gamma_c\, \frac{x_{b,c} - \mu_b}{\sqrt{\sigma^2_b + \epsilon}} + \beta_c

    Parameters
    ----------
    epsilon, center, scale, name, trainable
        As for :class:`BatchNorm`.

    References
    ----------
    Ba, Kiros, Hinton, *Layer normalization*, arXiv:1607.06450 (2016).

    >>> from derive import Sequential
    >>> list(Sequential([LayerNorm()], input_shape=(4,)).parameters)
    ['layer_norm_1_gamma', 'layer_norm_1_beta']
    """

    kind = "layer_norm"

    def __init__(
        self,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self._take(epsilon, center, scale)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *kept, c = x.indices
        mean, variance = self.moments(x[x.indices], (c,), tuple(kept), new)
        hat = new.define("xh", x.indices, (x[x.indices] - mean[tuple(kept)]) / sqrt(variance[tuple(kept)] + self._eps))
        return new.define("h", x.indices, self.affine(hat[x.indices], c, new))


@in_catalogue
class GroupNorm(Normalization):
    r"""Each example's channels normalized in groups, over a group's channels and all positions.

    .. math::

        \mu_{b,g} = \frac1N \sum_{p,q,k} x_{b,p,q,\,Kg + k}, \qquad
        \hat x_{b,p,q,g,k} = \frac{x_{b,p,q,\,Kg + k} - \mu_{b,g}}{\sqrt{\sigma^2_{b,g} + \epsilon}}, \qquad
        h_{b,p,q,\,Kg + k} = \gamma_{Kg + k}\, \hat x_{b,p,q,g,k} + \beta_{Kg + k}

    Parameters
    ----------
    groups : int
        How many; as many as channels makes instance normalization.
    epsilon, center, scale, name, trainable
        As for :class:`BatchNorm`.

    References
    ----------
    Wu, He, *Group normalization*, ECCV 2018.

    >>> from derive import Sequential
    >>> Sequential([GroupNorm(2)], input_shape=(4, 5, 6)).shape_of("group_norm_1")
    (4, 5, 6)
    """

    kind = "group_norm"

    def __init__(
        self,
        groups: int,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.groups = whole(groups, "GroupNorm: groups")
        self._take(epsilon, center, scale)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        b, *at, c = x.indices
        g = Index("g", Integer(self.groups))
        k = Index("k", new.split(c.size, self.groups, "GroupNorm"))
        element = x[(b, *at, k.size * g + k)]
        mean, variance = self.moments(element, (*at, k), (b, g), new)
        hat = new.define("xh", (b, *at, g, k), (element - mean[b, g]) / sqrt(variance[b, g] + self._eps))
        return new.define("h", x.indices, self.affine(beside(hat, c), c, new))


@in_catalogue
class LocalResponseNorm(Layer):
    r"""Each channel divided by a power of the sum of squares of its neighbours.

    .. math::

        h_{b,p,q,c} = x_{b,p,q,c}\,\Big(k + \alpha \sum_{r<n} x_{b,p,q,\,c + r - \lfloor n/2 \rfloor}^2\Big)^{-\beta}

    Parameters
    ----------
    n : int
        How many neighbouring channels, an odd number.
    k, alpha, beta : float
    name : str, optional

    References
    ----------
    Krizhevsky, Sutskever, Hinton, *ImageNet classification with deep convolutional neural networks*, NeurIPS 2012,
    section 3.3.

    >>> from derive import Sequential
    >>> Sequential([LocalResponseNorm()], input_shape=(4, 5, 6)).output.definition.body
    x[b, p, q, c]/s1[b, p, q, c]**(3/4)
    """

    kind = "local_response_norm"

    def __init__(self, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, name: str | None = None):
        super().__init__(name)
        self.n = whole(n, "LocalResponseNorm: n")
        if self.n % 2 == 0:
            raise ShapeError(
                f"LocalResponseNorm: n is {n}; accepted is an odd number, a channel and as many on either side"
            )
        self.k, self.alpha, self.beta = k, alpha, beta
        self._numbers = [
            exact(v, f"LocalResponseNorm: {what}") for what, v in (("k", k), ("alpha", alpha), ("beta", beta))
        ]

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *at, c = x.indices
        k, alpha, beta = self._numbers
        r = Index("r", Integer(self.n))
        squares = Sum(x[(*at, c + r - self.n // 2)] ** 2, r)
        s = new.define("s", x.indices, k + alpha * squares)
        return new.define("h", x.indices, x[x.indices] * s[x.indices] ** -beta)
