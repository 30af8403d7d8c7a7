"""Typed inputs by the thousand, from a fixed seed: texts, matrix formulas, command lines and files.

Each comes out right or raises the library's own error; a run of some hundreds stands in the default tests, one of 20,000
in the slow ones.  An input is made of a right one by a few changes a person or a broken disk could make.
"""

import contextlib
import gzip
import io
import json
import random
import signal
import struct
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive import layers as L
from derive.language.text.parse import parse_expression
from numerics.cli.app import run
from numerics.data.examples import load_idx
from numerics.training import saving

PATIENCE = 60  # seconds of the processor for one input, whatever else the machine does: one that hangs is a fault too
TEXTS = [
    *(p.read_text() for p in sorted(Path(dv.__file__).parent.glob("networks/examples/*.dv"))),
    "x: float[b,i]  label: int[b] < K\nW: float[i,k] parameter\nz[b,k] = sum[i](x[b,i]*W[i,k])\n"
    "loss = mean[b](log(sum[k](exp(z[b,k]))) - z[b,label[b]])",
    "size S; index p q : N; index u : (I + 2*P - R)//S + 1\nA: float[p,q] symmetric parameter\nv: float[p] sums to 1 over p\n"
    "m[p] = max[q](where(q <= p, A[p,q], -inf))\nl = sum[p](m[p]*v[p])",
    "x: float[t,b] parameter\nh[t,b] = tanh(where(t == 0, 0, h[t-1,b]) + x[t,b])\nl = sum[t,b](h[t,b]^2)",
    "x: float[b] parameter positive\nl = sum[b]([x[b] > 1/2 and not x[b] >= 3.5e-1]*piecewise((x[b], x[b] < 1), (0, true)))",
]
FORMULAS = [
    "x'*A*x", "A: n x n; logdet(A)", "X: m x n; w: n; norm2(X*w - y)^2", "tr(A*B'*inv(C))", "sum(exp(-x.^2) .* y)",
    "solve(A, b)'*c", "g = kron(A, B)", "lam*norm1(x) + log(det(A'*A + mu*eye(1)))", "c: scalar; relu(x - c)'*vector(1)",
]  # fmt: skip
PIECES = [
    "x", "b", "i", "W", "y'", "label", "x[b,i]", "x[b]", "A", "N", "=", ":", "float", "int", "bool", "index", "size", "sum[b]",
    "max[i]", "argmax[k]", "mean[b]", "sums to 1 over k", "positive", "symmetric", "and", "or", "not", "(", ")", "[", "]", ",",
    ";", "\n", "+", "-", "*", "/", "//", "^", ".*", "./", ".^", "'", "<", "<=", "==", "!=", "0", "1", "-1", "2", "1/2", "0.1",
    "1e6", "1e99", "1e-300", "1e400", "99999999999999999999", "2^31", "inf", "pi", "true", "exp(", "log(", "sqrt(", "where(",
    "piecewise(", "inv(", "det(", "eye(", "kron(", "tr(", "norm2(", "self", "lambda", "None", "I", "E", "é", "λ", "²", "١", "√",
    "\t", "\r", "\0", "\u202e", "\\", '"', "#", "@", "$", "{", "}", "__import__", "a" * 200, "'" * 30, "(" * 70, "-" * 70,
]  # fmt: skip
SOURCES = [
    "softmax_regression",
    "layer_norm",
    "huber",
    "gelu",
    "no_such",
    "net.py:model",
    "x.dv",
    ".",
    "/",
    "",
    "-",
    "--",
    "x" * 300,
]
OPTIONS = [
    "--wrt", "W", "W,c", "x", ",", "--order", "2", "3", "-1", "two", "--loss", "mean_squared_error", "nothing", "--format",
    "text", "latex", "html", "pdf", "--notation", "matrix", "both", "--json", "--no-example", "--update", "adam", "--help",
    "--seed", "0", "-o", "out/file", "/proc/no/file", "--nonsense", "\0", "é",
]  # fmt: skip


def changed(rng: random.Random, text: str, pieces=PIECES) -> str:
    """A text after one to four changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        to = min(to, at + rng.choice((0, 1, 2, 5, 20)))
        text = {
            "put": lambda: text[:at] + rng.choice(pieces) + text[at:],  # noqa: B023  called at once
            "instead": lambda: text[:at] + rng.choice(pieces) + text[to:],  # noqa: B023
            "out": lambda: text[:at] + text[to:],  # noqa: B023
            "twice": lambda: text[:to] + text[at:],  # noqa: B023
            "swap": lambda: text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :],  # noqa: B023
        }[rng.choice(("put", "put", "instead", "instead", "out", "twice", "swap"))]()
    return text


def made(rng: random.Random, pieces=PIECES) -> str:
    """A text of pieces."""
    return rng.choice(("", " ")).join(rng.choice(pieces) for _ in range(rng.randrange(12)))


NUMBERS = ("0", "1", "2", "3", "1/2", "0.1", "1e6", "1e99", "1e-300", "99999999999999999999", "12345678.9")
FUNCTIONS = ("exp", "log", "sqrt", "abs", "sign", "tanh", "relu", "sigmoid", "erf", "sin", "acos", "floor")


def formula(rng: random.Random, depth: int) -> str:
    """A formula that is one by the grammar, whatever it means."""
    if depth <= 0 or rng.random() < 0.15:
        return rng.choice(("A", "B", "X", "x", "y", "w", "lam", "mu", "c", "self", rng.choice(NUMBERS)))
    a, b = formula(rng, depth - 1), formula(rng, depth - rng.choice((1, 2)))
    call = rng.choice(
        (*FUNCTIONS, "inv", "det", "logdet", "tr", "norm1", "norm2", "sum", "diag", "vector", "matrix", "eye")
    )
    return rng.choice(
        (f"{a} {rng.choice('+-')} {b}", f"({a}){rng.choice(('*', '/', '.*', './'))}({b})", f"{call}({a})", f"({a})'",
         f"({a})^{rng.choice(('2', '-1', '1/2', '1e6', '0', b))}", f"({a}).^({b})", f"-({a})", f"kron({a}, {b})",
         f"solve({a}, {b})")
    )  # fmt: skip


def body(rng: random.Random, depth: int, letters: str) -> str:
    """A right-hand side that is one by the grammar, over the indices in scope."""
    if depth <= 0 or rng.random() < 0.1:
        b, i = (rng.choice(letters) for _ in "bi")
        return rng.choice(
            (f"x[{b},{i}]", f"W[{i}]", f"W[label[{b}]]", f"x[{b} - 1,{i}]", b, "s", "B", *rng.sample(NUMBERS, 2))
        )
    a, b = body(rng, depth - 1, letters), body(rng, depth - 2, letters)
    new = rng.choice("ijpq")
    inner = body(rng, depth - 1, letters + new)
    return rng.choice(
        (f"({a} {rng.choice(('+', '-', '*', '/', '//', '^'))} {b})", f"{rng.choice(FUNCTIONS)}({a})", f"-{a}",
         f"{a}^{rng.choice(NUMBERS)}",
         f"{rng.choice(('sum', 'max', 'min', 'mean'))}[{new}]({inner})",
         f"where({a} {rng.choice(('<', '<=', '==', '!='))} {b}, {a}, {b})",
         f"[{a} < {b}]", f"max({a}, {b})", f"piecewise(({a}, {b} < 1), 0)")
    )  # fmt: skip


def program(rng: random.Random) -> str:
    """A text of one or two definitions."""
    head = "x: float[b,i]  label: int[b] < I\nW: float[i] parameter\ns: float parameter positive\nindex p q : I\n"
    named = f"u[b] = {body(rng, 3, 'b')}\n" if rng.random() < 0.5 else ""
    return f"{head}{named}loss = sum[b]({body(rng, 3, 'b')}{' * u[b]' if named else ''})"


def broken(rng: random.Random, raw: bytes) -> bytes:
    """A file after one to four changes: bytes flipped, numbers set, cut off, doubled."""
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        at = rng.randrange(len(raw) + 1)
        odd = rng.choice(
            (b"\0", b"\xff", b"\xff" * 4, b"\x7f" + b"\xff" * 7, struct.pack("<q", -1), b"9" * 12, b"{", b"(")
        )
        raw = rng.choice(
            (
                raw[:at] + odd + raw[at + len(odd) :],
                raw[:at] + odd + raw[at:],
                raw[:at],
                raw[:at] + raw[at + 4 :],
                raw * 2,
            )
        )
    return raw


# -- what is done with an input: (make one, use it) --------------------------------------------------------------------


def use_text(rng, folder):
    text = rng.choice((changed(rng, rng.choice(TEXTS)), changed(rng, rng.choice(TEXTS)), program(rng), made(rng)))
    yield text
    found = dv.parse(text)
    values = [t for t in found.values() if not t.is_input and not t.rank]
    wrt = [t for t in found.values() if t.is_input and t.dtype == "float"]
    if values and wrt and len(text) < 300 and rng.random() < 0.1:
        d = dv.backprop(values[-1], wrt=wrt)
        assert d.to_text() and d.to_latex()


def use_expression(rng, folder):
    b, i = dv.indices("b i")
    text = changed(rng, rng.choice(("x[b,i]^2 - exp(-x[b,i])", "sum[i](x[b,i]*W[i])/I", "where(b < 2, W[b], 0)")))
    yield text
    parse_expression(text, {"x": dv.tensor("x", b, i), "W": dv.tensor("W", i)})


def use_formula(rng, folder):
    text = rng.choice((changed(rng, rng.choice(FORMULAS)), formula(rng, rng.choice((2, 3, 4))), made(rng)))
    yield text
    found = dv.matrix(text)
    value = list(found.values())[-1]
    wrt = [t for t in found.values() if t.is_input]
    if not value.rank and wrt and len(text) < 60 and rng.random() < 0.1:
        assert dv.backprop(value, wrt=wrt).to_text()


def use_command(rng, folder):
    path = folder / "model.dv"
    path.write_text(changed(rng, rng.choice(TEXTS)), encoding="utf-8")
    source = rng.choice((str(path), rng.choice(SOURCES), formula(rng, 2), rng.choice(FORMULAS)))
    options = [rng.choice(OPTIONS) for _ in range(rng.choice((0, 1, 2, 2, 3, 4)))]
    arguments = [rng.choice(("show", "show", "emit", "docs", "nonsense", "check")), source, *options]
    if arguments[0] == "check" and source in SOURCES:
        arguments[0] = "show"  # checks of the catalogue have tests of their own
    yield arguments
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
        code = run(arguments)
    assert code in (0, 1, 2), code
    assert "Traceback" not in told.getvalue()


def use_csv(rng, folder):
    path, target = folder / "a.csv", rng.choice((None, "species", "width", -1, 0, "none", ["length", "width"], 7))
    path.write_bytes(broken(rng, b"length,width,species\n5.1,3.5,setosa\n6.2,2.9,virginica\n4.9,3,setosa\n"))
    yield path.read_bytes(), target
    found = nx.load_csv(path, target=target)
    assert np.isfinite(found.X).all() and len(found.X) and (found.Y is None or len(found.Y) == len(found.X))


def use_npz(rng, folder):
    raw, path = io.BytesIO(), folder / "a.npz"
    member = io.BytesIO()
    np.save(member, np.arange(6).reshape(2, 3).astype(rng.choice(("f4", ">i2", "?", "U3", "c8"))))
    inside = broken(rng, member.getvalue()) if rng.random() < 0.7 else member.getvalue()
    with zipfile.ZipFile(raw, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        archive.writestr(rng.choice(("X.npy", "X.npy", "X.npy", "X")), inside)
        archive.writestr("Y.npy", member.getvalue())
    path.write_bytes(broken(rng, raw.getvalue()) if rng.random() < 0.5 else raw.getvalue())
    yield path.read_bytes()
    assert isinstance(nx.load_npz(path).X, np.ndarray)


def use_idx(rng, folder):
    raw, path = struct.pack(">BBBB2I", 0, 0, 8, 2, 2, 3) + bytes(6), folder / "idx"
    raw = broken(rng, raw) if rng.random() < 0.7 else raw
    raw = gzip.compress(raw) if rng.random() < 0.4 else raw
    path.write_bytes(broken(rng, raw) if rng.random() < 0.4 else raw)
    yield path.read_bytes()
    assert load_idx(path).size


def _data(rng, value):
    """Plain data with one or more of its values, or keys, changed."""
    odd = (None, True, -1, 0, 1e308, 10**30, "", "x", [], {}, [[]], float("nan"))
    if rng.random() < 0.03:
        return rng.choice(odd)
    if isinstance(value, dict):
        return {(k if rng.random() > 0.03 else rng.choice(("x", k + "s"))): _data(rng, v) for k, v in value.items()}
    if isinstance(value, list):
        return [
            _data(rng, v) for v in value for _ in range(rng.choice((1, 1, 1, 1, 0, 2)) if rng.random() < 0.1 else 1)
        ]
    return value


MODELS = [
    dv.Sequential([L.Dense(3, activation="relu"), L.Dropout(0.5), L.Dense(2)], input_shape=(4,), name="net"),
    dv.Sequential([L.Conv2D(2, 3), L.MaxPool2D(2), L.Flatten(), L.Dense(2)], input_shape=(8, 8, 1), name="cnn"),
]


def use_network(rng, folder):
    data = _data(rng, rng.choice(MODELS).to_dict())
    yield data
    dv.Model.from_dict(data)


def use_index(rng, folder):
    described = {
        "format": saving.FORMAT, "model": {}, "losses": {}, "loss_weights": None, "metrics": {"y": ["accuracy"]}, "seed": 0,
        "frozen": [], "epoch": 1, "step": 3, "history": [{"loss": 0.5}], "batch_size": 8, "part": None,
        "arrays": "arrays-0123456789abcdef.safetensors", "sha256": 64 * "0",
    }  # fmt: skip
    described = _data(rng, described)
    if isinstance(described, dict) and rng.random() < 0.7:
        described["checksum"] = saving.checksum(described)
    text = json.dumps(described)
    raw = broken(rng, text.encode()) if rng.random() < 0.3 else text.encode()
    (folder / "trainer.json").write_bytes(raw)
    yield raw
    saving.read(folder)


SHARES = {
    use_text: 7000, use_formula: 5000, use_expression: 2000, use_command: 600, use_csv: 1600, use_npz: 1000, use_idx: 1000,
    use_network: 800, use_index: 1000,
}  # fmt: skip


class Hung(Exception):
    """An input took longer than anybody waits."""


def _hung(*_):
    raise Hung


def faults(folder: Path, share: float, seed: int) -> list[str]:
    """What came out that should not, a text for each input."""
    found = []
    signal.signal(signal.SIGPROF, _hung)
    for use, count in SHARES.items():
        for n in range(max(1, round(count * share))):
            rng = random.Random(f"{use.__name__} {seed} {n}")
            work, given = use(rng, folder), None
            signal.setitimer(signal.ITIMER_PROF, PATIENCE, 1)  # again and again: a callback may swallow one
            try:
                given = next(work)
                next(work, None)
            except (dv.DeriveError, nx.NumericsError):
                pass
            except Exception as error:
                where = "".join(traceback.format_tb(error.__traceback__)[-3:])
                found.append(f"{use.__name__} {n}: {given!r:.600}\n{type(error).__name__}: {error!s:.300}\n{where}")
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
    return found


def _fuzz(folder, monkeypatch, share, seed):
    monkeypatch.chdir(folder)  # a command line may write where it is
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = faults(folder, share, seed)
    assert not found, f"{len(found)} inputs:\n\n" + "\n".join(found[:10])


def test_some_hundred_odd_inputs(tmp_path, monkeypatch):
    _fuzz(tmp_path, monkeypatch, 0.02, seed=1)


@pytest.mark.slow
def test_twenty_thousand_odd_inputs(tmp_path, monkeypatch):
    assert sum(SHARES.values()) == 20_000
    _fuzz(tmp_path, monkeypatch, 1, seed=0)
