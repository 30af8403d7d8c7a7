"""``python -m benchmarks``: measure, print the table, keep the JSON; exit code 1 when a ratio is below its floor."""

import argparse
import sys
from pathlib import Path

import numerics as nx

from . import attention, depth, fit, foreign, generation, images, recurrent, second_order, stacks, steps
from .harness import held, machine, save, table

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder of the JSON")
parser.add_argument("--quick", action="store_true", help="tiny sizes: is everything in order? (no measurement)")
parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="refuse to measure anything else")
parser.add_argument("--pinned", action="store_true", help="after nx.pin_allocator(): freed memory stays in the process")
parser.add_argument("--native", action="store_true", help="image layers as loops in C, where the cost rule has them")
options = parser.parse_args()
if options.pinned:
    nx.pin_allocator()
if options.device not in (None, machine()["backend"]):
    parser.error(f"--device {options.device}: JAX finds no such device here; it has {machine()['device']}")

print("  ".join(f"{k} {v}" for k, v in machine().items()), flush=True)
rows = [
    row
    for part in (steps, fit, depth, images, recurrent, stacks, attention, generation, second_order, foreign)
    for row in part.measure(options.quick, **({"native": options.native} if part is images else {}))
]
held(rows, machine()["backend"])
print(table(rows))
print("a ratio above 1: the derived program is faster, or uses less. A/A: autodiff against itself.")
print(f"wrote {save(rows, options.out)}")
sys.exit(any(row.verdict not in ("", "ok") for row in rows) and not options.quick)
