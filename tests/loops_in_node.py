"""JavaScript modules, run in Node: all that a test has in one process, and their results as arrays."""

import json
import shutil
import subprocess

import numpy as np
import pytest

import derive as dv
import numerics as nx
from numerics.checks.ground import everything, float64
from numerics.checks.opponent import flatten, label
from numerics.reference.programs import evaluate
from numerics.reference.sampling import draw_sample, draw_sizes

NODE = shutil.which("node")

RUN = """
import {readFileSync, writeFileSync} from "node:fs";
const [folder, ...names] = process.argv.slice(2), found = {};
const plain = (k, v) => (ArrayBuffer.isView(v) ? Array.from(v, plain.bind(null, k))
  : typeof v === "number" && !Number.isFinite(v) ? String(v) : v);
for (const name of names) {
  try {
    const module = await import(`${folder}/${name}.mjs`);
    found[name] = Object.values(module)[0](JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8")));
  } catch (error) {
    found[name] = {error: String(error.stack)};
  }
}
writeFileSync(`${folder}/found.json`, JSON.stringify(found, plain));
"""


def run(folder, cases) -> dict:
    """Results by name, of ``{name: (source, arrays)}``; arrays are by name, of any kind."""
    if NODE is None:
        pytest.skip("there is no node")
    for name, (source, arrays) in cases.items():
        (folder / f"{name}.mjs").write_text(source, encoding="utf-8")
        given = {n: {"shape": np.shape(a), "data": np.ravel(a).tolist()} for n, a in arrays.items()}
        (folder / f"{name}.json").write_text(json.dumps(given), encoding="utf-8")
    (folder / "run.mjs").write_text(RUN, encoding="utf-8")
    ran = subprocess.run(
        [NODE, folder / "run.mjs", folder, *cases], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads((folder / "found.json").read_text(encoding="utf-8"))


def array(found) -> np.ndarray:
    if isinstance(found, dict):
        return np.array([float(v) for v in found["data"]]).reshape(found["shape"])
    return np.float64(found)


def leaves(d, found) -> dict:
    """The results of a derivation by label, as :func:`numerics.checks.opponent.flatten` has them."""
    assert "error" not in found, found["error"]
    out = {}
    for group, value in d.results:
        here = found if [g for g, _ in d.results] == ["outputs"] else found[group]
        if not hasattr(value, "items"):
            out[group] = array(here)
            continue
        for key in value:
            out[label(group, key)] = array(here[key[0]][key[1]] if isinstance(key, tuple) else here[key])
    return out


def same(found, expected, tolerance=1e-12):
    """Every leaf to a part of its own largest entry."""
    assert list(found) == list(expected)
    for name, reference in expected.items():
        reference = np.asarray(reference, float)
        assert found[name].shape == reference.shape, name
        finite = np.isfinite(reference)
        np.testing.assert_array_equal(found[name][~finite], reference[~finite], err_msg=name)
        largest = np.max(np.abs(reference[finite]), initial=0.0) or 1.0
        assert np.max(np.abs(found[name][finite] - reference[finite]), initial=0.0) <= tolerance * largest, name


def written(d, fixed=None):
    """The module at sizes that verify would draw beside those that are fixed, the sizes, and inputs there."""
    program = everything(d)
    sizes = draw_sizes(program, {dv.size(n): v for n, v in (fixed or {}).items()}, False, 0)
    axes = {a for t in d.program.inputs for a in t.axes}
    source = nx.source(d, target="javascript", sizes={s.name: n for s, n in sizes.items() if s not in axes})

    def finite(arrays):
        with np.errstate(all="ignore"):
            values = evaluate(d.program, arrays, sizes, np)
        return not any(np.isnan(v).any() for v in values.values())

    arrays = draw_sample(program, finite, sizes, 0, d.wrt).arrays
    return source, {t.name: arrays[t.name] for t in d.program.inputs}, sizes


def against_jax(folder, derived, run=run, fixed=None):
    """Every derivation's program, run in Node or as ``run`` does, beside its JAX kernel."""
    made = {n: written(d, fixed) for n, d in derived.items()}
    found = run(folder, {n: (source, arrays) for n, (source, arrays, _) in made.items()})
    for n, d in derived.items():
        _, arrays, sizes = made[n]
        with float64():
            kern = nx.compile(d, sizes={s.name: v for s, v in sizes.items()})
            expected = flatten(d, kern(**{t.name: arrays[t.name] for t in kern.inputs}))
        same(leaves(d, found[n]), expected)
