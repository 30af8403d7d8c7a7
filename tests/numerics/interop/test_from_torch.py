"""nx.from_torch: values and gradients of torch's own, names, sizes, weights, and what is refused."""

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive.language.errors import DerivationError, UnsupportedError

torch = pytest.importorskip("torch")

from foreign_modules import MODULES, Classifier, normal  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

QUICK = ("sequential", "GroupNorm", "grouped ConvTranspose1d", "class weights", "ignored labels", "residual")
X, Y = normal(6, 4), torch.tensor([0, 1, 2, 1, 0, 2])


def torchs(module, args, loss, rest):
    taken = args[: len(args) - rest]
    return loss(module(*taken), *args[len(args) - rest :])


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in MODULES])
def test_a_module(name, x64):
    module, args, loss = MODULES[name]()
    module.double()
    m = nx.from_torch(module, *args, loss=loss)
    d = m.backprop()
    value, grads = nx.compile(d)(**m.arrays(*args))[:2]
    rest = {"LSTMCell": 0, "TripletMarginLoss": 2}.get(name, 1)
    wanted = torchs(module, args, loss, rest)
    np.testing.assert_allclose(float(value), wanted.item(), rtol=1e-10, atol=1e-12)
    wanted.backward()
    for key, p in module.named_parameters():
        got, by_autograd = np.asarray(grads[m.names[key]]), p.grad.numpy()
        assert np.max(np.abs(got - by_autograd)) <= 1e-10 * max(1.0, np.max(np.abs(by_autograd))), key
    assert d.check().ok


def test_names_sizes_and_lines():
    m = nx.from_torch(Classifier(), X.float(), Y, loss=F.cross_entropy)
    t = m.tensors
    assert list(m.names) == ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
    assert [w.name for w in m.wrt] == ["hidden_weight", "hidden_bias", "out_weight", "out_bias"]
    assert str(t["hidden"].definition.body) == "hidden_bias[j] + sum[i](hidden_weight[j, i]*x[b, i])"
    assert str(t["h"].definition.body) == "tanh(hidden[b, j])"
    assert str(t["z"].definition.body) == "out_bias[k] + sum[j](h[b, j]*out_weight[k, j])"
    assert str(t["target"].below) == "K" and not m.bound and not m.conventions
    assert m.lines["h"].startswith("foreign_modules.py:")
    assert isinstance(m, nx.JaxModel)


def test_axes_are_named_by_dynamic_shapes_and_the_rest_of_the_arguments_is_bound():
    batch = torch.export.Dim("Batch")
    m = nx.from_torch(Classifier(), X.float(), Y, loss=F.cross_entropy, dynamic_shapes=({0: batch}, {0: batch}))
    assert str(m.tensors["h"].axes[0]) == "Batch"

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return torch.sum(x * self.w) / (x.shape[0] if x.shape[0] > 3 else 1)

    assert "x axis 0 = 6" in nx.from_torch(Scaled(), X.float(), dynamic_shapes=(None,)).bound
    assert not nx.from_torch(Scaled(), X.float()).bound


def test_recurrent_layers_are_recurrences_of_every_length():
    module, args, loss = MODULES["LSTM"]()
    m = nx.from_torch(module.float(), *args, loss=loss)
    h, c = m.tensors["h"], m.tensors["c"]
    assert {r.tensor.name for r in c.definition.body.atoms(dv.language.tensor.Read)} == {"c", "gates"}
    assert h.axes[0].free_symbols and c.axes == h.axes
    kern = nx.compile(m.backprop())
    longer = (torch.randint(0, 11, (2, 9)), torch.randint(0, 11, (2, 9)))
    np.testing.assert_allclose(kern(**m.arrays(*longer))[0], loss(module(longer[0]), longer[1]).item(), rtol=1e-5)


def test_weights_are_those_of_now_or_those_given():
    module = Classifier()
    m = nx.from_torch(module, X.float(), Y, loss=F.cross_entropy)
    kern = nx.compile(m.backprop())
    other = Classifier()
    for given in (m.arrays(other, X.float(), Y), m.arrays(other.state_dict(), X.float(), Y)):
        wanted = F.cross_entropy(other(X.float()), Y).item()
        np.testing.assert_allclose(kern(**given)[0], wanted, rtol=1e-5)
    with torch.no_grad():
        module.out.bias += 1.0
    np.testing.assert_allclose(m.arrays()["out_bias"], module.out.bias.detach())
    assert set(m.arrays()) == {"hidden_weight", "hidden_bias", "out_weight", "out_bias", "x", "target"}


def test_what_is_differentiated_by():
    m = nx.from_torch(Classifier(), X.float(), Y, loss=F.cross_entropy, wrt=["out.bias", "x"])
    assert {w.name for w in m.wrt} == {"out_bias", "x"} and m.backprop().check().ok
    frozen = Classifier()
    frozen.hidden.requires_grad_(False)
    assert {w.name for w in nx.from_torch(frozen, X.float(), Y, loss=F.cross_entropy).wrt} == {"out_weight", "out_bias"}
    assert nx.from_torch(nn.Linear(4, 3), X.float()).vjp().check().ok
    with pytest.raises(DerivationError, match="gradients need a scalar"):
        nx.from_torch(nn.Linear(4, 3), X.float()).backprop()


class Of(nn.Module):
    """A function as a module with one parameter."""

    def __init__(self, f):
        super().__init__()
        self.f, self.w = f, nn.Parameter(torch.ones(4))
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x):
        return self.f(self, x * self.w)


def changed_part(m, x):
    x = x * 2
    x[:, 0] = 0.0
    return x.sum()


def changed_buffer(m, x):
    m.seen.add_(x.sum(0))
    return (x + m.seen).sum()


def changed_and_read(m, x):
    y = x * 2
    z = y.exp()
    y.add_(1.0)
    return (y * z).sum()


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda m, x: x.sort(dim=0)[0].sum(), "aten.sort.* at test_from_torch.py:.*an order has no formula"),
        (
            lambda m, x: F.dropout(x, 0.5).sum(),
            "aten.dropout.* at test_from_torch.py:.*p=0.5 in training mode.*module.eval",
        ),
        (lambda m, x: torch.fft.fft(x).abs().sum(), "aten.fft_fft.* at test_from_torch.py:.*complex numbers are not"),
        (lambda m, x: (x + torch.randn_like(x)).sum(), "aten.randn_like.*noise is an input"),
        (changed_part, "it changes a tensor that is read again, or a part of one: mutation .*torch.where"),
        (changed_buffer, "it changes seen: mutation"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name_and_line(f, said):
    with pytest.raises(UnsupportedError, match=f"nx.from_torch: .*{said}"):
        nx.from_torch(Of(f), X.float())


def test_an_operation_in_place_of_its_operand_is_that_operation(x64):
    m = nx.from_torch(Of(changed_and_read).double(), X)
    value, grads = nx.compile(m.backprop())(**m.arrays())
    np.testing.assert_allclose(value, ((2 * X + 1) * torch.exp(2 * X)).sum().item(), rtol=1e-12)


def test_running_averages_are_not_part_of_the_definitions():
    m = nx.from_torch(nn.BatchNorm1d(4), X.float(), X.float(), loss=F.mse_loss)
    assert "not part of the definitions: running_mean is updated in training" in m.notes
    assert "running_mean" not in m.arrays()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nx.from_torch(lambda x: x, X), "function is no torch.nn.Module; nx.from_jax reads JAX"),
        (lambda: nx.from_torch(Classifier()), "no arguments to trace the module at"),
        (lambda: nx.from_torch(Classifier(), X.float(), Y), r"2 arguments do not fit forward\(x\)"),
        (lambda: nx.from_torch(Classifier(), X.float(), Y, loss="mse"), "loss='mse' is no function"),
        (lambda: nx.from_torch(Classifier(), X.float(), wrt="W"), "'W' is neither parameter nor input; they are"),
        (lambda: nx.from_torch(Classifier(), X.float()[:, :3]), "torch.export cannot read the module"),
        (lambda: nx.from_torch(Classifier(), X.float(), dynamic_shapes={"y": None}), "dynamic_shapes names 'y'"),
        (lambda: nx.from_torch(Classifier(), X.float()).arrays(X.float(), Y), "2 arguments were given"),
    ],
)
def test_wrong_arguments(call, said):
    with pytest.raises(nx.InputError, match=said):
        call()


def test_rows_name_operations_that_torch_has():
    from numerics.interop.aten.table import ATEN
    from numerics.interop.torch_graph import Graph  # noqa: F401  its rows enter the table

    has = {
        name.split("::")[1].split(".")[0] for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")
    }
    known = {n.split(".")[0] for n in ATEN}
    assert known <= has, sorted(known - has)
