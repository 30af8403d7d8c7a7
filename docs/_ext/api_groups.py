"""Where each public name stands in the reference: heading -> (autodoc options for classes, names)."""

MEMBERS = ("members",)
PLAIN_DATA = {"LAYERS"}  # tables, not taught

DERIVE = {
    "Indices, sizes and tensors": ((), ("index", "indices", "size", "tensor")),
    "Definitions": ((), ("define", "parse", "block")),
    "Nodes": (
        (),
        ("Sum", "Max", "argmax", "Iverson", "relu", "sigmoid", "softplus", "maximum", "minimum", "stop_gradient"),
    ),
    "Facts": ((), ("positive", "nonnegative", "symmetric", "positive_definite", "sums_to", "missing")),
    "Matrices": (
        (),
        (
            "matrix",
            "from_matrix",
            "derive_matrix",
            "matrix_notation",
            "inverse",
            "solve",
            "det",
            "logdet",
            "trace",
            "norm2",
            "kron",
            "Inverse",
            "Determinant",
            "LogDet",
        ),
    ),
    "Derivation": (
        MEMBERS,
        (
            "backprop",
            "vjp",
            "jacobian",
            "hessian",
            "hvp",
            "gauss_newton",
            "dropped_term",
            "taylor",
            "Expansion",
            "with_update",
            "Derivation",
        ),
    ),
    "Networks": (MEMBERS, ("Sequential", "Model", "Input")),
    "What a derivation is made of": ((), ("Equation", "Program", "Row", "Step", "Term")),
    "Errors": (
        (),
        ("DeriveError", "ShapeError", "IndexCaptureError", "UnsupportedError", "DerivationError", "ParseError"),
    ),
}
FAMILY = {"lstm": "recurrent", "gru": "recurrent"}  # layers of one kind in files of their own
BASE = {  # modules that are no kind of layer
    "base": "What a layer is",
    "builder": "What a layer is given",
    "config": "Saving a layer",
    "graph": "Graphs",
}
NUMERICS = {
    "Programs": (MEMBERS, ("compile", "Kernel", "source")),
    "Evidence": (
        MEMBERS,
        ("verify", "crosscheck", "check_vjp", "assert_gradients", "Report", "CrossReport", "VjpReport"),
    ),
    "Newton's method": (MEMBERS, ("newton", "NewtonResult")),
    "Training": (
        (*MEMBERS, "inherited-members"),
        ("init", "Trainer", "load", "transfer", "generate", "Callback", "EarlyStopping", "Player", "play"),
    ),
    "Logs and warnings of training": (MEMBERS, ("Log", "read_log", "TrainingWarning")),
    "Data": (
        MEMBERS,
        (
            "digits",
            "load_mnist",
            "load_idx",
            "load_csv",
            "load_npz",
            "load_images",
            "Loaded",
            "Standardizer",
            "Augment",
            "split",
        ),
    ),
    "Without gradients": (MEMBERS, ("Perceptron", "rbf_centres")),
    "Errors": ((), ("NumericsError", "InputError", "SizeError", "NewtonError", "NotFiniteError")),
}
