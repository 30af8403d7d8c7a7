"""Recurrent layers, attention and losses of ``torch.nn``, as :mod:`torch_layers` has them."""

import torch
from torch import nn
from torch_draws import labels, mask, normal, padding, signs, uniform


class With(nn.Module):
    """A module with options given by name."""

    def __init__(self, module, **options):
        super().__init__()
        self.module, self.options = module, options

    def forward(self, *args):
        return self.module(*args, **self.options)


def attention(**options):
    return nn.MultiheadAttention(8, 2, batch_first=True, **options)


RECURRENT = {
    **{
        f"{kind.__name__}{said}": (lambda kind=kind, o=o: (kind(3, 4, **o), (normal(5, 2, 3),)))
        for kind in (nn.RNN, nn.LSTM, nn.GRU)
        for said, o in (
            ("", {}),
            (" of two layers, both ways", {"num_layers": 2, "bidirectional": True}),
            (" batch first", {"batch_first": True}),
        )
    },
    "RNN relu": lambda: (nn.RNN(3, 4, nonlinearity="relu"), (normal(5, 2, 3),)),
    "LSTM projected": lambda: (nn.LSTM(3, 4, proj_size=2), (normal(5, 2, 3),)),
    "LSTM with a state": lambda: (nn.LSTM(3, 4), (normal(5, 2, 3), (normal(1, 2, 4), normal(1, 2, 4)))),
    "GRU with a state": lambda: (nn.GRU(3, 4), (normal(5, 2, 3), normal(1, 2, 4))),
    "GRU without a batch": lambda: (nn.GRU(3, 4), (normal(5, 3),)),
    "RNNCell": lambda: (nn.RNNCell(3, 4), (normal(2, 3), normal(2, 4))),
    "RNNCell without a state": lambda: (nn.RNNCell(3, 4), (normal(2, 3),)),
    "LSTMCell": lambda: (nn.LSTMCell(3, 4), (normal(2, 3), (normal(2, 4), normal(2, 4)))),
    "GRUCell": lambda: (nn.GRUCell(3, 4), (normal(2, 3), normal(2, 4))),
}
ATTENTION = {
    "MultiheadAttention": lambda: (attention(), (normal(2, 6, 8), normal(2, 5, 8), normal(2, 5, 8))),
    "MultiheadAttention sequence first": lambda: (
        nn.MultiheadAttention(8, 2),
        (normal(6, 2, 8), normal(5, 2, 8), normal(5, 2, 8)),
    ),
    "MultiheadAttention of one": lambda: (Self(attention()), (normal(2, 6, 8),)),
    "MultiheadAttention without weights": lambda: (
        With(attention(), need_weights=False),
        (normal(2, 6, 8), normal(2, 5, 8), normal(2, 5, 8)),
    ),
    "MultiheadAttention of other widths": lambda: (
        attention(kdim=3, vdim=4),
        (normal(2, 6, 8), normal(2, 5, 3), normal(2, 5, 4)),
    ),
    "MultiheadAttention masked": lambda: (
        With(attention(), attn_mask=mask(6, 6)),
        (normal(2, 6, 8), normal(2, 6, 8), normal(2, 6, 8)),
    ),
    "MultiheadAttention causal": lambda: (
        With(attention(), attn_mask=mask(6, 6), is_causal=True, need_weights=False),
        (normal(2, 6, 8), normal(2, 6, 8), normal(2, 6, 8)),
    ),
    "MultiheadAttention with padding": lambda: (
        attention(),
        (normal(2, 6, 8), normal(2, 5, 8), normal(2, 5, 8), padding(2, 5)),
    ),
    "MultiheadAttention with biases": lambda: (
        attention(add_bias_kv=True),
        (normal(2, 6, 8), normal(2, 5, 8), normal(2, 5, 8)),
    ),
    "MultiheadAttention with a zero": lambda: (
        attention(add_zero_attn=True),
        (normal(2, 6, 8), normal(2, 5, 8), normal(2, 5, 8)),
    ),
    "TransformerEncoderLayer": lambda: (
        nn.TransformerEncoderLayer(8, 2, 12, batch_first=True).eval(),
        (normal(2, 6, 8),),
    ),
    "TransformerEncoderLayer masked": lambda: (
        nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True, activation="gelu").eval(),
        (normal(2, 6, 8), mask(6, 6)),
    ),
    "TransformerEncoderLayer in training": lambda: (
        nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0),
        (normal(6, 2, 8),),
    ),
    "TransformerDecoderLayer": lambda: (
        nn.TransformerDecoderLayer(8, 2, 12, batch_first=True).eval(),
        (normal(2, 6, 8), normal(2, 5, 8)),
    ),
    "TransformerDecoderLayer masked": lambda: (
        nn.TransformerDecoderLayer(8, 2, 12, batch_first=True).eval(),
        (normal(2, 6, 8), normal(2, 5, 8), mask(6, 6)),
    ),
    "TransformerEncoder": lambda: (
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2, enable_nested_tensor=False
        ).eval(),
        (normal(2, 6, 8),),
    ),
    "TransformerDecoder": lambda: (
        nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, batch_first=True), 2).eval(),
        (normal(2, 6, 8), normal(2, 5, 8)),
    ),
    "Transformer": lambda: (
        nn.Transformer(8, 2, 1, 1, 12, batch_first=True).eval(),
        (normal(2, 6, 8), normal(2, 5, 8)),
    ),
}


class Self(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x):
        return self.attention(x, x, x)[0]


WEIGHT = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
LOSSES = {
    "MSELoss": lambda: (nn.MSELoss(), (normal(5, 3), normal(5, 3))),
    "L1Loss": lambda: (nn.L1Loss(), (normal(5, 3), normal(5, 3))),
    "SmoothL1Loss": lambda: (nn.SmoothL1Loss(), (normal(5, 3), normal(5, 3))),
    "HuberLoss": lambda: (nn.HuberLoss(delta=0.7), (normal(5, 3), normal(5, 3))),
    "CrossEntropyLoss": lambda: (nn.CrossEntropyLoss(), (normal(5, 3), labels(3, 5))),
    "CrossEntropyLoss of images": lambda: (nn.CrossEntropyLoss(WEIGHT), (normal(2, 3, 4, 5), labels(3, 2, 4, 5))),
    "CrossEntropyLoss smoothed": lambda: (nn.CrossEntropyLoss(label_smoothing=0.1), (normal(5, 3), labels(3, 5))),
    "NLLLoss": lambda: (nn.NLLLoss(), (normal(5, 3), labels(3, 5))),
    "NLLLoss2d": lambda: (nn.NLLLoss(WEIGHT), (normal(2, 3, 4, 5), labels(3, 2, 4, 5))),
    "BCELoss": lambda: (nn.BCELoss(), (uniform(5, 3), uniform(5, 3))),
    "BCELoss of labels": lambda: (nn.BCELoss(WEIGHT), (uniform(5, 3), labels(2, 5, 3).double())),
    "BCEWithLogitsLoss": lambda: (nn.BCEWithLogitsLoss(), (normal(5, 3), uniform(5, 3))),
    "BCEWithLogitsLoss weighted": lambda: (
        nn.BCEWithLogitsLoss(weight=WEIGHT, pos_weight=WEIGHT),
        (normal(5, 3), uniform(5, 3)),
    ),
    "KLDivLoss": lambda: (nn.KLDivLoss(reduction="batchmean"), (normal(5, 3).log_softmax(1), normal(5, 3).softmax(1))),
    "KLDivLoss of logarithms": lambda: (
        nn.KLDivLoss(reduction="sum", log_target=True),
        (normal(5, 3).log_softmax(1), normal(5, 3).log_softmax(1)),
    ),
    "CosineEmbeddingLoss": lambda: (nn.CosineEmbeddingLoss(margin=0.1), (normal(5, 3), normal(5, 3), signs(5))),
    "HingeEmbeddingLoss": lambda: (nn.HingeEmbeddingLoss(), (normal(5, 3), signs(5, 3))),
    "MarginRankingLoss": lambda: (nn.MarginRankingLoss(margin=0.3), (normal(5), normal(5), signs(5))),
    "TripletMarginLoss": lambda: (nn.TripletMarginLoss(), (normal(5, 3), normal(5, 3), normal(5, 3))),
    "TripletMarginLoss swapped": lambda: (
        nn.TripletMarginLoss(swap=True, p=1),
        (normal(5, 3), normal(5, 3), normal(5, 3)),
    ),
    "TripletMarginWithDistanceLoss": lambda: (
        nn.TripletMarginWithDistanceLoss(distance_function=nn.PairwiseDistance()),
        (normal(5, 3), normal(5, 3), normal(5, 3)),
    ),
    "MultiMarginLoss": lambda: (nn.MultiMarginLoss(), (normal(5, 3), labels(3, 5))),
    "MultiMarginLoss weighted": lambda: (
        nn.MultiMarginLoss(p=2, margin=0.5, weight=WEIGHT),
        (normal(5, 3), labels(3, 5)),
    ),
    "MultiLabelMarginLoss": lambda: (
        nn.MultiLabelMarginLoss(),
        (normal(2, 4), torch.tensor([[3, 0, -1, 1], [1, -1, 0, 0]])),
    ),
    "MultiLabelSoftMarginLoss": lambda: (nn.MultiLabelSoftMarginLoss(), (normal(5, 3), labels(2, 5, 3).double())),
    "SoftMarginLoss": lambda: (nn.SoftMarginLoss(), (normal(5, 3), signs(5, 3))),
    "PoissonNLLLoss": lambda: (nn.PoissonNLLLoss(), (normal(5, 3), uniform(5, 3))),
    "PoissonNLLLoss of rates": lambda: (nn.PoissonNLLLoss(log_input=False), (uniform(5, 3), uniform(5, 3))),
    "PoissonNLLLoss full": lambda: (nn.PoissonNLLLoss(full=True), (normal(5, 3), labels(5, 5, 3).double())),
    "GaussianNLLLoss": lambda: (nn.GaussianNLLLoss(), (normal(5, 3), normal(5, 3), uniform(5, 3))),
    "GaussianNLLLoss full": lambda: (nn.GaussianNLLLoss(full=True), (normal(5, 3), normal(5, 3), uniform(5, 1))),
    "CTCLoss": lambda: (
        nn.CTCLoss(),
        (
            normal(6, 2, 4).log_softmax(2),
            torch.tensor([[1, 2, 3], [3, 3, 1]]),
            torch.tensor([6, 6]),
            torch.tensor([3, 3]),
        ),
    ),
    "AdaptiveLogSoftmaxWithLoss": lambda: (nn.AdaptiveLogSoftmaxWithLoss(16, 6, [2, 4]), (normal(5, 16), labels(6, 5))),
    "LinearCrossEntropyLoss": lambda: (nn.LinearCrossEntropyLoss(4, 3), (normal(5, 4), labels(3, 5))),
}
