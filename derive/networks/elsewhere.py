"""What other libraries call things, for messages: Keras 3, Flax and PyTorch.

A table's value is our name, or several of which the one that is taken there is meant, or a sentence (it has a space) that
says how the same is done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from derive.language.hints import did_you_mean

Names = Mapping[str, str | tuple[str, ...]]

_FOUND = "the size of the input is found when the model is built, as in dv.Sequential([...], input_shape=(28, 28, 1))"
_PENALTY = "a layer's parameters are priced with L.Dense(64).penalize(kernel=L.Penalty(l2=1e-3))"
_FLOAT = "programs run in the precision of the arrays that they are given"

OPTIONS: Names = {
    # sizes
    "features": ("units", "filters", "output_dim"),
    "out_features": "units",
    "hidden_size": "units",
    "hidden_features": "units",
    "out_channels": "filters",
    "embedding_dim": "output_dim",
    "vocabulary": "input_dim",
    "vocab_size": "input_dim",
    "num_embeddings": "input_dim",
    "in_features": _FOUND,
    "in_channels": _FOUND,
    "input_size": _FOUND,
    "input_shape": _FOUND,
    "input_dim": _FOUND,
    "num_features": _FOUND,
    "normalized_shape": _FOUND,
    # windows
    "stride": "strides",
    "window_strides": "strides",
    "dilation": "dilation_rate",
    "kernel_dilation": "dilation_rate",
    "size": ("pool_size", "kernel_size"),
    "window_shape": "pool_size",
    "kernel_size": "pool_size",
    "scale_factor": "size",
    "feature_group_count": "groups",
    "num_groups": "groups",
    "multiplier": "depth_multiplier",
    "channel_multiplier": "depth_multiplier",
    "data_format": "images are (N, height, width, channels): np.moveaxis(X, 1, -1) makes them so",
    # how parameters start, and what they cost
    "bias": "use_bias",
    "init": ("embeddings_initializer", "alpha_initializer", "kernel_initializer"),
    "kernel_init": ("kernel_initializer", "depthwise_initializer"),
    "kernel_initializer": ("depthwise_initializer",),
    "bias_init": "bias_initializer",
    "recurrent_init": "recurrent_initializer",
    "recurrent_kernel_init": "recurrent_initializer",
    "embedding_init": "embeddings_initializer",
    "weights": "start from arrays with trainer.params = {...}",
    "kernel_regularizer": _PENALTY,
    "bias_regularizer": _PENALTY,
    "recurrent_regularizer": _PENALTY,
    "embeddings_regularizer": _PENALTY,
    "activity_regularizer": _PENALTY,
    "dtype": _FLOAT,
    "param_dtype": _FLOAT,
    # normalization, dropout
    "eps": "epsilon",
    "use_scale": "scale",
    "use_bias": "center",
    "elementwise_affine": ("scale", "center"),
    "affine": ("scale", "center"),
    "p": "rate",
    "prob": "rate",
    # recurrence
    "inner": "layer",
    "merge": "merge_mode",
    "reset": "reset_after",
    "bidirectional": "write L.Bidirectional(L.LSTM(8))",
    "num_layers": "write several layers one after the other, all but the last with return_sequences=True",
    "batch_first": "sequences are (N, time, features)",
    "reverse": "go_backwards",
    "axis": "the last axis is meant; a function of your own reads another, see docs/extending.md",
    "mask_zero": "a layer with masked=True reads the mask that nx.pad makes",
    "shape": "target_shape",
}

LAYERS: Names = {
    "Linear": "Dense",
    "Conv": "Conv2D",
    "Conv1d": "Conv1D",
    "Conv2d": "Conv2D",
    "Conv3d": "Conv3D",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "ConvTranspose": "Conv2DTranspose",
    "ConvTranspose2d": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    **{f"MaxPooling{n}D": f"MaxPool{n}D" for n in (1, 2, 3)},
    **{f"MaxPool{n}d": f"MaxPool{n}D" for n in (1, 2, 3)},
    **{f"AveragePooling{n}D": f"AvgPool{n}D" for n in (1, 2, 3)},
    **{f"AvgPool{n}d": f"AvgPool{n}D" for n in (1, 2, 3)},
    **{f"GlobalMaxPooling{n}D": "GlobalMaxPool" for n in (1, 2, 3)},
    **{f"GlobalAveragePooling{n}D": "GlobalAvgPool" for n in (1, 2, 3)},
    **{f"AdaptiveAvgPool{n}d": "GlobalAvgPool" for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": "BatchNorm" for n in (1, 2, 3)},
    **{f"SpatialDropout{n}D": "SpatialDropout" for n in (1, 2, 3)},
    **{f"Dropout{n}d": "SpatialDropout" for n in (1, 2, 3)},
    **{f"ZeroPad{n}d": f"ZeroPadding{n}D" for n in (1, 2, 3)},
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "GroupNormalization": "GroupNorm",
    "RMSNormalization": "RMSNorm",
    "Embed": "Embedding",
    "RNN": "SimpleRNN",
    "SimpleCell": "SimpleRNN",
    "LSTMCell": "LSTM",
    "OptimizedLSTMCell": "LSTM",
    "GRUCell": "GRU",
    "GroupQueryAttention": "MultiHeadAttention",
    "MultiheadAttention": "MultiHeadAttention",
    "MultiHeadDotProductAttention": "MultiHeadAttention",
    "Upsample": "UpSampling2D",
    "Concat": "Concatenate",
    **dict.fromkeys(("TransformerEncoder", "TransformerEncoderLayer", "EncoderBlock"), "TransformerBlock"),
    **dict.fromkeys(
        ("TransformerDecoder", "TransformerDecoderLayer"), "write L.TransformerBlock(4, causal=True, cross=True)"
    ),
    "Transformer": "write L.Stack(L.TransformerBlock(4), 6), as examples/translation.py does",
    **dict.fromkeys(("Attention", "AdditiveAttention", "SelfAttention", "CausalSelfAttention"), "MultiHeadAttention"),
    **dict.fromkeys(
        ("TokenAndPositionEmbedding", "PositionEmbedding", "LearnedPositionalEncoding"), "PositionalEmbedding"
    ),
    **dict.fromkeys(("PositionalEncoding", "SinePositionEncoding", "SinusoidalEmbedding"), "SinusoidalPositions"),
    **dict.fromkeys(("RotaryEmbedding", "RoPE"), "write rotary=True in L.MultiHeadAttention or L.TransformerBlock"),
    **dict.fromkeys(("GLU", "SwiGLU", "GEGLU", "ReGLU"), "GatedDense"),
    **dict.fromkeys(("MoE", "MixtureOfExpert", "SparseMoE", "SwitchLayer"), "MixtureOfExperts"),
    "Average": "L.Add() adds; half of each is a function of your own, see docs/extending.md",
    "Subtract": "a function of your own among the layers writes it, see docs/extending.md",
    "Lambda": "a function (x, new) -> tensor stands among the layers as it is, see docs/extending.md",
    "Identity": "leave it out",
    "Permute": "a function (x, new) -> tensor among the layers reads x[b, j, i], see docs/extending.md",
    "RepeatVector": "a function (x, new) -> tensor among the layers reads x[b, i] at every t, see docs/extending.md",
    **dict.fromkeys(("Rescaling", "Normalization"), "scale the data: X / 255, or nx.Standardizer.fit(X)"),
    **dict.fromkeys(
        ("GaussianNoise", "GaussianDropout", "AlphaDropout"),
        "noise is data: an input of its own, or t.fit(..., augment=lambda x, rng: x + rng.normal(size=x.shape))",
    ),
    **dict.fromkeys(
        ("RandomFlip", "RandomTranslation", "RandomCrop", "RandomRotation", "RandomZoom"),
        "t.fit(..., augment=nx.Augment(shift=2)), or a function (x, rng) -> x of your own",
    ),
    "Masking": "recurrent layers and attention read a mask as an input; nx.pad and nx.lengths make it",
    **dict.fromkeys(
        ("TextVectorization", "StringLookup"), "nx.WordVocabulary(texts) numbers words, nx.Vocabulary letters"
    ),
    **dict.fromkeys(
        ("CategoryEncoding", "Hashing", "Discretization", "IntegerLookup"), "L.Embedding reads the numbers"
    ),
    **dict.fromkeys(("StackedRNNCells", "ConvLSTM2D"), "stack L.LSTM(8, return_sequences=True) and others"),
    "ActivityRegularization": "a layer's output is priced with L.Dense(64).penalize(activity=L.Penalty(l2=1e-3))",
    "Cropping2D": "crop the data: X[:, 2:-2, 2:-2]",
    "Sequential": "it is dv.Sequential([...], input_shape=...)",
    "Input": "it is dv.Input(shape)",
    "InputLayer": "it is dv.Input(shape)",
    **{
        name: f"write L.Activation({name.lower()!r})"
        for name in ("ReLU", "ReLU6", "ELU", "SELU", "GELU", "SiLU", "Mish", "Softmax", "Softplus", "Sigmoid", "Tanh")
    },
    "Swish": "write L.Activation('silu')",
    "LeakyReLU": "write L.Activation({'name': 'leaky_relu', 'alpha': 0.2})",
}

# what layers are called with elsewhere
CALLS: Names = {
    "training": "training and use have definitions of their own, and nx.Trainer takes the right ones",
    "deterministic": "training and use have definitions of their own, and nx.Trainer takes the right ones",
    "mask": "a mask is a symbol like the others, layer([x, mask]) or, of attention, layer([x, memory, mask])",
    "attention_mask": "a mask is a symbol like the others, layer([x, memory, mask])",
    "use_causal_mask": "it is an option of the layer, L.MultiHeadAttention(4, 16, causal=True)",
    "initial_state": "it is an option of the layer: L.LSTM(8, initial_state=True), called on [x, h, c]",
    **dict.fromkeys(("query", "value", "key", "inputs", "x"), "symbols are given in their order, layer([x, memory])"),
}

# names of ``derive`` itself: what is numeric is in the other package
HERE: Names = {
    **{
        name: f"it is nx.{name}, after import numerics as nx"
        for name in (
            "Trainer",
            "compile",
            "verify",
            "crosscheck",
            "load",
            "generate",
            "init",
            "from_jax",
            "from_torch",
            "value_and_grad",
            "source",
            "play",
            "Standardizer",
        )
    },
    "jit": "nx.compile(d) makes a compiled program of a derivation",
    "grad": "d = loss.backprop() derives the gradients, nx.compile(d) runs them; of a function in JAX: nx.value_and_grad",
    "Module": "dv.Model(inputs, outputs) or dv.Sequential(layers); a layer of your own is a subclass of L.Layer",
    "nn": "from derive import layers as L",
    "Tensor": "tensor",
    "Variable": "tensor",
    "Parameter": "tensor",
    "Functional": "Model",
    "InputLayer": "Input",
}

LOSSES: Names = {
    "sparse_categorical_crossentropy": "sparse_categorical_cross_entropy",
    "categorical_crossentropy": "categorical_cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
    "cross_entropy": ("sparse_softmax_cross_entropy",),
    "CrossEntropyLoss": "sparse_softmax_cross_entropy",
    "crossentropy": "sparse_softmax_cross_entropy",
    "nll": "sparse_categorical_cross_entropy",
    "nll_loss": "sparse_categorical_cross_entropy",
    "NLLLoss": "sparse_categorical_cross_entropy",
    "rmse": "train with 'mean_squared_error', whose root it is; metrics=['root_mean_squared_error'] shows it",
    "softmax_cross_entropy_with_integer_labels": "sparse_softmax_cross_entropy",
    "bce_with_logits": "sigmoid_binary_cross_entropy",
    "BCEWithLogitsLoss": "sigmoid_binary_cross_entropy",
    "BCELoss": "binary_cross_entropy",
    "MSELoss": "mean_squared_error",
    "L1Loss": "mean_absolute_error",
    "l2": "mean_squared_error",
    "l1": "mean_absolute_error",
    "kl_divergence": "kullback_leibler",
    "cosine_similarity": "cosine",
    "smooth_l1": "huber",
}

METRICS: Names = {
    **dict.fromkeys(
        ("sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy", "accuracy_score"), "accuracy"
    ),
    **dict.fromkeys(
        ("top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy", "top5", "top_5", "top5_accuracy"),
        "top_5_accuracy",
    ),
    **dict.fromkeys(("f1_score", "F1Score", "FBetaScore"), "f1"),
    "roc_auc": "auc",
    "rmse": "root_mean_squared_error",
    "r2_score": "r2",
    "loss": "the loss is measured in any case",
    "perplexity": "np.exp(history['loss']) is it, of a loss that is a cross entropy",
    "confusion_matrix": "sklearn.metrics.confusion_matrix(y, t.predict(X).argmax(-1)) is no single number",
    "mape": "write a function (y, outputs) -> float",
}

# short names that everybody writes; they are the same thing
SHORT: dict[str, str] = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "bce": "binary_cross_entropy",
    "kld": "kullback_leibler",
}


def hint(name: str, known: Iterable[object], table: Names) -> str:
    """What to write instead: by what the name means in another library, else the closest one.

    >>> hint("stride", ["filters", "strides"], OPTIONS), hint("unit", ["units"], OPTIONS)
    ("; that is 'strides' here", "; did you mean 'units'?")
    >>> hint("kernel_regularizer", ["units", "kernel_initializer"], OPTIONS)[:40]
    "; a layer's parameters are priced with L"
    >>> hint("BinaryCrossentropy", ["binary_cross_entropy"], LOSSES), hint("MSE", ["mean_squared_error"], LOSSES)
    ("; that is 'binary_cross_entropy' here", "; that is 'mean_squared_error' here")
    """
    taken = [str(k) for k in known]
    written = _plain(name)
    every = {_plain(n): meant for n, meant in (*SHORT.items(), *table.items())} | {_plain(n): n for n in taken}
    meant = table[name] if name in table else every.get(written, ())
    for one in (meant,) if isinstance(meant, str) else meant:
        if " " in one:
            return f"; {one}"
        if one in taken:
            return f"; that is {one!r} here"
    return did_you_mean(name, taken)


def _plain(name: str) -> str:
    """A name without its capitals and underscores, in which libraries differ."""
    return str(name).replace("_", "").lower()
