"""Symbolic derivation of neural-network gradients from forward definitions in index notation."""

from . import activations, layers, losses
from .backprop import backprop, hessian, hvp, jacobian, vjp
from .define import block, define
from .derivation import Derivation
from .errors import DerivationError, DeriveError, IndexCaptureError, ParseError, ShapeError, UnsupportedError
from .facts import missing, nonnegative, positive, positive_definite, sums_to, symmetric
from .gauss_newton import dropped_term, gauss_newton
from .index import index, indices, size
from .layers.graph import Input
from .matrices.front import derive_matrix, from_matrix, matrix
from .matrices.functions import det, inverse, kron, logdet, norm2, solve, trace
from .matrices.leaves import Determinant, Inverse, LogDet
from .matrix_notation import matrix_notation
from .model import Model, Sequential
from .nodes import Iverson, Max, Sum, argmax, maximum, minimum, relu, sigmoid, softplus, stop_gradient
from .parse import parse
from .program import Equation, Program, Row, Step, Term
from .show.written import solved, written_out
from .taylor import Expansion, taylor
from .tensor import tensor
from .updates import with_update

__all__ = [
    "Derivation",
    "DerivationError",
    "DeriveError",
    "Determinant",
    "Equation",
    "Expansion",
    "IndexCaptureError",
    "Input",
    "Inverse",
    "Iverson",
    "LogDet",
    "Max",
    "Model",
    "ParseError",
    "Program",
    "Row",
    "Sequential",
    "ShapeError",
    "Step",
    "Sum",
    "Term",
    "UnsupportedError",
    "activations",
    "argmax",
    "backprop",
    "block",
    "define",
    "derive_matrix",
    "det",
    "dropped_term",
    "from_matrix",
    "gauss_newton",
    "hessian",
    "hvp",
    "index",
    "indices",
    "inverse",
    "jacobian",
    "kron",
    "layers",
    "logdet",
    "losses",
    "matrix",
    "matrix_notation",
    "maximum",
    "minimum",
    "missing",
    "nonnegative",
    "norm2",
    "parse",
    "positive",
    "positive_definite",
    "relu",
    "sigmoid",
    "size",
    "softplus",
    "solve",
    "solved",
    "stop_gradient",
    "sums_to",
    "symmetric",
    "taylor",
    "tensor",
    "trace",
    "vjp",
    "with_update",
    "written_out",
]


def __dir__() -> list[str]:
    """The public names: without the modules that they stand in."""
    return __all__
