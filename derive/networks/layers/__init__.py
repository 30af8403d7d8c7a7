"""The catalogue of layers; each is a forward definition, and nothing else.  ``from derive import layers as L``.

A layer is one file of this folder, with a class under :func:`~derive.networks.layers.registry.in_catalogue`.
"""

from typing import Any as _Any

from derive.networks import elsewhere as _elsewhere
from derive.networks.catalogue import import_all as _import_all
from .activation import Activation
from .bag import EmbeddingBag
from .base import Function, Layer
from .builder import Builder, Parameter, Random, State
from .config import layer_config, layer_from
from .convolution import Conv1D, Conv2D, Conv2DTranspose, Conv3D, DepthwiseConv2D, SeparableConv2D
from .dense import Dense
from .dropout import Dropout, SpatialDropout
from .embedding import Embedding
from .learned import Maxout, PReLU
from .merging import Add, Concatenate, Multiply
from .normalization import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm
from .penalty import Penalty
from .pooling import AvgPool1D, AvgPool2D, AvgPool3D, GlobalAvgPool, GlobalMaxPool, MaxPool1D, MaxPool2D, MaxPool3D
from .radial import RBF
from .recurrent import FinalState, SimpleRNN
from .lstm import LSTM
from .gru import GRU
from .registry import LAYERS
from .reshaping import Flatten, Reshape
from .resizing import UpSampling1D, UpSampling2D, UpSampling3D, ZeroPadding1D, ZeroPadding2D, ZeroPadding3D
from .wrappers import Bidirectional, TimeDistributed

# the names above are for readers and type checkers; a layer is public without being listed
_import_all(__name__, __path__)
globals().update(LAYERS)


def __getattr__(name: str) -> _Any:
    if name.startswith("_"):
        raise AttributeError(name)
    raise AttributeError(
        f"derive.networks.layers has no {name!r}{_elsewhere.hint(name, LAYERS, _elsewhere.LAYERS)}; the catalogue has "
        f"{', '.join(LAYERS)}"
    )
