"""``PYTHONPATH=tests python -m mutants``: plant, ask the checks, print the table; 1 where something wrong survived."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context


def main() -> int:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from . import table

    ask = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    ask.add_argument(
        "--most", type=int, default=12, help="mutants of each kind and model (12), by a fixed seed; 0: all"
    )
    ask.add_argument("--fast", action="store_true", help="one of each kind and model")
    ask.add_argument("--family", action="append", choices=list(table.FAMILIES), help="which; default: all")
    ask.add_argument("--model", action="append", help="which, by a part of the name; default: all")
    ask.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    ask.add_argument("--progress", action="store_true", help="a line for each model")
    asked = ask.parse_args()
    most = 1 if asked.fast else asked.most or None
    started = time.perf_counter()
    todo = [
        (family, name)
        for family in asked.family or table.FAMILIES
        for name in table.FAMILIES[family][1]
        if not asked.model or any(part in name for part in asked.model)
    ]
    found: dict[str, table.Tally] = {}
    failed = []
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(table.run, family, name, most): (family, name) for family, name in todo}
        for done in as_completed(waiting):
            family, name = waiting[done]
            try:
                tallies = done.result()
            except Exception as error:  # a model that cannot be tried is told, and fails the run
                failed.append(f"{family} of {name}: {type(error).__name__}: {error}")
                continue
            for tally in tallies:
                if tally.kind in found:
                    found[tally.kind].add(tally)
                else:
                    found[tally.kind] = tally
            if asked.progress:
                holes = [h for t in tallies for h in t.holes]
                print(
                    f"{time.perf_counter() - started:6.0f} s  {family} of {name}", *holes, sep="\n  ", file=sys.stderr
                )
    print(table.text(found[k] for k in sorted(found)))
    print(*failed, f"{time.perf_counter() - started:.0f} s, at most {most or 'all'} of each kind and model", sep="\n")
    return 1 if failed or any(t.holes for t in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
