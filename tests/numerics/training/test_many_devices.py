"""Training on a mesh of devices: what one device gives, with no more said between devices than autodiff's program says."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import derive as dv
import numerics as nx
from derive import layers as L
from derive.networks.examples import load

PROGRAM = Path(__file__).parents[2] / "devices_program.py"
LOSS = "sparse_softmax_cross_entropy"


def begun(count, *arguments):
    """A process that sees so many virtual devices."""
    paths = os.pathsep.join(p for p in (str(PROGRAM.parents[1]), *sys.path) if p)
    env = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": paths,
    }
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*started):
    try:
        said = [one.communicate(timeout=400) for one in started]
    finally:
        for one in started:
            one.kill()
    for out, err in said:
        assert out.endswith("ok\n"), err[-3000:]


@pytest.mark.parametrize("case", ["labels", "parts"])
def test_four_devices(case, tmp_path):
    ended(begun(4, case, tmp_path))


@pytest.mark.slow
def test_trainers_on_meshes_give_what_one_device_gives(tmp_path):
    ended(begun(4, "trainers", tmp_path))


@pytest.mark.slow
def test_two_processes_train_together_and_one_of_them_writes(tmp_path):
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    ended(*(begun(2, "process", tmp_path / "run", n, port) for n in range(2)))
    ended(begun(1, "compared", tmp_path / "run"))


def trainer(**how):
    return nx.Trainer(dv.Sequential([L.Dense(6)], input_shape=(5,)), LOSS, optax.sgd(0.1), cache=False, **how)


MESH = jax.make_mesh((1,), ("data",))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"mesh": 4}, r"mesh=4: give a jax.sharding.Mesh"),
        ({"shardings": "full"}, "give mesh= too"),
        ({"mesh": MESH, "shardings": "all"}, "accepted are None .* 'full' .* PartitionSpecs by name"),
        ({"mesh": MESH, "shardings": {"nope": P()}}, "nothing is called 'nope'; there are dense_1_kernel"),
        ({"mesh": MESH, "shardings": {"dense_1_kernel": "data"}}, "a jax.sharding.PartitionSpec is expected"),
        ({"mesh": MESH, "shardings": {"*kernel": P("model")}}, "axis 'model'; the axes of the mesh are data of 1"),
        ({"mesh": MESH, "shardings": {"*kernel": P(None, None, "data")}}, r"dense_1_kernel has shape \(5, 6\), and"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(how, said):
    with pytest.raises(nx.NumericsError, match=said):
        trainer(**how)


def test_a_mesh_that_does_not_divide_the_batch_is_refused():
    t = trainer(mesh=MESH)
    t.placement.count = 4  # as of four devices
    X, Y = np.eye(12, 5, dtype="f4"), np.arange(12) % 6
    said = (
        "batches of 6 examples cannot be split over the 4 devices along 'data' of the mesh; accepted are multiples of 4"
    )
    with pytest.raises(nx.NumericsError, match=said):
        t.fit(X, Y, batch_size=6, verbose=False)
    with pytest.raises(nx.NumericsError, match=said):
        t.fit([(X[:6], Y[:6])], verbose=False)


def test_one_device_as_a_mesh():
    X, Y = np.eye(5, dtype="f4"), np.arange(5)
    t, plain = trainer(mesh=MESH, shardings="full"), trainer()
    for one in (t, plain):
        one.fit(X, Y, batch_size=5, epochs=3, verbose=False)
    np.testing.assert_allclose(t.params["dense_1_kernel"], plain.params["dense_1_kernel"], rtol=1e-6)


def test_parts_that_do_not_add_up_are_refused():
    layers = [L.Dense(4), L.BatchNorm(), L.Dense(3)]
    d = dv.Sequential(layers, input_shape=(5,)).backprop(LOSS)
    with pytest.raises(nx.NumericsError, match="loss of 4 parts of 2 is not that of all 8"):
        nx.compile(d, parts={"B": 4})
    with pytest.raises(nx.NumericsError, match="'Q', which no input has as an axis; accepted are B, I, K"):
        nx.compile(load("softmax_regression").backprop(), parts={"Q": 4})
    with pytest.raises(nx.NumericsError, match="give a whole number from 1"):
        nx.compile(load("softmax_regression").backprop(), parts={"B": 0})


def test_collectives_are_counted():
    from benchmarks.devices import collectives

    text = "%a = (f32[], f32[2,3]{1,0}) all-reduce(%b, %c), channel_id=1\n%d = s32[4]{0} all-gather(%e)"
    assert collectives(text) == ({"all-reduce": 1, "all-gather": 1}, 44)
