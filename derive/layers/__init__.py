"""The catalogue of layers; each is a forward definition, and nothing else.  ``from derive import layers as L``."""

from .activation import Activation
from .base import Builder, Layer, Parameter
from .config import LAYERS, layer_config, layer_from
from .dense import Dense
