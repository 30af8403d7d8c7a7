"""The command line: what it writes, what it says, and its exit codes."""

import ast
import json
import subprocess
import sys

import pytest

from numerics.cli import run

GOOD = """\
def gradients(x, label, W, c):
    import numpy as np
    p = np.exp(x @ W + c)
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(label)), label] -= 1
    return {"W": x.T @ p / len(label), "c": p.sum(axis=0) / len(label)}

def doubled(x, label, W, c):
    return {name: 2 * g for name, g in gradients(x, label, W, c).items()}

def broken(x, label, W, c):
    return {"W": x @ undefined_name}

number = 3
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


def test_show_writes_each_format(capsys, tmp_path):
    assert run(["show", "softmax_regression"]) == 0
    assert "dW[i,k] = sum_b x[b,i] dz[b,k]" in capsys.readouterr().out
    for form, mark in (("latex", r"\sum"), ("markdown", "$$"), ("html", "<math")):
        out = tmp_path / f"d.{form}"
        assert run(["show", "softmax_regression", "--format", form, "-o", str(out)]) == 0
        assert mark in out.read_text()


def test_show_reads_a_file_and_wrt(capsys, tmp_path):
    path = tmp_path / "quadratic.txt"
    path.write_text("x: float[i]\nA: float[i, j]\nindex i j: N\nloss = sum[i, j](x[i]*A[i, j]*x[j])\n")
    assert run(["show", str(path), "--wrt", "x"]) == 0
    shown = capsys.readouterr().out
    assert "dx[" in shown and "dA[" not in shown


def test_show_writes_closed_forms(capsys):
    formula = "X: m x n; C: m x m symmetric; B: m x m symmetric; tr(inv(X'*C*X)*(X'*B*X))"
    assert run(["show", formula, "--wrt", "X", "--closed", "--helpers"]) == 0
    assert capsys.readouterr().out == "dX = 2 (B - C X R X'B)X R  with R = inv(X'C X)\n"
    assert run(["show", formula, "--wrt", "X", "--closed", "--helpers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["helpers"] == {"dX": {"R": "inv(X'C X)"}}
    assert run(["show", "x'*A*x", "--wrt", "x", "--order", "2", "--closed", "-f", "latex"]) == 0
    assert "H_{x, x} &= A + A^{\\top}" in capsys.readouterr().out
    assert run(["show", formula, "--helpers"]) == 2
    assert "it goes with --closed" in capsys.readouterr().err


def test_emit_writes_a_module_that_runs_alone(tmp_path):
    out = tmp_path / "module.py"
    assert run(["emit", "softmax_regression", "-o", str(out)]) == 0
    ast.parse(out.read_text())
    code = (
        "import importlib.util, sys, numpy as np\n"
        f"spec = importlib.util.spec_from_file_location('module', {str(out)!r})\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "assert 'derive' not in sys.modules and 'numerics' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_check_accepts_a_right_gradient(mine, capsys):
    assert run(["check", "softmax_regression", "--against", f"{mine}:gradients"]) == 0
    assert "verdict: ok" in capsys.readouterr().out


def test_check_refuses_a_wrong_gradient_with_code_1(mine, capsys):
    assert run(["check", "softmax_regression", "--against", f"{mine}:doubled"]) == 1
    assert "theirs is 2 times ours" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("mine.py", "expected FILE.py:FUNCTION"),
        ("nowhere.py:fn", "there is no file nowhere.py"),
        ("{mine}:other", "has no function 'other'; it has broken, doubled, gradients"),
        ("{mine}:number", "has no function 'number'"),
    ],
)
def test_what_is_wrong_with_a_user_s_file_is_told(spec, says, mine, capsys):
    assert run(["check", "softmax_regression", "--against", spec.format(mine=mine)]) == 2
    err = capsys.readouterr().err
    assert says in err and "Traceback" not in err


def test_a_user_s_function_that_fails_is_wrong_at_its_line(mine, capsys):
    assert run(["check", "softmax_regression", "--against", f"{mine}:broken"]) == 1
    assert "mine.py:12: NameError" in capsys.readouterr().out


def test_check_names_the_factor_that_is_missing(tmp_path, capsys):
    path = tmp_path / "sums.py"
    path.write_text(GOOD.replace(" / len(label)", ""))
    assert run(["check", "softmax_regression", "--against", f"{path}:gradients"]) == 1
    assert "missing 1/B" in capsys.readouterr().out


def test_check_lists_the_steps_on_request(capsys):
    assert run(["check", "softmax_regression"]) == 0
    assert "chain rule: dW" not in capsys.readouterr().out
    assert run(["check", "softmax_regression", "--steps"]) == 0
    assert "chain rule: dW" in capsys.readouterr().out


def test_a_user_s_file_that_does_not_parse(tmp_path, capsys):
    path = tmp_path / "bad.py"
    path.write_text("def f(:\n")
    assert run(["check", "softmax_regression", "--against", f"{path}:f"]) == 2
    assert "bad.py:1: SyntaxError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("loss = sum[i](x[i]^2)", "line 1"),
        ("x: float[i] parameter\nloss = sum[i](x[i]^2", "line 2"),
        ("x: float[i] parameter\ny[i] = x[i]^2", "no scalar definition"),
        ("", "no scalar definition"),
    ],
)
def test_a_model_that_is_wrong_is_code_2_without_a_traceback(text, says, tmp_path, capsys):
    path = tmp_path / "model.dv"
    path.write_text(text)
    assert run(["show", str(path)]) == 2
    err = capsys.readouterr().err
    assert says in err and "Traceback" not in err


def test_bytes_that_are_no_text(tmp_path, capsys):
    path = tmp_path / "model.dv"
    path.write_bytes(b"\xff\xfe\x00")
    assert run(["show", str(path)]) == 2
    assert "not a text" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["show"],
        ["show", "no_such_model"],
        ["show", "mlp", "--format", "word"],
        ["show", "mlp", "--wrt", "nothing"],
        ["nonsense"],
        ["train", "letters"],
        ["train", "digits", "--epochs", "0"],
        ["train", "digits", "--hidden", "a,b"],
        ["train", "digits", "--hidden", "-3"],
    ],
)
def test_usage_errors_are_code_2_without_a_traceback(arguments, capsys):
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert err.strip() and "Traceback" not in err


@pytest.mark.parametrize("command", ["show", "emit", "check", "train", "docs"])
def test_every_command_has_help_with_examples(command, capsys):
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"derive {command}" in shown and "Example" in shown


def test_a_folder_that_cannot_be_written_is_code_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(["docs", "softmax_regression", "-o", str(tmp_path / "file" / "site")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_docs_is_a_folder_that_needs_no_network(tmp_path):
    assert run(["docs", "softmax_regression", "-o", str(tmp_path)]) == 0
    page = (tmp_path / "index.html").read_text()
    for name in ("derivation.html", "derivation.tex", "derivation.txt", "evidence.json", "softmax_regression.py"):
        assert f'href="{name}"' in page
        assert (tmp_path / name).stat().st_size > 100
    assert json.loads((tmp_path / "evidence.json").read_text())["ok"] is True
    for html in (page, (tmp_path / "derivation.html").read_text()):
        assert "<script" not in html and 'src="http' not in html and "@import" not in html


def test_train_leaves_the_evidence_and_ends_with_the_accuracy(tmp_path, capsys):
    assert run(["train", "digits", "--epochs", "2", "--hidden", "32", "-o", str(tmp_path)]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("test accuracy: 0.") and len(last) == len("test accuracy: 0.9736")
    for name in ("index.html", "derivation.html", "digits_mlp.py", "evidence.json", "training.png"):
        assert (tmp_path / name).stat().st_size > 100


def test_python_m_derive_is_the_same_command(root):
    done = subprocess.run(
        [sys.executable, "-m", "derive", "show", "no_such_model"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "the catalogue has" in done.stderr and "Traceback" not in done.stderr
