# ruff: noqa: RET504  a value that is returned has a name here
"""Modules of torch.nn, as people write them, with arguments and a loss: for nx.from_torch."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 5)
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        h = torch.tanh(self.hidden(x))
        z = self.out(h)
        return z


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3)
        self.out = nn.Linear(6, 3)

    def forward(self, image):
        h1 = F.max_pool2d(F.relu(self.conv1(image)), 2)
        h2 = F.max_pool2d(F.relu(self.conv2(h1)), 2)
        return self.out(torch.flatten(h2, 1))


class LanguageModel(nn.Module):
    def __init__(self, cell, **options):
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.rnn = cell(4, 5, batch_first=True, **options)
        self.out = nn.Linear(10 if options.get("bidirectional") else 5, 11)

    def forward(self, tokens):
        e = self.embed(tokens)
        h, _ = self.rnn(e)
        logits = self.out(h)
        return logits


class CausalAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24, bias=False)
        self.out = nn.Linear(8, 8)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(x).split(d, dim=2)
        q = q.view(n, t, 2, d // 2).transpose(1, 2)
        k = k.view(n, t, 2, d // 2).transpose(1, 2)
        v = v.view(n, t, 2, d // 2).transpose(1, 2)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = self.out(a.transpose(1, 2).reshape(n, t, d))
        return y


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.up = nn.Linear(6, 8)
        self.down = nn.Linear(8, 6)

    def forward(self, x):
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        return x


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.position = nn.Parameter(normal(6, 8))
        self.q = nn.Linear(8, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.tril(torch.ones(6, 6)).bool())

    def forward(self, tokens):
        x = self.embed(tokens) + self.position
        q = self.q(x)
        scores = (q @ q.transpose(-2, -1)) / q.size(-1) ** 0.5
        scores = scores.masked_fill(~self.mask, float("-inf"))
        x = x + F.softmax(scores, dim=-1) @ q
        return self.head(x)


def labels(n, *shape):
    return torch.randint(0, n, shape)


def next_token(logits, targets):
    return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


def sequence(*layers):
    return nn.Sequential(*layers)


def weighted():
    return torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


Y = torch.tensor([0, 1, 2, 1, 0, 2])
IGNORED = torch.tensor([0, -100, 2, 1, -100, 2])
MODULES = {
    "classifier": lambda: (Classifier(), (normal(6, 4), Y), F.cross_entropy),
    "sequential": lambda: (
        sequence(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)),
        (normal(6, 4), Y),
        nn.CrossEntropyLoss(),
    ),
    "conv net": lambda: (ConvNet(), (normal(2, 1, 10, 10), labels(3, 2)), F.cross_entropy),
    "LSTM": lambda: (LanguageModel(nn.LSTM), (labels(11, 3, 6), labels(11, 3, 6)), next_token),
    "GRU": lambda: (LanguageModel(nn.GRU), (labels(11, 3, 6), labels(11, 3, 6)), next_token),
    "RNN": lambda: (LanguageModel(nn.RNN), (labels(11, 3, 6), labels(11, 3, 6)), next_token),
    "bidirectional LSTM": lambda: (
        LanguageModel(nn.LSTM, bidirectional=True, num_layers=2),
        (labels(11, 3, 6), labels(11, 3, 6)),
        next_token,
    ),
    "LSTMCell": lambda: (
        nn.LSTMCell(3, 4),
        (normal(2, 3), (normal(2, 4), normal(2, 4))),
        lambda s: (s[0] * s[1]).sum(),
    ),
    "GRUCell": lambda: (nn.GRUCell(3, 4), (normal(2, 3), normal(2, 4), normal(2, 4)), F.mse_loss),
    "causal attention": lambda: (CausalAttention(), (normal(2, 5, 8), normal(2, 5, 8)), F.mse_loss),
    "MultiheadAttention": lambda: (
        nn.MultiheadAttention(8, 2, batch_first=True),
        (normal(2, 6, 8), normal(2, 5, 8), normal(2, 5, 8), normal(2, 6, 8)),
        lambda out, y: F.mse_loss(out[0], y),
    ),
    "TransformerEncoderLayer": lambda: (
        nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True).eval(),
        (normal(2, 6, 8), normal(2, 6, 8)),
        F.mse_loss,
    ),
    "residual": lambda: (Residual(), (normal(4, 6), normal(4, 6)), F.mse_loss),
    "Conv1d": lambda: (nn.Conv1d(3, 4, 3, stride=2, padding=1), (normal(2, 3, 9), normal(2, 4, 5)), F.mse_loss),
    "grouped Conv2d": lambda: (nn.Conv2d(4, 6, 3, groups=2), (normal(2, 4, 5, 6), normal(2, 6, 3, 4)), F.mse_loss),
    "ConvTranspose2d": lambda: (
        nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
        (normal(2, 3, 4, 5), normal(2, 4, 8, 10)),
        F.mse_loss,
    ),
    "grouped ConvTranspose1d": lambda: (
        nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2),
        (normal(2, 4, 5), normal(2, 6, 11)),
        F.mse_loss,
    ),
    "AvgPool2d": lambda: (
        sequence(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)),
        (normal(2, 2, 8, 8), labels(2, 2)),
        F.cross_entropy,
    ),
    "BatchNorm1d in training": lambda: (nn.BatchNorm1d(4), (normal(6, 4), normal(6, 4)), F.mse_loss),
    "BatchNorm2d in evaluation": lambda: (
        nn.BatchNorm2d(3).eval(),
        (normal(2, 3, 4, 5), normal(2, 3, 4, 5)),
        F.mse_loss,
    ),
    "GroupNorm": lambda: (nn.GroupNorm(2, 6), (normal(3, 6, 4), normal(3, 6, 4)), F.mse_loss),
    "InstanceNorm2d": lambda: (nn.InstanceNorm2d(3, affine=True), (normal(2, 3, 4, 5), normal(2, 3, 4, 5)), F.mse_loss),
    "RMSNorm": lambda: (nn.RMSNorm(5), (normal(3, 4, 5), normal(3, 4, 5)), F.mse_loss),
    "Embedding": lambda: (nn.Embedding(7, 4, padding_idx=0), (labels(7, 3, 5), normal(3, 5, 4)), F.l1_loss),
    "Bilinear": lambda: (nn.Bilinear(3, 4, 5), (normal(6, 3), normal(6, 4), normal(6, 5)), F.huber_loss),
    "PReLU": lambda: (
        sequence(nn.Linear(4, 5), nn.PReLU(), nn.Dropout(0.5)).eval(),
        (normal(6, 4), normal(6, 5)),
        F.smooth_l1_loss,
    ),
    "GLU": lambda: (
        sequence(nn.Linear(4, 6), nn.GLU()),
        (normal(6, 4), torch.rand(6, 3, dtype=torch.float64)),
        nn.BCEWithLogitsLoss(pos_weight=weighted()),
    ),
    "projected LSTM": lambda: (
        nn.LSTM(3, 4, proj_size=2),
        (normal(5, 2, 3), normal(5, 2, 2)),
        lambda out, y: F.mse_loss(out[0], y),
    ),
    "Upsample": lambda: (
        sequence(nn.Conv2d(2, 3, 1), nn.Upsample(scale_factor=2)),
        (normal(2, 2, 3, 4), normal(2, 3, 6, 8)),
        F.mse_loss,
    ),
    "tied weights": lambda: (Tied(), (labels(11, 3, 6), labels(11, 3, 6)), next_token),
    "label smoothing": lambda: (nn.Linear(4, 3), (normal(6, 4), Y), nn.CrossEntropyLoss(label_smoothing=0.1)),
    "class weights": lambda: (nn.Linear(4, 3), (normal(6, 4), Y), nn.CrossEntropyLoss(weight=weighted())),
    "ignored labels": lambda: (
        nn.Linear(4, 3),
        (normal(6, 4), IGNORED),
        nn.CrossEntropyLoss(weight=weighted(), label_smoothing=0.2),
    ),
    "ignored class": lambda: (nn.Linear(4, 3), (normal(6, 4), Y), nn.CrossEntropyLoss(ignore_index=1, reduction="sum")),
    "soft labels": lambda: (nn.Linear(4, 3), (normal(6, 4), normal(6, 3).softmax(1)), nn.CrossEntropyLoss()),
    "log softmax and nll": lambda: (sequence(nn.Linear(4, 3), nn.LogSoftmax(1)), (normal(6, 4), Y), F.nll_loss),
    "KLDivLoss": lambda: (
        sequence(nn.Linear(4, 3), nn.LogSoftmax(1)),
        (normal(6, 4), normal(6, 3).softmax(1)),
        nn.KLDivLoss(reduction="batchmean"),
    ),
    "TripletMarginLoss": lambda: (nn.Linear(4, 3), (normal(6, 4), normal(6, 3), normal(6, 3)), nn.TripletMarginLoss()),
}
