"""``python -m benchmarks.devices``: what devices say to each other in a training step, counted in compiled programs.

    python -m benchmarks.devices                    8, 64 and 1,024 devices, GPT and CNN, as a Markdown table
    python -m benchmarks.devices --devices 8        so many

Nothing is run: XLA compiles the step for so many virtual devices, and its text says each collective with its shapes.  The bytes
are those that one device puts in.  Autodiff's program is ``jax.value_and_grad`` of the same forward pass on the same mesh.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

EACH = 8  # examples on a device
COUNTS = (8, 64, 1024)
WIDTH = {"f32": 4, "s32": 4, "u32": 4, "pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "u64": 8, "s64": 8}
KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"


def collectives(text: str) -> tuple[Counter, int]:
    """How many of each kind a compiled program has, and the bytes of what they give on a device.

    >>> collectives("%a = (f32[], f32[2,3]{1,0}) all-reduce(%b, %c), channel_id=1")
    (Counter({'all-reduce': 1}), 28)
    """
    kinds: Counter = Counter()
    total = 0
    for shapes, kind in re.findall(rf"= (\S+|\([^()]*\)) ({KINDS})(?:-start)?\(", text):
        kinds[kind] += 1
        for dtype, sizes in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            count = 1
            for n in filter(None, sizes.split(",")):
                count *= int(n)
            total += WIDTH.get(dtype, 4) * count
    return kinds, total


def models() -> dict[str, Callable[[], Any]]:
    from derive.networks.examples import networks

    from .seconds import gpt

    return {"GPT, 2 blocks of width 64": lambda: gpt(2), "CNN (Keras's MNIST network)": networks.keras_mnist}


def ways(count: int, name: str) -> dict[str, tuple]:
    """Meshes and shardings, by what they are called."""
    import jax
    from jax.sharding import PartitionSpec as P

    data = jax.make_mesh((count,), ("data",))
    found = {"data parallel": (data, None), "fully sharded": (data, "full")}
    if "GPT" in name:
        split = jax.make_mesh((count // 4, 4), ("data", "model"))
        found["tensor parallel, 4"] = (
            split,
            {
                "*query_kernel": P(None, "model"),
                "*key_kernel": P(None, "model"),
                "*value_kernel": P(None, "model"),
                "*attention_output_kernel": P("model"),
                "*up_kernel": P(None, "model"),
                "*down_kernel": P("model"),
            },
        )
    return found


def counted(name: str, model: Any, way: str, mesh: Any, shardings: Any) -> str:
    """A row of the table."""
    import jax
    import numpy as np
    import optax

    import numerics as nx

    t = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.adam(1e-3), cache=False, mesh=mesh, shardings=shardings)
    place, programs = t.placement, t.programs
    examples = EACH * mesh.shape["data"]

    def like(a: Any, sharding: Any) -> Any:
        return jax.ShapeDtypeStruct(np.shape(a), a.dtype, sharding=sharding)

    memory = jax.tree_util.tree_map(like, t.memory, place.memory(t.memory))
    batch = {}
    for tensor in [*model.inputs.values(), *model.targets(t.losses).values()]:
        shape = (examples, *model.shape(tensor)[1:])
        dtype = np.int32 if tensor.dtype == "int" else np.float32
        batch[tensor.name] = jax.ShapeDtypeStruct(shape, dtype, sharding=place.example(tensor.name, shape))
    options = t.kernel.compiler_options

    def autodiff(memory: Any, batch: dict, number: Any) -> Any:
        names = [x.name for x in programs.evaluation.inputs]

        def loss(trained: dict) -> Any:
            every = {**place.used({**memory.params, **trained}), **memory.state, **batch}
            return programs.evaluation.fn(*[every[n] for n in names])[0]

        value, gradients = jax.value_and_grad(loss)(programs.trained(memory.params))
        updates, opt_state = t.optimizer.update(
            place.split(gradients), memory.opt_state, programs.trained(memory.params)
        )
        params = {**memory.params, **optax.apply_updates(programs.trained(memory.params), updates)}
        return place.kept(memory._replace(params=params, opt_state=opt_state)), place.everywhere(value)

    cells, number = [], jax.ShapeDtypeStruct((), np.uint32)
    for program in (programs.stepping(t.optimizer), autodiff):
        start = time.perf_counter()
        compiled = jax.jit(program, compiler_options=options).lower(memory, batch, number).compile()
        kinds, total = collectives(compiled.as_text())
        said = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"
        cells += [said, f"{total / 1e6:.2f}", f"{time.perf_counter() - start:.0f}"]
    return f"| {name} | {mesh.size} | {way} | {' | '.join(cells)} |"


def here(count: int, only: str) -> None:
    """The rows for so many devices, which this process was started with."""
    for name, make in models().items():
        if only in name:
            for way, (mesh, shardings) in ways(count, name).items():
                print(counted(name, make(), way, mesh, shardings), flush=True)


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__)
    ask.add_argument("--devices", type=int, action="append", help="how many; default: 8, 64 and 1024")
    ask.add_argument("--only", default="", help="models with this in their name")
    ask.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = ask.parse_args()
    if asked.here:
        here(asked.devices[0], asked.only)
        return
    print(
        "| model | devices | how | derived | MB | compile s | autodiff | MB | compile s |\n" + "| --- " * 9 + "|",
        flush=True,
    )
    for count in asked.devices or COUNTS:
        flags = f"--xla_force_host_platform_device_count={count} --xla_cpu_multi_thread_eigen=false"
        command = [sys.executable, "-m", "benchmarks.devices", "--here", "--devices", str(count), "--only", asked.only]
        subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}, check=True)


if __name__ == "__main__":
    main()
