"""Well-known networks, as lists or graphs of layers; ``NETWORKS`` has them by name.

>>> lenet5().summary().total
61706
"""

from __future__ import annotations

from collections.abc import Callable

from derive.networks import layers as L
from derive.networks.layers.base import Node
from derive.networks.layers.graph import Input
from derive.networks.model import Model, Sequential


def twenty(classes: int = 2) -> Sequential:
    """A small network on 20x20 colour images, whose parameters are counted by hand in many lectures: 68,770."""
    return Sequential(
        [
            L.Dense(16, activation="relu"),
            L.Conv2D(32, 3, padding="same", activation="relu"),
            L.MaxPool2D(2),
            L.Conv2D(64, 5, padding="same", activation="relu"),
            L.Flatten(),
            L.Dense(classes),
        ],
        input_shape=(20, 20, 3),
        name="twenty",
    )


def keras_mnist(classes: int = 10) -> Sequential:
    """The convolutional network of the Keras documentation for MNIST: 34,826 parameters; ends in logits.

    References
    ----------
    Chollet, *Simple MNIST convnet*, keras.io/examples/vision/mnist_convnet.
    """
    return Sequential(
        [
            L.Conv2D(32, 3, activation="relu"),
            L.MaxPool2D(2),
            L.Conv2D(64, 3, activation="relu"),
            L.MaxPool2D(2),
            L.Flatten(),
            L.Dropout(0.5),
            L.Dense(classes),
        ],
        input_shape=(28, 28, 1),
        name="keras_mnist",
    )


def lenet5(classes: int = 10) -> Sequential:
    """LeNet-5 on 28x28 images, with full connections between its maps, tanh and logits: 61,706 parameters.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, Proc. IEEE 86 (1998),
    figure 2.
    """
    return Sequential(
        [
            L.Conv2D(6, 5, padding="same", activation="tanh"),
            L.AvgPool2D(2),
            L.Conv2D(16, 5, activation="tanh"),
            L.AvgPool2D(2),
            L.Flatten(),
            L.Dense(120, activation="tanh"),
            L.Dense(84, activation="tanh"),
            L.Dense(classes),
        ],
        input_shape=(28, 28, 1),
        name="lenet5",
    )


def digits_cnn(classes: int = 10) -> Sequential:
    """A small network for the 8x8 digits."""
    return Sequential(
        [
            L.Conv2D(16, 3, padding="same", activation="relu"),
            L.MaxPool2D(2),
            L.Conv2D(32, 3, padding="same", activation="relu"),
            L.MaxPool2D(2),
            L.Flatten(),
            L.Dense(classes),
        ],
        input_shape=(8, 8, 1),
        name="digits_cnn",
    )


def vgg16(classes: int = 1000) -> Sequential:
    """VGG16, configuration D: 138,357,544 parameters; ends in logits.

    References
    ----------
    Simonyan, Zisserman, *Very deep convolutional networks for large-scale image recognition*, ICLR 2015, table 1.
    """
    layers: list = []
    for block, (filters, repeats) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        layers += [
            L.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{block}_conv{n}")
            for n in range(1, repeats + 1)
        ]
        layers.append(L.MaxPool2D(2, name=f"block{block}_pool"))
    layers += [L.Flatten(), L.Dense(4096, activation="relu"), L.Dense(4096, activation="relu"), L.Dense(classes)]
    return Sequential(layers, input_shape=(224, 224, 3), name="vgg16")


def convolved(x: Node, filters: int, size: int, stride: int = 1, activation: str | None = "relu") -> Node:
    """Convolution, batch normalization, and an activation if there is one."""
    h = L.Conv2D(filters, size, strides=stride, padding=size // 2, use_bias=False, kernel_initializer="he_normal")(x)
    h = L.BatchNorm(momentum=0.9, epsilon=1e-5)(h)
    return h if activation is None else L.Activation(activation)(h)


def residual(x: Node, filters: int, stride: int, project: bool, wide: int = 1) -> Node:
    """A block and the way past it: two 3x3 convolutions, or with ``wide`` 4 the bottleneck of 1x1, 3x3 and 1x1."""
    if wide == 1:
        h = convolved(convolved(x, filters, 3, stride), filters, 3, activation=None)
    else:
        h = convolved(convolved(x, filters, 1), filters, 3, stride)
        h = convolved(h, wide * filters, 1, activation=None)
    past = convolved(x, wide * filters, 1, stride, activation=None) if project else x
    return L.Activation("relu")(L.Add()([h, past]))


def small_resnet(
    depth: int = 8, classes: int = 10, shape: tuple[int, int, int] = (32, 32, 3), width: int = 16
) -> Model:
    """A residual network for small images, of depth 6n + 2 (8, 14, 20, ...), with projections where the size changes.

    References
    ----------
    He, Zhang, Ren, Sun, *Deep residual learning for image recognition*, CVPR 2016, section 4.2.

    >>> small_resnet(8).shape_of("activation_7")
    (8, 8, 64)
    """
    x = Input(shape)
    h = convolved(x, width, 3)
    for stage in range(3):
        for n in range((depth - 2) // 6):
            new = stage > 0 and n == 0
            h = residual(h, width * 2**stage, 2 if new else 1, project=new)
    return Model(x, L.Dense(classes)(L.GlobalAvgPool()(h)), name=f"resnet{depth}")


def resnet50(classes: int = 1000) -> Model:
    """The residual network of 50 layers, with bottlenecks, the stride in the 3x3 convolution: 25,557,032 parameters.

    References
    ----------
    He, Zhang, Ren, Sun, *Deep residual learning for image recognition*, CVPR 2016, table 1.
    """
    x = Input((224, 224, 3))
    h = L.MaxPool2D(3, strides=2, padding=1)(convolved(x, 64, 7, 2))
    for stage, repeats in enumerate((3, 4, 6, 3)):
        for n in range(repeats):
            h = residual(h, 64 * 2**stage, 2 if stage and not n else 1, project=n == 0, wide=4)
    return Model(x, L.Dense(classes)(L.GlobalAvgPool()(h)), name="resnet50")


NETWORKS: dict[str, Callable[[], Model]] = {
    f.__name__: f for f in (twenty, keras_mnist, lenet5, digits_cnn, small_resnet, vgg16, resnet50)
}
