"""What a Flax module becomes is as short as what its author would have written in index notation, and has their names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
import numerics as nx

nn = pytest.importorskip("flax.linen")

LAYER_NORM = """
    {x}mu[b] = sum[i]({h}[b,i])/I
    var[b] = sum[i](({h}[b,i] - mu[b])^2)/I
    y[b,i] = ({h}[b,i] - mu[b])/sqrt(var[b] + 1/1000000)*scale[i] + bias[i]
"""
WRITTEN = {
    "layer norm": "x: float[b,i]  scale: float[i]  bias: float[i]"
    + LAYER_NORM.format(x="", h="x")
    + "loss = sum[b,i](y[b,i]^3)/(B*I)",
    "mlp": "x: float[b,d]  W: float[d,i]  c: float[i]  scale: float[i]  bias: float[i]  V: float[i,k]  e: float[k]\n"
    "    a[b,i] = sum[d](x[b,d]*W[d,i]) + c[i]\n    h[b,i] = relu(a[b,i])"
    + LAYER_NORM.format(x="", h="h")
    + "z[b,k] = sum[i](y[b,i]*V[i,k]) + e[k]\n    loss = sum[b,k](z[b,k]^3)/(B*K)",
    "attention": """
        index t, u, w: T
        x: float[b,t,d]
        Q: float[d,n,h]  Km: float[d,n,h]  V: float[d,n,h]  O: float[n,h,d]
        qb: float[n,h]  kb: float[n,h]  vb: float[n,h]  ob: float[d]
        q[b,t,n,h] = sum[d](x[b,t,d]*Q[d,n,h]) + qb[n,h]
        k[b,t,n,h] = sum[d](x[b,t,d]*Km[d,n,h]) + kb[n,h]
        v[b,t,n,h] = sum[d](x[b,t,d]*V[d,n,h]) + vb[n,h]
        s[b,n,t,u] = sum[h](q[b,t,n,h]*k[b,u,n,h])/2
        a[b,n,t,u] = exp(s[b,n,t,u])/sum[w](exp(s[b,n,t,w]))
        o[b,t,n,h] = sum[u](a[b,n,t,u]*v[b,u,n,h])
        y[b,t,d] = sum[n,h](o[b,t,n,h]*O[n,h,d]) + ob[d]
        loss = sum[b,t,d](y[b,t,d]^3)/(B*T*D)""",
}


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Dense(7)(x))
        y = nn.LayerNorm()(h)
        return nn.Dense(3)(y)


MODULES = {
    "layer norm": (nn.LayerNorm, (6, 4)),
    "mlp": (Mlp, (6, 4)),
    "attention": (lambda: nn.MultiHeadDotProductAttention(num_heads=2), (2, 5, 8)),
}


def model(name):
    make, shape = MODULES[name]
    module, x = make(), np.random.default_rng(0).normal(size=shape).astype("f")
    params = module.init(jax.random.key(0), x)["params"]
    return nx.from_jax(lambda params, x: jnp.mean(module.apply({"params": params}, x) ** 3), params, x)


def length(kern):
    """The lines of the program: not those of its signature and of what it returns, which names alone make long."""
    return sum("  # (" in line for line in kern.source.splitlines())


@pytest.mark.parametrize("name", MODULES)
def test_as_short_as_written(name):
    m = model(name)
    tensors = dv.parse(WRITTEN[name])
    given = [t for t in tensors.values() if t.is_input and t.name != "x"]
    by_hand = nx.compile(dv.backprop(tensors["loss"], wrt=given))
    assert length(nx.compile(m.backprop())) <= 1.2 * length(by_hand)


@pytest.mark.parametrize("name", MODULES)
def test_named_and_defined_as_by_its_author(name):
    m = model(name)
    d = m.backprop()
    text = d.to_text()
    assert not any(f" {temporary}[" in text for temporary in ("bc", "u", "e_17", "w2"))
    assert "mu2" not in m.tensors and "relu" not in str(m.tensors.get("var", "")) and d.check().proved


def test_a_guarded_variance_is_a_variance():
    m = model("layer norm")
    assert str(m.tensors["var"].definition.body).startswith("sum[i]((")
    assert not m.conventions
