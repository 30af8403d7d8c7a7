"""JavaScript modules, run in Node: all that a test has in one process, and their results as arrays."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from numerics.checks.opponent import label

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
