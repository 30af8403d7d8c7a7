"""What test_many_devices runs in processes of its own, which see several devices: ``python devices_program.py CASE ...``."""

import sys
from pathlib import Path

import jax
import numpy as np

PORT_OF = "localhost:{}"


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(38, 6)).astype("f4"), rng.integers(0, 4, 38).astype("i4")


def trained(folder=None, **how):
    import optax

    import derive as dv
    import numerics as nx
    from derive import layers as L

    layers = [L.Dense(8, activation="relu"), L.BatchNorm(), L.Dropout(0.3), L.Dense(4)]
    model = dv.Sequential(layers, input_shape=(6,))
    t = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.adam(1e-2), ["accuracy"], cache=False, **how)
    X, Y = data()
    t.fit(X, Y, batch_size=8, epochs=2, validation_data=(X, Y), verbose=False)
    if folder is not None:
        t.save(folder)
    return t


def same(a, b, what):
    for n in a:
        np.testing.assert_allclose(np.asarray(a[n]), np.asarray(b[n]), rtol=1e-5, atol=1e-6, err_msg=f"{what}: {n}")


def trainers(folder):
    """Each way of spreading a run over devices gives what one device gives; its folder is read on another mesh."""
    import optax
    from jax.sharding import PartitionSpec as P

    import numerics as nx

    X, Y = data()
    line, square = jax.make_mesh((4,), ("data",)), jax.make_mesh((2, 2), ("data", "model"))
    one = trained()
    told = {"dense_1_kernel": P(None, "model"), "dense_2_*": P()}
    for n, (mesh, shardings) in enumerate([(line, None), (line, "full"), (square, told)]):
        t = trained(Path(folder) / str(n), mesh=mesh, shardings=shardings)
        same(t.params, one.params, shardings)
        same(t.state, one.state, shardings)
        np.testing.assert_allclose(t.predict(X), one.predict(X), rtol=1e-4, atol=1e-5)
        assert abs(t.evaluate(X, Y)["loss"] - one.evaluate(X, Y)["loss"]) < 1e-5
        split = t.params["dense_1_kernel"].sharding.spec
        assert split == {None: P(), "full": P(None, "data")}.get(
            shardings if isinstance(shardings, str | None) else "", split
        )
        again = nx.load(Path(folder) / str(n), optax.adam(1e-2), mesh=square, shardings="full")
        alone = nx.load(Path(folder) / str(n), optax.adam(1e-2))
        for other in (again, alone):
            other.fit(X, Y, batch_size=8, verbose=False)
        same(again.params, alone.params, "gone on")
        mu = next(a for a in jax.tree.leaves(again.opt_state) if a.shape == (6, 8))
        assert not mu.sharding.is_fully_replicated


def labels(_):
    """No collective that autodiff's program has not: one all-reduce of loss and gradients."""
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding
    from jax.sharding import PartitionSpec as P

    import derive as dv
    import numerics as nx

    t = dv.parse(
        "x: float[b,i]  y: int[b] < K  W: float[i,k]\nz[b,k] = sum[i](x[b,i]*W[i,k])\n"
        "loss = mean[b](log(sum[k](exp(z[b,k]))) - z[b,y[b]])"
    )
    kern = nx.compile(dv.backprop(t["loss"], [t["W"]]))
    mesh = Mesh(np.array(jax.devices()), ("d",))
    on = [NamedSharding(mesh, spec) for spec in (P(), P("d"), P("d"))]
    f, i = jnp.float32, jnp.int32
    shapes = [jax.ShapeDtypeStruct(*a) for a in (((8, 50), f), ((16, 8), f), ((16,), i))]
    text = jax.jit(lambda *a: kern.fn(*a), in_shardings=on).lower(*shapes).compile().as_text()
    from benchmarks.devices import collectives

    assert dict(collectives(text)[0]) == {"all-reduce": 1}, collectives(text)


def parts(_):
    """Programs of parts add up to that of the whole inside shard_map."""
    from jax import lax
    from jax.sharding import Mesh
    from jax.sharding import PartitionSpec as P

    import numerics as nx
    from derive.networks.examples import load

    d = load("softmax_regression").backprop()
    whole, part = nx.compile(d), nx.compile(d, parts={"B": 4})
    rng = np.random.default_rng(0)
    given = {
        "W": rng.normal(size=(5, 3)),
        "c": np.zeros(3),
        "x": rng.normal(size=(8, 5)),
        "label": rng.integers(0, 3, 8),
    }
    arrays = [given[t.name].astype("i4" if t.dtype == "int" else "f4") for t in whole.inputs]
    specs = tuple(P("d") if t.name in ("x", "label") else P() for t in whole.inputs)
    mesh = Mesh(np.array(jax.devices()), ("d",))
    summed = jax.shard_map(lambda *a: lax.psum(part.fn(*a), "d"), mesh=mesh, in_specs=specs, out_specs=P())
    for a, b in zip(jax.tree.leaves(jax.jit(summed)(*arrays)), jax.tree.leaves(whole.fn(*arrays)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def process(folder, number, port):
    """One of two processes that train together, two devices each; the first one compares with a run of its own."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(PORT_OF.format(port), 2, int(number))
    assert jax.device_count() == 4 and jax.local_device_count() == 2
    trained(folder, mesh=jax.make_mesh((4,), ("data",)), shardings="full")


def compared(folder):
    """What two processes saved is what one device learns."""
    import numerics as nx

    same(nx.load(folder).params, trained().params, "two processes")


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    {f.__name__: f for f in (trainers, labels, parts, process, compared)}[name](*arguments)
    print(name, "ok")
