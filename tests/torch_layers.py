"""Every layer and loss of ``torch.nn``: for nx.from_torch.

``LAYERS[name]() -> (module, args)`` for layers, ``LOSSES[name]() -> (module, args)`` for losses, whose first argument is
what is differentiated by beside the parameters; ``REFUSED[name]`` is what the refusal says.  A name is that of the class, then
what is particular about it.
"""

import torch
from torch import nn
from torch_draws import labels, normal, uniform
from torch_sequences import ATTENTION, LOSSES, RECURRENT  # noqa: F401  the losses are of the table

X3, X4, X5 = (2, 4, 8), (2, 4, 6, 8), (2, 2, 4, 6, 4)


def pooled(dims):
    """A max pool with its inverse."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = getattr(nn, f"MaxPool{dims}d")(2, return_indices=True)
            self.unpool = getattr(nn, f"MaxUnpool{dims}d")(2)

        def forward(self, x):
            y, at = self.pool(x)
            return self.unpool(y, at)

    return Pooled()


def pointwise(kind, *args, **options):
    return lambda: (kind(*args, **options), (normal(3, 4) * 2,))


POINTWISE = {
    **{
        k.__name__: pointwise(k)
        for k in (
            *(
                nn.CELU,
                nn.ELU,
                nn.GELU,
                nn.Hardshrink,
                nn.Hardsigmoid,
                nn.Hardswish,
                nn.Hardtanh,
                nn.Identity,
                nn.LeakyReLU,
            ),
            *(
                nn.LogSigmoid,
                nn.Mish,
                nn.PReLU,
                nn.ReLU,
                nn.ReLU6,
                nn.SELU,
                nn.SiLU,
                nn.Sigmoid,
                nn.Softplus,
                nn.Softshrink,
            ),
            *(nn.Softsign, nn.Tanh, nn.Tanhshrink),
        )
    },
    "GELU tanh": pointwise(nn.GELU, approximate="tanh"),
    "Hardtanh of other limits": pointwise(nn.Hardtanh, -0.5, 1.5),
    "LogSoftmax": pointwise(nn.LogSoftmax, -1),
    "Softmax": pointwise(nn.Softmax, -1),
    "Softmin": pointwise(nn.Softmin, -1),
    "Softplus of beta 2": pointwise(nn.Softplus, beta=2),
    "Threshold": pointwise(nn.Threshold, 0.3, -1.0),
    "GLU": pointwise(nn.GLU),
    "Softmax2d": lambda: (nn.Softmax2d(), (normal(*X4),)),
    "RReLU": lambda: (nn.RReLU().eval(), (normal(3, 4),)),
    **{
        f"{k.__name__}": (lambda k=k, s=s: (k(0.3).eval(), (normal(*s),)))
        for k, s in (
            (nn.Dropout, X3),
            (nn.Dropout1d, X3),
            (nn.Dropout2d, X4),
            (nn.Dropout3d, X5),
            (nn.AlphaDropout, X3),
            (nn.FeatureAlphaDropout, X4),
        )
    },
}
SHAPES = {
    "Flatten": lambda: (nn.Flatten(), (normal(*X4),)),
    "Unflatten": lambda: (nn.Unflatten(1, (2, 2)), (normal(*X3),)),
    "ChannelShuffle": lambda: (nn.ChannelShuffle(2), (normal(*X4),)),
    "PixelShuffle": lambda: (nn.PixelShuffle(2), (normal(*X4),)),
    "PixelUnshuffle": lambda: (nn.PixelUnshuffle(2), (normal(*X4),)),
    "Fold": lambda: (nn.Fold((4, 5), (2, 2)), (normal(2, 12, 12),)),
    "Fold with strides": lambda: (nn.Fold((6, 6), 3, padding=1, stride=2), (normal(2, 18, 9),)),
    "Unfold": lambda: (nn.Unfold((2, 3)), (normal(2, 3, 4, 5),)),
    "Unfold with strides": lambda: (nn.Unfold(3, padding=1, stride=2, dilation=2), (normal(2, 3, 7, 8),)),
    **{
        f"{mode}Pad{n}d": (
            lambda mode=mode, n=n, s=s: (
                getattr(nn, f"{mode}Pad{n}d")(tuple(range(1, 2 * n + 1)) if n == 1 else 1),
                (normal(*s),),
            )
        )
        for mode in ("Circular", "Reflection", "Replication", "Zero")
        for n, s in ((1, X3), (2, (2, 3, 4, 5)), (3, (1, 2, 3, 3, 4)))
    },
    **{
        f"ConstantPad{n}d": (lambda n=n, s=s: (getattr(nn, f"ConstantPad{n}d")(1, 2.5), (normal(*s),)))
        for n, s in ((1, X3), (2, X4), (3, X5))
    },
    "Upsample": lambda: (nn.Upsample(scale_factor=2), (normal(2, 3, 4, 5),)),
    "Upsample of a sequence": lambda: (nn.Upsample(scale_factor=3), (normal(2, 3, 4),)),
    "Upsample of a volume": lambda: (nn.Upsample(scale_factor=2), (normal(1, 2, 2, 3, 2),)),
    "Upsample to a size": lambda: (nn.Upsample(size=(8, 10)), (normal(2, 3, 4, 5),)),
    "Upsample by 1.5": lambda: (nn.Upsample(scale_factor=1.5), (normal(2, 3, 4, 6),)),
    "Upsample bilinear": lambda: (nn.Upsample(scale_factor=2, mode="bilinear"), (normal(2, 3, 4, 5),)),
    "Upsample bilinear, corners": lambda: (
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        (normal(2, 3, 4, 5),),
    ),
    "Upsample linear": lambda: (nn.Upsample(scale_factor=2, mode="linear"), (normal(2, 3, 4),)),
    "Upsample bicubic": lambda: (nn.Upsample(scale_factor=2, mode="bicubic"), (normal(2, 3, 4, 4),)),
    "Upsample trilinear": lambda: (nn.Upsample(scale_factor=2, mode="trilinear"), (normal(1, 2, 2, 3, 2),)),
    "Upsample nearest-exact": lambda: (nn.Upsample(scale_factor=2, mode="nearest-exact"), (normal(2, 3, 4, 4),)),
    "UpsamplingNearest2d": lambda: (nn.UpsamplingNearest2d(scale_factor=2), (normal(2, 3, 4, 5),)),
    "UpsamplingBilinear2d": lambda: (nn.UpsamplingBilinear2d(scale_factor=2), (normal(2, 3, 4, 5),)),
}
LINEAR = {
    "Linear": lambda: (nn.Linear(4, 3), (normal(5, 4),)),
    "Bilinear": lambda: (nn.Bilinear(3, 4, 5), (normal(6, 3), normal(6, 4))),
    "Embedding": lambda: (nn.Embedding(7, 4), (labels(7, 3, 5),)),
    "Embedding with padding": lambda: (nn.Embedding(7, 4, padding_idx=0), (labels(7, 3, 5),)),
    "EmbeddingBag": lambda: (nn.EmbeddingBag(7, 4), (labels(7, 3, 5),)),
    "EmbeddingBag sum": lambda: (nn.EmbeddingBag(7, 4, mode="sum"), (labels(7, 3, 5),)),
    "EmbeddingBag weighted": lambda: (nn.EmbeddingBag(7, 4, mode="sum"), (labels(7, 3, 5), None, normal(3, 5))),
    "EmbeddingBag offsets": lambda: (nn.EmbeddingBag(7, 4), (labels(7, 9), torch.tensor([0, 3, 5]))),
    "CosineSimilarity": lambda: (nn.CosineSimilarity(), (normal(3, 4), normal(3, 4))),
    "PairwiseDistance": lambda: (nn.PairwiseDistance(), (normal(3, 4), normal(3, 4))),
    "PairwiseDistance of order 1": lambda: (nn.PairwiseDistance(1), (normal(3, 4), normal(3, 4))),
    "PairwiseDistance of order 3": lambda: (nn.PairwiseDistance(3), (normal(3, 4), normal(3, 4))),
    **{
        f"Conv{n}d{said}": (lambda n=n, s=s, o=o: (getattr(nn, f"Conv{n}d")(4, 6, 3, **o), (normal(*s),)))
        for n, s in ((1, (2, 4, 9)), (2, (2, 4, 7, 8)), (3, (1, 4, 5, 6, 5)))
        for said, o in (
            ("", {}),
            (" with strides", {"stride": 2, "padding": 1}),
            (" same", {"padding": "same", "dilation": 2}),
            (" grouped", {"groups": 2}),
        )
    },
    **{
        f"Conv{n}d {mode}": (
            lambda n=n, s=s, mode=mode: (getattr(nn, f"Conv{n}d")(4, 6, 3, padding=1, padding_mode=mode), (normal(*s),))
        )
        for n, s in ((1, (2, 4, 9)), (2, (2, 4, 5, 6)))
        for mode in ("reflect", "replicate", "circular")
    },
    **{
        f"ConvTranspose{n}d": (
            lambda n=n, s=s: (
                getattr(nn, f"ConvTranspose{n}d")(4, 3, 3, stride=2, padding=1, output_padding=1),
                (normal(*s),),
            )
        )
        for n, s in ((1, (2, 4, 5)), (2, (2, 4, 3, 4)), (3, (1, 4, 3, 2, 3)))
    },
    "LazyLinear": lambda: (made(nn.LazyLinear(3), normal(5, 4)), (normal(5, 4),)),
    "LazyConv2d": lambda: (made(nn.LazyConv2d(3, 2), normal(*X4)), (normal(*X4),)),
}


def made(lazy, x):
    lazy.double()(x)
    return lazy


POOLS = {
    **{
        f"{kind}Pool{n}d{said}": (lambda kind=kind, n=n, s=s, o=o: (getattr(nn, f"{kind}Pool{n}d")(**o), (normal(*s),)))
        for kind in ("Max", "Avg")
        for n, s in ((1, (2, 3, 8)), (2, (2, 3, 6, 8)), (3, (1, 2, 4, 4, 6)))
        for said, o in (("", {"kernel_size": 2}), (" with padding", {"kernel_size": 5 - n, "stride": 2, "padding": 1}))
    },
    "AvgPool2d without the padding": lambda: (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (normal(2, 3, 6, 8),)),
    "AvgPool2d ceil": lambda: (nn.AvgPool2d(2, ceil_mode=True), (normal(2, 3, 5, 7),)),
    "MaxPool2d ceil": lambda: (nn.MaxPool2d(2, ceil_mode=True), (normal(2, 3, 5, 7),)),
    "MaxPool2d dilated": lambda: (nn.MaxPool2d(2, dilation=2), (normal(2, 3, 6, 7),)),
    **{
        f"Adaptive{kind}Pool{n}d{said}": (
            lambda kind=kind, n=n, s=s, o=o: (getattr(nn, f"Adaptive{kind}Pool{n}d")(o), (normal(*s),))
        )
        for kind in ("Max", "Avg")
        for n, s in ((1, (2, 3, 8)), (2, (2, 3, 6, 8)), (3, (1, 2, 4, 4, 6)))
        for said, o in (("", 1), (" to 2", 2))
    },
    "AdaptiveAvgPool2d to 3 of 8": lambda: (nn.AdaptiveAvgPool2d(3), (normal(2, 3, 8, 7),)),
    "AdaptiveMaxPool1d to 3 of 8": lambda: (nn.AdaptiveMaxPool1d(3), (normal(2, 3, 8),)),
    "LPPool1d": lambda: (nn.LPPool1d(2, 2), (uniform(2, 3, 8),)),
    "LPPool2d": lambda: (nn.LPPool2d(2, 2), (normal(2, 3, 6, 8),)),
    "LPPool3d": lambda: (nn.LPPool3d(2, 2), (normal(1, 2, 4, 4, 4),)),
    "MaxUnpool1d": lambda: (pooled(1), (normal(2, 3, 8),)),
    "MaxUnpool2d": lambda: (pooled(2), (normal(2, 3, 4, 6),)),
    "MaxUnpool3d": lambda: (pooled(3), (normal(1, 2, 4, 4, 4),)),
    "FractionalMaxPool2d": lambda: (nn.FractionalMaxPool2d(2, output_size=3), (normal(2, 3, 7, 7),)),
    "FractionalMaxPool3d": lambda: (nn.FractionalMaxPool3d(2, output_size=2), (normal(1, 2, 5, 5, 5),)),
}
NORMS = {
    **{
        f"{kind}{n}d{said}": (
            lambda kind=kind, n=n, s=s, o=o, said=said: (
                evaluated(getattr(nn, f"{kind}{n}d")(s[1], **o), said),
                (normal(*s),),
            )
        )
        for kind, o in (("BatchNorm", {}), ("InstanceNorm", {"affine": True}))
        for n, s in ((1, X3), (2, X4), (3, (2, 2, 3, 4, 3)))
        for said in ("", " in evaluation")
    },
    "InstanceNorm2d with running averages": lambda: (
        nn.InstanceNorm2d(4, track_running_stats=True).eval(),
        (normal(*X4),),
    ),
    "SyncBatchNorm": lambda: (nn.SyncBatchNorm(4).eval(), (normal(*X4),)),
    "GroupNorm": lambda: (nn.GroupNorm(2, 4), (normal(*X4),)),
    "LayerNorm": lambda: (nn.LayerNorm(8), (normal(*X3),)),
    "LayerNorm of two axes": lambda: (nn.LayerNorm((4, 8)), (normal(*X3),)),
    "LayerNorm without parameters": lambda: (nn.LayerNorm(8, elementwise_affine=False), (normal(*X3),)),
    "RMSNorm": lambda: (nn.RMSNorm(8), (normal(*X3),)),
    "LocalResponseNorm": lambda: (nn.LocalResponseNorm(3), (normal(2, 4, 3),)),
    "LocalResponseNorm of 2": lambda: (nn.LocalResponseNorm(2), (normal(2, 5, 3),)),
    "CrossMapLRN2d": lambda: (nn.CrossMapLRN2d(3), (normal(*X4),)),
}


def evaluated(module, said):
    if said:
        for p in module.buffers():
            if p.is_floating_point():
                p.copy_(torch.rand_like(p) + 0.5)
        return module.eval()
    return module


CONTAINERS = {
    "Sequential": lambda: (nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), (normal(6, 4),)),
    "ModuleList": lambda: (Listed(), (normal(6, 4),)),
    "ModuleDict": lambda: (Listed(), (normal(6, 4),)),
    "ParameterList": lambda: (Listed(), (normal(6, 4),)),
    "ParameterDict": lambda: (Listed(), (normal(6, 4),)),
}


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.by_name = nn.ModuleDict({"act": nn.Tanh(), "out": nn.Linear(4, 3)})
        self.scales = nn.ParameterList([torch.full((4,), 0.5), torch.full((4,), 2.0)])
        self.shifts = nn.ParameterDict({"a": torch.full((4,), 0.1)})

    def forward(self, x):
        for layer, scale in zip(self.layers, self.scales, strict=True):
            x = self.by_name["act"](layer(x)) * scale + self.shifts["a"]
        return self.by_name["out"](x)


LAYERS = POINTWISE | SHAPES | LINEAR | POOLS | NORMS | RECURRENT | ATTENTION | CONTAINERS
REFUSED = {
    **{f"MaxUnpool{n}d": "places of maxima are read; accepted: the maxima alone" for n in (1, 2, 3)},
    **{f"FractionalMaxPool{n}d": "noise is an input: draw it outside" for n in (2, 3)},
    "CrossMapLRN2d": "mutation has no meaning",
    "CTCLoss": "the value of a tensor decides what is computed",
    "GaussianNLLLoss": "the value of a tensor decides what is computed",
    "GaussianNLLLoss full": "the value of a tensor decides what is computed",
    "AdaptiveLogSoftmaxWithLoss": "the value of a tensor decides what is computed",
}
