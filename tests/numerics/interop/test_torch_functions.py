"""Functions of torch beside torch.nn: places, matrices, special functions; values and gradients of torch's own."""

import numpy as np
import pytest

import numerics as nx
from derive.language.errors import UnsupportedError

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch_draws import normal  # noqa: E402

X = normal(6, 4)
EDGES = torch.linspace(-1, 1, 5, dtype=torch.float64)


def square(x):
    return x[:4] + 3 * torch.eye(4, dtype=x.dtype)


FUNCTIONS = {
    "roll": lambda x: x.roll(1, 0) * x,
    "diag": lambda x: torch.diag(x[:4]),
    "trace": lambda x: torch.trace(x[:4]),
    "unfold": lambda x: x.unfold(0, 3, 2),
    "diff": lambda x: torch.diff(x, dim=1),
    "trapezoid": torch.trapezoid,
    "index_select": lambda x: x.index_select(0, torch.tensor([0, 2, 2])),
    "index": lambda x: x[torch.tensor([0, 1]), torch.tensor([2, 3])],
    "index_add": lambda x: x.new_zeros(3, 4).index_add(0, torch.tensor([0, 1, 2, 0, 1, 2]), x),
    "scatter_add": lambda x: x.new_zeros(3, 4).scatter_add(0, torch.tensor([[0, 1, 2, 0]] * 6), x),
    "searchsorted": lambda x: x * torch.searchsorted(EDGES, x.detach()),
    "bucketize": lambda x: x * torch.bucketize(x.detach(), EDGES, right=True),
    "kron": lambda x: torch.kron(x[:2], x[:2]),
    "multi_dot": lambda x: torch.linalg.multi_dot([x, x.T, x]),
    "cross": lambda x: torch.linalg.cross(x[:, :3], x[:, 1:]),
    "inverse": lambda x: torch.inverse(square(x)),
    "cholesky": lambda x: torch.linalg.cholesky(x.T @ x + torch.eye(4, dtype=x.dtype)),
    "cdist": lambda x: torch.cdist(x, x + 1),
    "cdist of order 1": lambda x: torch.cdist(x, x + 1, p=1),
    "hypot": lambda x: torch.hypot(x, x + 1),
    "atan2": lambda x: torch.atan2(x, x + 2),
    "fmod": lambda x: torch.fmod(x, 0.7),
    "truncated division": lambda x: x * torch.div(x.detach(), 0.3, rounding_mode="trunc"),
    "xlogy": lambda x: torch.xlogy(x.abs(), x.abs()),
    "logit": lambda x: torch.logit(x.sigmoid()),
    "erfinv": lambda x: torch.erfinv(x.tanh() * 0.9),
    "ndtri": lambda x: torch.special.ndtri(x.sigmoid()),
    "log_ndtr": torch.special.log_ndtr,
    "sinc": torch.sinc,
    "softplus with a threshold": lambda x: F.softplus(x, 2.0, 1.0),
}
QUICK = ("index_add", "searchsorted", "cdist", "softplus with a threshold")


class Of(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f, self.w = f, nn.Parameter(torch.full((4,), 1.1, dtype=torch.float64))

    def forward(self, x):
        return self.f(x * self.w)


def summed(out):
    return (out**2).sum()


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FUNCTIONS])
def test_a_function(name, x64):
    module = Of(FUNCTIONS[name])
    m = nx.from_torch(module, X, loss=summed)
    d = m.backprop()
    value, grads = nx.compile(d)(**m.arrays(X))
    wanted = summed(module(X))
    wanted.backward()
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-10)
    np.testing.assert_allclose(grads["w"], module.w.grad, rtol=1e-9, atol=1e-10)
    assert d.check().ok


def test_what_was_read_is_held_against_the_module(x64, monkeypatch):
    from numerics.interop.aten.table import ATEN
    from numerics.interop.torch_graph import Graph  # noqa: F401  its rows enter the table

    monkeypatch.setitem(ATEN, "tanh", lambda x: x)
    with pytest.raises(nx.NumericsError, match="output 0: what was read of the module gives .* and the module .*"):
        nx.from_torch(Of(torch.tanh), X, loss=summed)


class Sign(torch.autograd.Function):
    """Straight through."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        return g


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


def constant_part(x):
    with torch.no_grad():
        t = torch.tanh(x)
    return t * x


@pytest.mark.parametrize("f", [Square.apply, constant_part])
def test_backward_passes_of_ones_own_and_constant_parts(f, x64):
    module = Of(f)
    m = nx.from_torch(module, X, loss=summed)
    summed(module(X)).backward()
    np.testing.assert_allclose(nx.compile(m.backprop())(**m.arrays())[1]["w"], module.w.grad, rtol=1e-10)


@pytest.mark.parametrize(
    ("f", "error", "said"),
    [
        (Sign.apply, UnsupportedError, "the backward pass of Sign is not that of what it computes: .* by w differ"),
        (torch.vmap(torch.tanh), UnsupportedError, "torch.vmap is not read; accepted: the function of the whole batch"),
        (torch.func.grad(summed), UnsupportedError, "accepted: the function, and m.backprop"),
        (
            lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)),
            UnsupportedError,
            "cond of .* at test_torch_functions.py:.*a branch is taken by a value; accepted: torch.where",
        ),
        (
            lambda x: torch.autocast("cpu", torch.bfloat16)(lambda a: a @ a.T)(x),
            UnsupportedError,
            "autocast rounds values inside",
        ),
        (F.gumbel_softmax, UnsupportedError, "noise as an argument, drawn outside"),
        (torch.matrix_exp, UnsupportedError, "the exponential of a matrix is not in the language"),
        (
            lambda x: F.embedding(x.long() + 9, x),
            nx.InputError,
            "does not run at these arguments: IndexError: index out",
        ),
    ],
)
def test_what_is_refused(f, error, said):
    with pytest.raises(error, match=f"nx.from_torch: .*{said}"):
        nx.from_torch(Of(f), X[:4], loss=summed)


class Keeps(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.log, self.seen = nn.Parameter(torch.ones(4)), [], None

    def forward(self, x):
        self.seen = torch.tanh(x * self.w)
        self.log.append(self.seen)
        return self.seen


def test_what_a_module_keeps_is_put_back_and_said():
    module = Keeps()
    m = nx.from_torch(module, X.float(), loss=summed)
    assert "not part of the definitions: the module keeps what it computes in log" in m.notes
    assert module.log == [] and module.seen is None
