"""``python -m benchmarks.seconds``: what is paid before the first step, for each model of the catalogue, as a Markdown table.

Seconds of this process's processor time, so that what else the machine does enters less; ``kept`` is making a trainer whose
program is taken from the cache instead of derived and generated, with its parameters and the optimizer's zeros.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L
from derive.networks.examples import networks
from numerics.training.programs import unfixed

LOSS = "sparse_softmax_cross_entropy"
BATCH = 8


def gpt(depth: int) -> dv.Model:
    """Width 64, 32 positions, 65 tokens, pre-norm."""
    x = dv.Input((32,), dtype="int", below=65)
    h = L.PositionalEmbedding(32)(L.Embedding(65, 64)(x))
    for _ in range(depth):
        h = L.TransformerBlock(4, causal=True)(h)
    return dv.Model(x, L.Dense(65)(L.LayerNorm()(h)))


MODELS: dict[str, Callable[[], dv.Model]] = {
    "MLP 784-512-512-10": lambda: dv.Sequential(
        [L.Dense(512, activation="relu"), L.Dense(512, activation="relu"), L.Dense(10)], input_shape=(784,)
    ),
    "LSTM": lambda: dv.Sequential([L.LSTM(32), L.Dense(10)], input_shape=(16, 8)),
    "LeNet-5": networks.lenet5,
    "Keras's MNIST network": networks.keras_mnist,
    "small ResNet": networks.small_resnet,
    "GPT, 1 block": lambda: gpt(1),
    "GPT, 6 blocks": lambda: gpt(6),
}


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processor time, and what came out."""
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def imported(what: str) -> float:
    """Seconds for the import alone, in a process of its own."""
    code = f"import time, {what}; print(time.process_time())"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def row(name: str, checked: bool) -> list[str]:
    """One model: derive, check, verify, generate, compile, and the start from the cache."""
    model = MODELS[name]()
    derive, d = spent(lambda: model.backprop(LOSS))
    generate, kern = spent(lambda: nx.compile(d, sizes=unfixed(d, model.sizes), xla=True))
    with jax.default_device(jax.devices()[0]):
        shapes = [
            jax.ShapeDtypeStruct(shape(model, t), jnp.int32 if t.dtype == "int" else jnp.float32) for t in kern.inputs
        ]
        options = kern.compiler_options
        compile_, _ = spent(lambda: jax.jit(kern.fn, compiler_options=options).lower(*shapes).compile())
    check, verify = ("", "")
    if checked:
        check = f"{spent(d.check)[0]:.2f}"
        verify = f"{spent(lambda: nx.verify(kern, dtypes=('float32',)))[0]:.2f}"
    with tempfile.TemporaryDirectory() as folder:
        nx.Trainer(model, LOSS, optax.adam(1e-3), cache=folder)
        kept, _ = spent(lambda: nx.Trainer(model, LOSS, optax.adam(1e-3), cache=folder))
    return [name, f"{derive:.2f}", check, verify, f"{generate:.2f}", f"{compile_:.2f}", f"{kept:.2f}"]


def shape(model: dv.Model, t: Any) -> tuple[int, ...]:
    return tuple(a if isinstance(a, int) else BATCH if str(a) == "B" else int(a) for a in model.shape(t))


def main(arguments: list[str]) -> None:
    """Print the table; names after the command choose models, ``--unchecked`` leaves out check and verify."""
    names = [n for n in MODELS if not (wanted := [a for a in arguments if a[0] != "-"]) or any(a in n for a in wanted)]
    print(f"import derive {imported('derive'):.2f} s, import numerics with JAX {imported('numerics, jax'):.2f} s\n")
    print("| model | derive | check | verify | generate | XLA | kept |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        print(f"| {' | '.join(row(name, '--unchecked' not in arguments))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
