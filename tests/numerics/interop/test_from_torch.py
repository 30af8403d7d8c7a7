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
        (lambda m, x: x[x > 0].sum(), "aten.index.* at test_from_torch.py:.*the shape of a read by a mask"),
        (lambda m, x: x.nonzero().sum(), "aten.nonzero.* at test_from_torch.py:.*depends on values"),
        (lambda m, x: x.sum() if x.sum() > 0 else x.mean(), "the value of a tensor decides .* at test_from_torch.py:"),
        (lambda m, x: x.bfloat16().float().sum(), "values are rounded from float32 to bfloat16"),
        (lambda m, x: x > 0, "output 0 is boolean"),
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


class Options(nn.Module):
    """With what is given by name, parameters in lists, one that is not read, and several results."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"up": nn.Linear(4, 3)})
        self.scales = nn.ParameterList([torch.ones(3), torch.full((3,), 2.0)])
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x, *, mask=None, power=1):
        h = self.layers["up"](x) * self.scales[0] * self.scales[1]
        h = h if mask is None else h * mask
        return {"h": h, "loss": (h**power).mean()}


def test_arguments_by_name_and_results_by_name(x64):
    module, mask = Options().double(), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    m = nx.from_torch(module, X, mask=mask, power=2, loss=lambda out: out["loss"])
    assert {w.name for w in m.wrt} == {"layers_up_weight", "layers_up_bias", "scales_0", "scales_1"}
    assert "not read, so that it has no gradient: unused" in m.notes
    value, grads = nx.compile(m.backprop())(**m.arrays(X, mask=mask, power=2))
    wanted = module(X, mask=mask, power=2)["loss"]
    wanted.backward()
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-12)
    np.testing.assert_allclose(grads["scales_1"], module.scales[1].grad, atol=1e-12)
    with pytest.raises(nx.InputError, match="traced with arguments named mask, power, not none"):
        m.arrays(X)
    with pytest.raises(DerivationError, match="array of axes .* return out first, or use m.vjp"):
        nx.from_torch(module, X, power=2).backprop()


def test_a_tied_parameter_has_one_gradient_under_each_of_its_names():
    module, args, loss = MODULES["tied weights"]()
    for name in ("head.weight", "embed.weight"):
        m = nx.from_torch(module.float(), *args, loss=loss, wrt=[name])
        assert [w.name for w in m.wrt] == [m.names["head.weight"]] == [m.names["embed.weight"]]


def test_the_batch_of_a_convolutional_network_stays_a_size_through_a_flatten():
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3))
    batch = torch.export.Dim("Batch")
    m = nx.from_torch(nn.Sequential(*layers), torch.randn(2, 1, 8, 8), dynamic_shapes=({0: batch},))
    assert list(map(str, m.outputs[0].axes)) == ["Batch", "J"]
    assert "input axis 2 = 8" in m.bound and not any(b.startswith("input axis 0") for b in m.bound)
    conv = nx.from_torch(nn.Conv2d(1, 4, 3), torch.randn(2, 1, 8, 9))
    assert not conv.bound


def test_lines_are_those_of_losses_and_helpers():
    def by_rank(out):
        ranked = out.sort(dim=0)[0]
        return ranked.sum()

    with pytest.raises(UnsupportedError, match=r"aten.sort.* at test_from_torch.py:\d+ \(in by_rank\)"):
        nx.from_torch(nn.Linear(4, 3), X.float(), loss=by_rank)


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
        (lambda: nx.from_torch(torch.nn.ReLU(), X.float()), "accepted is wrt=, of its inputs 'input'"),
        (lambda: nx.from_torch(Classifier(), X.float(), wrt="W"), "'W' is neither parameter nor input; they are"),
        (lambda: nx.from_torch(Classifier(), X.float()[:, :3]), "torch.export cannot read the module"),
        (lambda: nx.from_torch(Classifier(), X.float(), dynamic_shapes={"y": None}), "dynamic_shapes names 'y'"),
        (lambda: nx.from_torch(Classifier(), X.float()).arrays(X.float(), Y), "2 arguments were given"),
        (
            lambda: nx.from_torch(Classifier(), X.float(), scale=2),
            r"1 arguments and scale by name do not fit forward\(x\)",
        ),
        (
            lambda: nx.from_torch(nn.Linear(4, 3, device="meta"), X.float()),
            "parameter 'weight' is on the device 'meta'",
        ),
        (
            lambda: nx.from_torch(nn.LazyLinear(3), X.float()),
            "'weight' has no shape yet; accepted: the module after one",
        ),
        (lambda: nx.from_torch(Of(lambda m, x: x), X.float(), wrt="seen"), "'seen' is a buffer; accepted: parameters"),
        (lambda: nx.from_torch(Classifier(), X.float(), wrt=["out.wieght"]), "did you mean 'out.weight'"),
        (
            lambda: nx.from_torch(nn.Embedding(5, 3), Y, wrt=["input"]),
            "'input' is int64; accepted: parameters and inputs",
        ),
    ],
)
def test_wrong_arguments(call, said):
    with pytest.raises(nx.InputError, match=said):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nx.from_torch(nn.Linear(4, 3).half(), X.half()), "'weight' is float16, .* as module.float"),
        (lambda: nx.from_torch(nn.Linear(4, 3), X.bfloat16()), "argument 0 is bfloat16, .* as x.float"),
        (lambda: nx.from_torch(nn.Linear(4, 3), X.to(torch.complex64)), "argument 0 is complex64, and complex numbers"),
    ],
)
def test_numbers_that_are_not_in_the_language(call, said):
    with pytest.raises(UnsupportedError, match=said):
        call()


def test_rows_name_operations_that_torch_has():
    from numerics.interop.aten.table import ATEN
    from numerics.interop.torch_graph import Graph  # noqa: F401  its rows enter the table

    has = {
        name.split("::")[1].split(".")[0] for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")
    }
    known = {n.split(".")[0] for n in ATEN}
    assert known <= has, sorted(known - has)
