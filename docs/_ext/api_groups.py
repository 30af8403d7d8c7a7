"""Where each public name stands in the reference: heading -> (autodoc options for classes, names)."""

MEMBERS = ("members",)

DERIVE = {
    "Indices, sizes and tensors": ((), ("index", "indices", "size", "tensor")),
    "Definitions": ((), ("define", "parse")),
    "Nodes": (
        (),
        ("Sum", "Max", "argmax", "Iverson", "relu", "sigmoid", "softplus", "maximum", "minimum", "stop_gradient"),
    ),
    "Facts": ((), ("positive", "nonnegative", "symmetric", "sums_to")),
    "Derivation": (MEMBERS, ("backprop", "vjp", "Derivation")),
    "Networks": (MEMBERS, ("Sequential",)),
    "What a derivation is made of": ((), ("Equation", "Program", "Row", "Step", "Term")),
    "Errors": (
        (),
        ("DeriveError", "ShapeError", "IndexCaptureError", "UnsupportedError", "DerivationError", "ParseError"),
    ),
}
LAYERS = {"Layers": (MEMBERS, ("Dense",))}
NUMERICS = {
    "Programs": (MEMBERS, ("compile", "Kernel")),
    "Evidence": (MEMBERS, ("verify", "crosscheck", "Report")),
    "Training": (MEMBERS, ("init", "Trainer", "load")),
    "Errors": ((), ("NumericsError",)),
}
