"""How two programs are compared: interleaved, order reversed every other round, medians of ratios, an A/A control.

A ratio ``a/b`` above 1 says that the first (the derived program) is faster, or uses less.  Times of one program drift
by tens of percent on a shared machine; ratios of neighbours in time do not.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from numerics.kernel import xla
from numerics.kernel.allocator import pinned

AUTODIFF, OPTION, TORCH = "step time", "step time, autodiff + option", "step time, torch eager"
ELSEWHERE = 0.97  # of autodiff's speed, on a device other than a CPU
SHORT = {AUTODIFF: "autodiff", OPTION: "option", TORCH: "torch"}
UNTIMED = 2
PAUSE = 0.05  # seconds before a turn, in which the threads of the one before go to sleep


@dataclass
class Row:
    """One measured ratio with what it was made of."""

    workload: str
    measure: str
    ratio: float | None
    control: float | None = None  # the same program against itself: how far from 1 a ratio may stray by chance
    floor: float | None = None
    values: dict = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.ratio is None or self.floor is None:
            return ""
        return "ok" if self.ratio >= self.floor else "below the floor"


def interleaved(a: Callable, b: Callable, rounds: int = 15, inner: int = 10) -> tuple[float, float, float]:
    """Median over rounds of time(b)/time(a), with both medians in seconds.

    Each round times ``inner`` calls of one, then of the other; odd rounds go the other way round.
    """
    a(), b()
    times_a, times_b = [], []
    for n in range(rounds):
        pair = ((a, times_a), (b, times_b))
        for function, into in pair if n % 2 == 0 else pair[::-1]:
            start = time.perf_counter()
            for _ in range(inner):
                function()
            into.append((time.perf_counter() - start) / inner)
    ratio = statistics.median(y / x for x, y in zip(times_a, times_b, strict=True))
    return ratio, statistics.median(times_a), statistics.median(times_b)


def in_turns(ours: Callable, others: dict[str, Callable], rounds: int, inner: int) -> dict[str, tuple[float, float]]:
    """Each opponent's median ratio to ours over rounds in which all take turns, and its median in seconds; "" is ours.

    A round goes through all of them, the next one backwards, so that none always follows the same neighbour.  Each has a
    pause and untimed calls first: torch's threads go on for some time after a step, waiting for the next one, and would take
    a core from whoever comes then.
    """
    every = {"": ours, **others}
    times: dict[str, list[float]] = {name: [] for name in every}
    for function in every.values():
        function()
    for n in range(rounds):
        for name in list(every) if n % 2 == 0 else list(every)[::-1]:
            time.sleep(PAUSE)
            for _ in range(UNTIMED):
                every[name]()
            start = time.perf_counter()
            for _ in range(inner):
                every[name]()
            times[name].append((time.perf_counter() - start) / inner)
    return {
        name: (statistics.median(b / a for a, b in zip(times[""], taken, strict=True)), statistics.median(taken))
        for name, taken in times.items()
    }


def against(
    name: str,
    ours: Callable,
    autodiff: Callable,
    args: tuple,
    torch: Callable | None,
    rounds: int,
    inner: int = 3,
    floor: float | None = None,
    best: float | None = None,
    values: dict | None = None,
) -> list[Row]:
    """The step against autodiff as it comes, autodiff with XLA's options, and torch eager; then against the fastest.

    Parameters
    ----------
    ours, torch : callable
        A step that waits for its result.
    autodiff, args
        A function to be jitted, and what it is called with.
    floor, best
        What the ratio to autodiff as it comes, and that to the fastest of all, must not fall below.
    """
    import jax

    def compiled(options):
        program = jax.jit(autodiff, compiler_options=options).lower(*args).compile()
        return lambda: jax.block_until_ready(program(*args))

    option = xla.settings(jax.default_backend())
    others = {AUTODIFF: compiled(None)}
    if option:
        others[OPTION] = compiled(option)
    if torch is not None:
        others[TORCH] = torch
    control, *_ = interleaved(ours, ours, max(3, rounds // 2), inner)
    found = in_turns(ours, others, rounds, inner)
    first = {"derived_s": found.pop("")[1], **(values or {})}
    rows = [
        Row(
            name,
            key,
            ratio,
            *((control, floor) if key == AUTODIFF else (None, None)),
            {**(first if key == AUTODIFF else {}), f"{SHORT[key]}_s": seconds},
        )
        for key, (ratio, seconds) in found.items()
    ]
    fastest = min(found, key=lambda key: found[key][0])
    ratio = found[fastest][0]
    said = {
        "best": fastest.removeprefix("step time, ").replace("step time", "autodiff"),
        "won": "yes" if ratio > 1 else "no",
    }
    return [*rows, Row(name, "step time, best opponent", ratio, floor=best, values=said)]


def largest_error(got: dict, expected: dict) -> float:
    """The largest relative error over the leaves, in the max norm, floored at 1e-3 of the largest leaf."""
    import numpy as np

    if set(got) != set(expected):
        raise ValueError(f"leaves differ: {sorted(got)} and {sorted(expected)}")
    top = max(float(np.abs(v).max()) for v in expected.values())
    worst = 0.0
    for name, e in expected.items():
        error = float(np.abs(np.asarray(got[name], np.float64) - np.asarray(e, np.float64)).max())
        if not np.isfinite(error):
            raise ValueError(f"{name}: the difference is {error}")
        worst = max(worst, error / max(float(np.abs(e).max()), 1e-3 * top))
    return worst


def memory(compiled) -> int | None:
    """Bytes of temporaries of a compiled program, where the backend tells."""
    found = compiled.memory_analysis()
    return None if found is None else int(found.temp_size_in_bytes)


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    lines = [f"{'workload':<34} {'measure':<22} {'ratio':>7} {'A/A':>6} {'floor':>6}  values"]
    for r in rows:
        ratio = "" if r.ratio is None else f"{r.ratio:.2f}"
        control = "" if r.control is None else f"{r.control:.2f}"
        floor = "" if r.floor is None else f"{r.floor:.2f}"
        values = "  ".join(f"{k} {_short(v)}" for k, v in r.values.items())
        lines.append(f"{r.workload:<34} {r.measure:<22} {ratio:>7} {control:>6} {floor:>6}  {values}  {r.verdict}")
    return "\n".join(lines)


def _short(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def held(rows: list[Row], backend: str) -> None:
    """The floors of the cases are a CPU's; elsewhere a step is held to 0.97 of autodiff's, and nothing else to anything."""
    if backend != "cpu":
        for row in rows:
            row.floor = ELSEWHERE if row.measure == AUTODIFF else None


def save(rows: list[Row], folder: Path) -> Path:
    """Write the rows with the date, the machine and the versions they were measured with."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    path = folder / f"bench-{now:%Y-%m-%d-%H%M%S}.json"
    content = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {p: importlib.metadata.version(p) for p in ("jax", "jaxlib", "numpy", "sympy")},
        "rows": [asdict(r) | {"verdict": r.verdict} for r in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def machine() -> dict:
    import jax

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "allocator": "pinned" if pinned() else "default",
    }
