"""Every layer and loss of torch.nn goes into nx.from_torch with torch's values and gradients, or is refused by name."""

import inspect
import re

import numpy as np
import pytest

import numerics as nx
from derive.language.errors import UnsupportedError

torch = pytest.importorskip("torch")

from torch_layers import LAYERS, LOSSES, REFUSED  # noqa: E402

ALL = {**LAYERS, **LOSSES}
QUICK = (
    *(
        "Hardtanh",
        "GLU",
        "PixelShuffle",
        "CircularPad1d",
        "ReplicationPad1d",
        "Upsample to a size",
        "Unfold",
        "Bilinear",
    ),
    *("EmbeddingBag", "EmbeddingBag offsets", "PairwiseDistance", "RMSNorm", "GRUCell", "BCEWithLogitsLoss weighted"),
    *("MarginRankingLoss", "HingeEmbeddingLoss", "KLDivLoss", "AdaptiveAvgPool2d to 3 of 8", "ParameterList"),
)
ABSTRACT = {"Module", "Container", "RNNBase", "RNNCellBase", "LinearCrossEntropyOptions"}
UNDECIDED = {"MaxPool3d with padding"}  # a maximum over a window that is empty, which nothing reads; not refuted
ROUGHER = {"Hardsigmoid": 1e-8}  # torch's own derivative is 1/6 in float32


def scalar(out, *_):
    floats = [x for x in torch.utils._pytree.tree_flatten(out)[0] if torch.is_tensor(x) and x.is_floating_point()]
    return sum(torch.tanh(x).sum() for x in floats)


def built(name):
    torch.manual_seed(0)
    module, args = ALL[name]()
    module.double()
    return module, args, scalar if name in LAYERS else None


def floats(args):
    return [x for x in torch.utils._pytree.tree_flatten(args)[0] if torch.is_tensor(x) and x.is_floating_point()]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ALL if n not in REFUSED]
)
def test_a_layer(name, x64):
    module, args, loss = built(name)
    from numerics.interop.torch_call import Call

    call = Call(module, args, loss, {})
    inputs = [n for n, x in zip(call.names, call.leaves, strict=True) if x.is_floating_point()]
    inputs = inputs[: None if name in LAYERS else 1]
    parameters = dict(module.named_parameters())
    m = nx.from_torch(module, *args, loss=loss, wrt=[*parameters, *inputs])
    d = m.backprop()
    value, grads = nx.compile(d)(**m.arrays(*args))[:2]
    own = [x.requires_grad_() for x in floats(args)[: len(inputs)]]
    wanted = module(*args) if loss is None else scalar(module(*args))
    wanted = wanted if torch.is_tensor(wanted) else wanted.loss
    near = ROUGHER.get(name, 1e-10)
    np.testing.assert_allclose(float(value), wanted.item(), rtol=near, atol=near)
    found = torch.autograd.grad(wanted, [*parameters.values(), *own], allow_unused=True)
    for key, g in zip([*(m.names[n] for n in parameters), *inputs], found, strict=True):
        by_torch = np.zeros(()) if g is None else g.numpy()
        got = np.asarray(grads.get(key, 0.0))  # what the loss does not depend on has no gradient here
        assert np.max(np.abs(got - by_torch)) <= near * max(1.0, np.max(np.abs(by_torch))), key
    assert d.check().ok or name in UNDECIDED


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(name):
    module, args, loss = built(name)
    with pytest.raises(UnsupportedError, match=f"nx.from_torch: .*{REFUSED[name]}"):
        nx.from_torch(module, *args, loss=loss, wrt=next(iter(inspect.signature(module.forward).parameters)))


def test_the_table_of_the_documentation_is_this_one(root):
    page = (root / "docs" / "existing.md").read_text("utf-8")
    table = page.partition("### Layers of torch.nn")[2]
    goes_in = set(re.findall(r"`(\w+)`", table.partition("Refused")[0]))
    refused = set(re.findall(r"`(\w+)`(?!\s+is the same)", table.partition("Refused")[2].partition("\n\n")[0]))
    tried = {n.split()[0] for n in ALL}
    assert refused == {n.split()[0] for n in REFUSED}
    assert goes_in == tried - refused
    has = {n.removeprefix("Lazy") for n in torch.nn.modules.__all__} - ABSTRACT
    assert has <= {n.removeprefix("Lazy") for n in tried}, has - tried
    assert len(refused) < len(has) / 10
