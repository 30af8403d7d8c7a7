"""The closed set of scalar functions of the language, by the names of their SymPy classes."""

from __future__ import annotations

NAMES = frozenset(
    {"exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"}
    | {"erf", "erfc", "sigmoid", "softplus", "Abs", "sign", "floor", "relu", "maximum", "minimum", "stop_gradient"}
    | {"Pow", "Piecewise", "Iverson"}
)
