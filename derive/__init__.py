"""Symbolic derivation of neural-network gradients from forward definitions in index notation."""

from typing import TYPE_CHECKING

from .derivation.backprop import backprop, vjp
from .derivation.derivation import Derivation
from .derivation.formula import derive_matrix, from_matrix, matrix
from .derivation.gauss_newton import dropped_term, gauss_newton
from .derivation.second_order import hessian, hvp, jacobian
from .derivation.taylor import Expansion, taylor
from .derivation.updates import with_update
from .language.define import block, define
from .language.errors import DerivationError, DeriveError, IndexCaptureError, ParseError, ShapeError, UnsupportedError
from .language.facts import (
    diagonal,
    free_entries,
    lower_triangular,
    missing,
    nonnegative,
    orthogonal,
    positive,
    positive_definite,
    sums_to,
    symmetric,
    toeplitz,
    unit,
    upper_triangular,
)
from .language.formulas.functions import det, inverse, kron, logdet, norm2, solve, trace
from .language.index import index, indices, size
from .language.matrices import Determinant, Inverse, LogDet
from .language.nodes import (
    Iverson,
    Max,
    Prod,
    Sum,
    argmax,
    atan2,
    digamma,
    log_ndtr,
    logaddexp,
    loggamma,
    maximum,
    minimum,
    ndtri,
    polygamma,
    relu,
    sigmoid,
    softplus,
    stop_gradient,
)
from .language.declare import tensor
from .language.text.parse import parse
from .language.unknown import function
from .networks import activations, examples, layers, losses
from .networks.activations import Activation
from .networks.layers.graph import Input
from .networks.losses import Loss
from .networks.model import Model, Sequential
from .program.program import Equation, Program, Row, Step, Term
from .show.matrix_notation import matrix_notation
from .show.pictures.written import solved, written_out

# fmt: off
__all__ = [
    "Activation", "Derivation", "DerivationError", "DeriveError", "Determinant", "Equation", "Expansion",
    "IndexCaptureError", "Input", "Inverse", "Iverson", "LogDet", "Loss", "Max", "Model", "ParseError", "Prod",
    "Program", "Row", "Sequential", "ShapeError", "Step", "Sum", "Term", "UnsupportedError", "activations", "argmax",
    "atan2", "backprop", "block", "define", "derive_matrix", "det", "diagonal", "digamma", "dropped_term", "examples",
    "free_entries", "from_matrix", "function", "gauss_newton", "hessian", "hvp", "index", "indices", "inverse",
    "jacobian", "kron", "layers", "log_ndtr", "logaddexp", "logdet", "loggamma", "losses", "lower_triangular", "matrix",
    "matrix_notation", "maximum", "minimum", "missing", "ndtri", "nonnegative", "norm2", "orthogonal", "parse", "polygamma",
    "positive", "positive_definite", "relu", "sigmoid", "size", "softplus", "solve", "solved", "stop_gradient",
    "sums_to", "symmetric", "taylor", "tensor", "toeplitz", "trace", "unit", "upper_triangular", "vjp", "with_update",
    "written_out",
]
# fmt: on


if not TYPE_CHECKING:  # to a type checker a wrong name stays one

    def __getattr__(name: str) -> object:
        from .networks import elsewhere  # imported when a name is wrong, so that it is no name of this module

        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in layers.LAYERS:
            said = f"; that is L.{name}, after from derive import layers as L"
        else:
            said = elsewhere.hint(name, __all__, elsewhere.HERE)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{said}")


def __dir__() -> list[str]:
    """The public names only, not the rooms of the house (derive.language, derive.passes, ...)."""
    return __all__
