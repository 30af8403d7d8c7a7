"""Convolutions: affine reads of an image, nothing more.  Images are NHWC, kernels HWIO."""

from __future__ import annotations

from sympy import Eq, Expr, Integer, expand

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Tensor
from derive.networks.activations import GivenActivation
from derive.networks.activations import activation as find_activation
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .geometry import AXES, Padding, PerAxis, Reach, Window, check_rank
from .registry import in_catalogue


class Convolution(Layer):
    """What the convolutions share: a kernel, a bias, an activation, and a window."""

    rank = 2

    def _take(
        self,
        kernel_size: PerAxis,
        strides: PerAxis,
        padding: Padding,
        dilation_rate: PerAxis,
        activation: GivenActivation,
        use_bias: bool,
        bias_initializer: Initializer,
    ) -> None:
        where = type(self).__name__
        self.kernel_size, self.strides, self.padding, self.dilation_rate = kernel_size, strides, padding, dilation_rate
        self.window = Window.of(where, self.rank, kernel_size, strides, padding, dilation_rate)
        self.activation = find_activation(activation, where)
        self.use_bias = bool(use_bias)
        self.bias_initializer = initializer(bias_initializer, f"{where}: bias_initializer")
        self.gives = self.activation.gives

    def _initial(self, given: Initializer | None, option: str) -> Initializer:
        """How a kernel starts: as given, or as suits the activation."""
        return initializer(self.activation.init if given is None else given, f"{type(self).__name__}: {option}")

    def biased(self, z: Expr, o: Index, new: Builder) -> Expr:
        """``z``, with the bias of channel ``o`` added."""
        return z + new.parameter("bias", o, init=self.bias_initializer)[o] if self.use_bias else z


class Conv(Convolution):
    def __init__(
        self,
        filters: int,
        kernel_size: PerAxis,
        strides: PerAxis = 1,
        padding: Padding = "valid",
        dilation_rate: PerAxis = 1,
        groups: int = 1,
        activation: GivenActivation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = type(self).__name__
        self.filters, self.groups = whole(filters, f"{where}: filters"), whole(groups, f"{where}: groups")
        self._take(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer)
        self.kernel_initializer = self._initial(kernel_initializer, "kernel_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        reach = self.window.over(x, new)
        if self.groups > 1:
            return self._grouped(x, reach, new)
        b, o = x.indices[0], new.axis(self.filters, "o")
        c = apart(x.indices[-1], o)
        us, rs = [a.u for a in reach], [a.r for a in reach]
        kernel = new.parameter("kernel", *rs, c, o, init=self.kernel_initializer)
        z = Sum(x[(b, *(a.at for a in reach), c)] * kernel[(*rs, c, o)], *rs, c)
        return new.activated((b, *us, o), self.biased(z, o, new), self.activation)

    def _grouped(self, x: Tensor, reach: list[Reach], new: Builder) -> Tensor:
        """Channel ``c`` of group ``g`` is ``g*C + c`` of the image; the groups' outputs are put side by side."""
        where = type(self).__name__
        g = Index("g", Integer(self.groups))
        c = Index("c", new.split(x.axes[-1], self.groups, where))
        made = new.axis(self.filters, "o")
        k = Index("k", new.split(made.size, self.groups, where, "filters"))
        b, us, rs = x.indices[0], [a.u for a in reach], [a.r for a in reach]
        kernel = new.parameter("kernel", *rs, c, made, init=self.kernel_initializer)
        y = new.define(
            "y",
            (b, *us, g, k),
            Sum(x[(b, *(a.at for a in reach), c.size * g + c)] * kernel[(*rs, c, k.size * g + k)], *rs, c),
        )
        z = beside(y, made)
        return new.activated((b, *us, made), self.biased(z, made, new), self.activation)


def beside(y: Tensor, o: Index) -> Expr:
    """The last two axes of ``y`` as one, ``o = g*K + k``: the channels of all groups, one group after another."""
    *outer, g, k = y.indices
    return Sum(y[y.indices] * Iverson(Eq(o, k.size * g + k)), g, k)


@in_catalogue
class Conv1D(Conv):
    r"""A convolution of a sequence (B, T, C) with a kernel (R, C, O).

    .. math:: z_{b,u,o} = \sum_{r,c} x_{b,\,Su + Dr - P,\,c}\, K_{r,c,o} + \beta_o, \qquad h = f(z)

    Parameters, padding and references as for :class:`Conv2D`, with one axis.

    >>> from derive import Sequential
    >>> model = Sequential([Conv1D(4, 3, padding="same", dilation_rate=2)], input_shape=(10, 2))
    >>> model.shape(model.output), model.parameters["conv1d_1_kernel"].shape
    ((B, 10, 4), (3, 2, 4))
    """

    kind, rank = "conv1d", 1


@in_catalogue
class Conv2D(Conv):
    r"""A convolution of images (B, H, W, C) with a kernel (R, Q, C, O): NHWC and HWIO.

    .. math:: z_{b,u,v,o} = \sum_{r,s,c} x_{b,\,Su + Dr - P,\,Sv + Ds - P,\,c}\, K_{r,s,c,o} + \beta_o, \qquad h = f(z)

    A read outside the image is zero; that is all that padding is.

    Parameters
    ----------
    filters : int
        The number of output channels, O.
    kernel_size, strides, dilation_rate : int or tuple of int
        For all axes, or one an axis.
    padding : "valid", "same", int, or tuple
        No padding; TensorFlow's, so that the output has ceil(H/S) positions (when an odd number of positions is needed,
        the odd one stands after); a number for all sides; or for each axis a number or a pair (before, after).
    groups : int
        The channels of image and output are cut into groups that do not see each other; the kernel is
        (R, Q, C/groups, O).
    activation : str, Activation or callable, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str, number or callable
    name : str, optional
        ``conv2d_1`` and so on if not given; the parameters are ``<name>_kernel`` and ``<name>_bias``.
    trainable : bool

    Raises
    ------
    ShapeError
        Where no output is left, groups do not divide the channels, or the image has another number of axes.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, Proc. IEEE 86 (1998).
    Dumoulin, Visin, *A guide to convolution arithmetic for deep learning*, arXiv:1603.07285.

    >>> from derive import Sequential
    >>> model = Sequential([Conv2D(5, 3, strides=2)], input_shape=(7, 8, 3))
    >>> print(model.forward().program.equation("z1"))
    z1[b,u,v,o] = sum_{r,s,c} x[b,2u+r,2v+s,c] conv2d_1_kernel[r,s,c,o] + conv2d_1_bias[o]
    >>> model.shape(model.output), model.output.axes
    ((B, 3, 3, 5), (B, floor(H/2 - 3/2) + 1, floor(W/2 - 3/2) + 1, O))
    """

    kind, rank = "conv2d", 2


@in_catalogue
class Conv3D(Conv):
    r"""A convolution of volumes (B, D, H, W, C) with a kernel (R, Q, T, C, O).

    Parameters, padding and references as for :class:`Conv2D`, with three axes.

    >>> from derive import Sequential
    >>> model = Sequential([Conv3D(2, (1, 2, 3))], input_shape=(3, 4, 5, 1))
    >>> model.shape(model.output)
    (B, 3, 3, 3, 2)
    """

    kind, rank = "conv3d", 3


@in_catalogue
class DepthwiseConv2D(Convolution):
    r"""Each channel convolved with kernels of its own; images (B, H, W, C), kernel (R, Q, C, M).

    .. math:: z_{b,u,v,\,Mc + m} = \sum_{r,s} x_{b,\,Su + Dr - P,\,Sv + Ds - P,\,c}\, K_{r,s,c,m} + \beta_{Mc + m}

    Parameters
    ----------
    kernel_size, strides, padding, dilation_rate, activation, use_bias, depthwise_initializer, bias_initializer
        As for :class:`Conv2D`.
    name, trainable
        As for :class:`Conv2D`.
    depth_multiplier : int
        How many outputs each channel has, M.

    References
    ----------
    Howard et al., *MobileNets*, arXiv:1704.04861 (2017).

    >>> from derive import Sequential
    >>> model = Sequential([DepthwiseConv2D(3)], input_shape=(5, 6, 4))
    >>> model.shape(model.output), model.parameters["depthwise_conv2d_1_kernel"].shape
    ((B, 3, 4, 4), (3, 3, 4, 1))
    """

    kind = "depthwise_conv2d"

    def __init__(
        self,
        kernel_size: PerAxis,
        strides: PerAxis = 1,
        padding: Padding = "valid",
        dilation_rate: PerAxis = 1,
        depth_multiplier: int = 1,
        activation: GivenActivation = None,
        use_bias: bool = True,
        depthwise_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.depth_multiplier = whole(depth_multiplier, "DepthwiseConv2D: depth_multiplier")
        self._take(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer)
        self.depthwise_initializer = self._initial(depthwise_initializer, "depthwise_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        reach = self.window.over(x, new)
        b, c, us = x.indices[0], x.indices[-1], [a.u for a in reach]
        z = depthwise(x, reach, self.depth_multiplier, "kernel", self.depthwise_initializer, new)
        if self.depth_multiplier == 1:
            return new.activated((b, *us, c), self.biased(z, c, new), self.activation)
        m = Index("m", Integer(self.depth_multiplier))
        y = new.define("y", (b, *us, c, m), z)
        o = Index("o", self.depth_multiplier * c.size)
        return new.activated((b, *us, o), self.biased(beside(y, o), o, new), self.activation)


def depthwise(x: Tensor, reach: list[Reach], depth_multiplier: int, role: str, init: Initializer, new: Builder) -> Expr:
    """Each channel with kernels of its own; by channel ``c`` and, if there are several, ``m``."""
    b, c, rs = x.indices[0], x.indices[-1], [a.r for a in reach]
    m = Index("m", Integer(depth_multiplier))
    kernel = new.parameter(role, *rs, c, m, init=init)
    which = m if depth_multiplier > 1 else Integer(0)
    return Sum(x[(b, *(a.at for a in reach), c)] * kernel[(*rs, c, which)], *rs)


@in_catalogue
class SeparableConv2D(Convolution):
    r"""A depthwise convolution and then a mixture of channels; images (B, H, W, C).

    .. math:: y_{b,u,v,c,m} = \sum_{r,s} x_{b,\,Su + Dr - P,\,Sv + Ds - P,\,c}\, K_{r,s,c,m}, \qquad
              z_{b,u,v,o} = \sum_{c,m} y_{b,u,v,c,m}\, Q_{0,0,\,Mc + m,\,o} + \beta_o

    Parameters
    ----------
    filters, kernel_size, strides, padding, dilation_rate, activation, use_bias, name, trainable
        As for :class:`Conv2D`.
    depthwise_initializer, pointwise_initializer, bias_initializer
        As for :class:`Conv2D`; the parameters are ``<name>_depthwise_kernel`` (R, Q, C, M), ``<name>_pointwise_kernel``
        (1, 1, C*M, O) and ``<name>_bias`` (O,).
    depth_multiplier : int
        M, as for :class:`DepthwiseConv2D`.

    References
    ----------
    Chollet, *Xception: deep learning with depthwise separable convolutions*, CVPR 2017.

    >>> from derive import Sequential
    >>> model = Sequential([SeparableConv2D(7, 3, depth_multiplier=2)], input_shape=(5, 6, 4))
    >>> {n: p.shape for n, p in model.parameters.items() if "kernel" in n}
    {'separable_conv2d_1_depthwise_kernel': (3, 3, 4, 2), 'separable_conv2d_1_pointwise_kernel': (1, 1, 8, 7)}
    """

    kind = "separable_conv2d"

    def __init__(
        self,
        filters: int,
        kernel_size: PerAxis,
        strides: PerAxis = 1,
        padding: Padding = "valid",
        dilation_rate: PerAxis = 1,
        depth_multiplier: int = 1,
        activation: GivenActivation = None,
        use_bias: bool = True,
        depthwise_initializer: Initializer | None = None,
        pointwise_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.filters = whole(filters, "SeparableConv2D: filters")
        self.depth_multiplier = whole(depth_multiplier, "SeparableConv2D: depth_multiplier")
        self._take(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer)
        self.depthwise_initializer = self._initial(depthwise_initializer, "depthwise_initializer")
        self.pointwise_initializer = self._initial(pointwise_initializer, "pointwise_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        reach = self.window.over(x, new)
        b, c, us = x.indices[0], x.indices[-1], [a.u for a in reach]
        m, o = Index("m", Integer(self.depth_multiplier)), new.axis(self.filters, "o")
        z = depthwise(x, reach, self.depth_multiplier, "depthwise_kernel", self.depthwise_initializer, new)
        extra = (m,) if self.depth_multiplier > 1 else ()
        y = new.define("y", (b, *us, c, *extra), z)
        mixture = new.parameter(
            "pointwise_kernel", 1, 1, Index("c", self.depth_multiplier * c.size), o, init=self.pointwise_initializer
        )
        which: Expr = self.depth_multiplier * c + (m if extra else 0)
        inner = apart(c, o)
        z = Sum(y[(b, *us, inner, *extra)] * mixture[0, 0, which.xreplace({c: inner}), o], inner, *extra)
        return new.activated((b, *us, o), self.biased(z, o, new), self.activation)


@in_catalogue
class Conv2DTranspose(Convolution):
    r"""A transposed convolution: the map that a convolution's gradient applies, as a layer; kernel (R, Q, C, O), HWIO.

    .. math:: z_{b,p,q,o} = \sum_{u,v,r,s,c} x_{b,u,v,c}\, K_{r,s,c,o}\,[p = Su + Dr - P]\,[q = Sv + Ds - P] + \beta_o

    Parameters
    ----------
    filters, kernel_size, strides, dilation_rate, activation, use_bias, kernel_initializer, bias_initializer
        As for :class:`Conv2D`.
    name, trainable
        As for :class:`Conv2D`.
    padding : "valid", "same", int, or tuple
        What is cut off before and after.  The output has S(H - 1) + D(R - 1) + 1 - before - after positions; for
        "valid" at least S*H, and S*H for "same", as in Keras.

    References
    ----------
    Zeiler, Krishnan, Taylor, Fergus, *Deconvolutional networks*, CVPR 2010.

    >>> from derive import Sequential
    >>> model = Sequential([Conv2DTranspose(3, 3, strides=2, padding="same")], input_shape=(4, 5, 2))
    >>> model.shape(model.output)
    (B, 8, 10, 3)
    """

    kind = "conv2d_transpose"

    def __init__(
        self,
        filters: int,
        kernel_size: PerAxis,
        strides: PerAxis = 1,
        padding: Padding = "valid",
        dilation_rate: PerAxis = 1,
        activation: GivenActivation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.filters = whole(filters, "Conv2DTranspose: filters")
        self._take(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer)
        self.kernel_initializer = self._initial(kernel_initializer, "kernel_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        check_rank(x, 2, "Conv2DTranspose", new)
        b, u, v = x.indices[0], Index("u", x.axes[1]), Index("v", x.axes[2])
        o = new.axis(self.filters, "o")
        c = apart(x.indices[-1], o)
        (p, r, row), (q, s, column) = (self._along(n, i, new) for n, i in enumerate((u, v)))
        kernel = new.parameter("kernel", r, s, c, o, init=self.kernel_initializer)
        z = Sum(x[b, u, v, c] * kernel[r, s, c, o] * Iverson(Eq(p, row)) * Iverson(Eq(q, column)), u, v, r, s, c)
        return new.activated((b, p, q, o), self.biased(z, o, new), self.activation)

    def _along(self, n: int, u: Index, new: Builder) -> tuple[Index, Index, Expr]:
        """The output's index, the tap's, and where tap ``r`` of input ``u`` goes."""
        step, apart, taps = self.window.stride[n], self.window.dilation[n], self.window.size[n]
        width = apart * (taps - 1) + 1
        if self.padding == "same":
            before, out = max(width - step, 0) // 2, step * u.size
        elif self.padding == "valid":
            before, out = 0, step * u.size + max(width - step, 0)
        else:
            before, after = self.window.pair(n)
            out = expand(step * (u.size - 1) + width - before - after)
            if new.number(out) < 1:
                raise ShapeError(
                    f"Conv2DTranspose: no output is left along the {AXES[2][n]} (axis {n + 1}): "
                    f"{new.number(out) + before + after} positions, of which the padding cuts off "
                    f"{before} + {after}"
                )
        r = Index("rs"[n], Integer(taps))
        return Index("pq"[n], out), r, step * u + apart * r - before
