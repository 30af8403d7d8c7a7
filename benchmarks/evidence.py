"""``python -m benchmarks.evidence``: seconds of ``check`` and ``verify`` and the number of compilations, model by model.

The models are those that mutants are made of (``tests/mutants/catalogue.py``) and some that are larger; ``--only NAME`` takes
those whose name has it.  Seconds of the wall and of the processor: on a busy machine only the latter say anything.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax

import derive as dv
import numerics as nx
from derive import layers as L

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from mutants import catalogue  # noqa: E402

COMPILED = "/jax/core/compile/backend_compile_duration"


def gpt() -> dv.Derivation:
    blocks = [L.TransformerBlock(2, 4, units=8, causal=True) for _ in range(2)]
    model = dv.Sequential([L.Embedding(7, 8), L.PositionalEmbedding(6), *blocks, L.Dense(7)], input_shape=(6,))
    return model.backprop("sparse_softmax_cross_entropy")


def attention(**options: int | bool) -> Callable[[], dv.Derivation]:
    return lambda: dv.Sequential([L.MultiHeadAttention(4, 4, **options)], input_shape=(5, 8)).backprop(
        "mean_squared_error"
    )


NBODY = """
index p q : N
index d : 3
x: float[p,d]; v: float[p,d]; m: float[p]; y: float[p,d]; h: float
r[p,q] = sum[d]((x[p,d] - x[q,d])^2)
g[p,q] = where(p != q, m[q]/sqrt(r[p,q])^3, 0)
a[p,d] = sum[q](g[p,q]*(x[q,d] - x[p,d]))
w[p,d] = v[p,d] + h*a[p,d]
z[p,d] = x[p,d] + h*w[p,d]
loss = sum[p,d]((z[p,d] - y[p,d])^2)
"""
RK4 = """
index i j : N
x: float[i]; A: float[i,j]; y: float[i]; h: float
k1[i] = tanh(sum[j](A[i,j]*x[j]))
x2[i] = x[i] + h/2*k1[i]
k2[i] = tanh(sum[j](A[i,j]*x2[j]))
x3[i] = x[i] + h/2*k2[i]
k3[i] = tanh(sum[j](A[i,j]*x3[j]))
x4[i] = x[i] + h*k3[i]
k4[i] = tanh(sum[j](A[i,j]*x4[j]))
z[i] = x[i] + h/6*(k1[i] + 2*k2[i] + 2*k3[i] + k4[i])
loss = sum[i]((z[i] - y[i])^2)
"""


def written(text: str, *wrt: str) -> Callable[[], dv.Derivation]:
    def make() -> dv.Derivation:
        t = dv.parse(text)
        return dv.backprop(t["loss"], [t[n] for n in wrt])

    return make


LARGER: dict[str, Callable[[], dv.Derivation]] = {
    "two-block GPT": gpt,
    "grouped-query attention": attention(num_kv_heads=2),
    "rotary attention": attention(rotary=True),
    "n-body step": written(NBODY, "x", "v", "m"),
    "RK4 step": written(RK4, "x", "A"),
}


def main() -> int:
    ask = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    ask.add_argument("--only", action="append", help="models with this in their name; default: all")
    asked = ask.parse_args()
    compiled = [0]

    def count(event: str, *_: object, **__: object) -> None:
        compiled[0] += event == COMPILED

    jax.monitoring.register_event_duration_secs_listener(count)
    print(f"{'model':34s} {'check s':>8s} {'verify s':>9s} {'of which cpu':>13s} {'compilations':>13s}  ok", flush=True)
    failed = 0
    for name, make in {**LARGER, **catalogue.MODELS}.items():
        if asked.only and not any(part in name for part in asked.only):
            continue
        d = make()
        started = time.perf_counter()
        d.check()
        checked = time.perf_counter() - started
        kern = nx.compile(
            d, sizes=catalogue.free_sizes(name) or None if name in catalogue.MODELS else None, check=False
        )
        compiled[0] = 0
        started, cpu = time.perf_counter(), time.process_time()
        report = nx.verify(kern)
        took, used = time.perf_counter() - started, time.process_time() - cpu
        failed += not report.ok
        print(f"{name:34s} {checked:8.2f} {took:9.2f} {used:13.2f} {compiled[0]:13d}  {report.ok}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
