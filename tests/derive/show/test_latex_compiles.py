r"""``\input`` of a derivation compiles: under three classes, by two engines, with labels that can be referred to."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from programs import CASES

import derive as dv
from derive import layers as L
from derive.networks.examples import load

CLASSES = {
    "article": ("\\documentclass{article}", "{}"),
    "amsart": ("\\documentclass{amsart}", "{}"),
    "beamer": ("\\documentclass{beamer}", "\\begin{{frame}}[allowframebreaks]\n{}\n\\end{{frame}}"),
}
MODELS = {
    "softmax_regression": lambda: load("softmax_regression").backprop(),
    "attention": lambda: load("attention").backprop(),
    "lstm": lambda: CASES["lstm"](),
    "conv2d": lambda: CASES["conv2d"](),
    "hostile names": lambda: _hostile(),
    "layers": lambda: dv.Sequential(
        [L.Conv2D(2, 3, activation="relu"), L.BatchNorm(), L.Flatten(), L.Dense(3)], input_shape=(6, 6, 1)
    ).backprop("sparse_softmax_cross_entropy"),
    "hessian": lambda: dv.derive_matrix("logdet(X'*X)", ("X",), order=2),
}


def _hostile():
    i = dv.index("i")
    odd, e = dv.tensor("odd_name_1", i), dv.tensor("E", i)
    return dv.backprop(dv.define("L_1", (), dv.Sum(dv.relu(odd[i] * e[i]) ** 2, i)), wrt=[odd, e])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["pdflatex", "lualatex"])
@pytest.mark.parametrize("kind", CLASSES)
def test_it_compiles(engine, kind, tmp_path):
    if shutil.which(engine) is None:
        pytest.skip(f"there is no {engine}")
    head, frame = CLASSES[kind]
    if kind == "beamer" and not subprocess.run(["kpsewhich", "beamer.cls"], capture_output=True).stdout:
        pytest.skip("there is no beamer")
    parts, labels = [], []
    for name, make in MODELS.items():
        d = replace(make(), name=name)  # labels begin with the name
        tex = d.to_latex(example=False)
        (tmp_path / f"{name.replace(' ', '-')}.tex").write_text(tex)
        parts.append(frame.format(f"\\input{{{name.replace(' ', '-')}}}"))
        labels += re.findall(r"\\label\{(eq:[^}]*)\}", tex)[:1]
    refer = ", ".join(f"\\eqref{{{label}}}" for label in labels)
    body = "\n".join([*parts, frame.format(f"By {refer}.")])
    (tmp_path / "paper.tex").write_text(
        f"{head}\n\\usepackage{{amsmath}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    for _ in range(2):  # the second run resolves the references
        ran = subprocess.run(
            [engine, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout[-3000:]
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert (
        "undefined references" not in log and "multiply defined" not in log and (tmp_path / "paper.pdf").stat().st_size
    )
    assert len(labels) == len(MODELS)
