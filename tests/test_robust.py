"""Odd input comes out right, or is refused in the library's own words."""

import gzip
import io
import struct
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx
from numerics.data.examples import load_idx

REGRESSION = """
x: float[b,i]   label: int[b] < K
W: float[i,k] parameter
z[b,k] = sum[i](x[b,i]*W[i,k])
loss = mean[b](log(sum[k](exp(z[b,k]))) - z[b,label[b]])
"""


@pytest.fixture(scope="module")
def regression():
    t = dv.parse(REGRESSION)
    return nx.compile(dv.backprop(t["loss"], wrt=[t["W"]]))


def arrays(K=4):
    return {"x": np.ones((3, 2), np.float32), "W": np.ones((2, K), np.float32), "label": np.array([0, 1, 2])}


def same(found, wanted):
    np.testing.assert_allclose(found.grads["W"], wanted.grads["W"], rtol=1e-6)


# -- arrays ------------------------------------------------------------------------------------------------------------


class Foreign:
    """What an array of another library looks like: torch's, say."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    class dtype:  # noqa: N801  its str is what counts
        def __str__(self):
            return "torch.float32"

    dtype = dtype()


def test_an_array_of_another_library_is_refused_with_what_to_write(regression):
    with pytest.raises(nx.NumericsError, match=r"x: give a NumPy or JAX array.*torch.float32.*np.asarray\(x\)"):
        regression(**{**arrays(), "x": Foreign(np.ones((3, 2), np.float32))})


def test_byte_order_does_not_matter(regression):
    given = arrays()
    swapped = {n: a.astype(a.dtype.newbyteorder(">")) for n, a in given.items()}
    same(regression(**swapped), regression(**given))
    same(regression(**{**given, "x": swapped["x"]}), regression(**given))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32"])
def test_narrow_labels_index_an_axis_longer_than_they_could_count(regression, dtype):
    given = arrays(K=300)
    same(regression(**{**given, "label": given["label"].astype(dtype)}), regression(**given))


def test_python_numbers_alone_are_floats_and_integers():
    t = dv.parse("c: float parameter\nn: int\nloss = c^2 * n")
    loss, grads = nx.compile(dv.backprop(t["loss"], wrt=[t["c"]]))(c=3.0, n=2)
    assert (float(loss), float(grads["c"])) == (18.0, 12.0) and grads["c"].dtype == jnp.float32


@pytest.mark.parametrize("name", ["self", "arrays", "args", "kwargs", "lambda", "cls", "a" * 300, "None"])
def test_any_name_is_a_name(name):
    t = dv.tensor(name, "B")
    b = dv.index("b")
    kern = nx.compile(dv.backprop(dv.define("loss", (), dv.Sum(t[b] ** 2, b)), wrt=[t]))
    assert kern(**{name: np.ones(3, np.float32)}).grads[name].tolist() == [2, 2, 2]
    assert kern.validate(**{name: np.ones(3, np.float32)}) == [f"{name}: finite"]
    structured = nx.compile(dv.hessian(dv.define("loss", (), dv.Sum(t[b] ** 3, b)), [t]), form="structured")
    assert structured(**{name: np.ones(3, np.float32)}).grads[name].tolist() == [3, 3, 3]


@pytest.mark.parametrize("formula", ["logdet(A)", "sum(inv(A))", "det(A)"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_matrices_in_half_precision_are_refused_with_the_equation(formula, dtype):
    t = dv.matrix(f"A: n x n; {formula}")
    kern = nx.compile(dv.backprop(t["f"], wrt=[t["A"]]))
    with pytest.raises(nx.NumericsError, match=rf"A is {dtype}, and an inverse or a determinant needs float32"):
        kern(A=jnp.eye(2, dtype=dtype))


@pytest.mark.parametrize("check", [lambda d: nx.crosscheck(d, lambda **_: {}), nx.verify])
def test_a_check_takes_a_kernel(regression, check):
    with pytest.raises(nx.NumericsError, match="takes a kernel"):
        check(regression.derivation)


# -- formulas, documents, notebooks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [None, 3, b"x", "x" + "'" * 5000 + "*x", "-" * 5000 + "x", "(" * 5000 + "x" + ")" * 5000, "exp(" * 500 + "x" + ")" * 500],
)  # fmt: skip
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(dv.DeriveError) as caught:
        dv.matrix(text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", ["tr((y)^1e99)", "sum(y.^1e6)", "norm2(y)^1e6", "sum((y+1e6).^-1e6)", "1e300*1e300^-1*sum(y)"]
)
def test_a_document_of_a_huge_power_is_written_at_once(text):
    t = dv.matrix(text)
    d = dv.backprop(t["f"], wrt=[t["y"]])
    assert all(write() for write in (d.to_text, d.to_latex, d.to_markdown, d.to_html))


def test_a_notebook_shows_a_tensor():
    b, i = dv.indices("b i")
    x = dv.tensor("x", b, i)
    y = dv.define("y", (b,), dv.Sum(x[b, i] ** 2, i))
    assert x._repr_latex_() == r"$\displaystyle x_{bi}$"
    assert y._repr_latex_() == r"$\displaystyle y_{b} = \sum_{i} x_{bi}^{2}$"
    assert sympy.pretty(x) == "x" and sympy.pretty(x[b, i]) == "x[b, i]"


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column, message",
    [
        ("4294967297", "line 2, column 2 .id.: the label 4294967297 does not fit"),
        ("9" * 30, "does not fit"),
        ("1e39\n2,0.5", "beyond the range of float32"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, column, message):
    path = tmp_path / "c.csv"
    path.write_text(f"a,id\n1,{column}\n")
    with pytest.raises(nx.NumericsError, match=message):
        nx.load_csv(path, target="id")


def npz(**members: bytes) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return raw.getvalue()


def npy(shape: tuple, data: bytes, descr: str = "<f4") -> bytes:
    head = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


@pytest.mark.parametrize(
    "member",
    [
        npy((10**12,), b"\0" * 8),
        npy((1,), b"\0" * 8),
        npy((-1,), b"\0" * 8),
        npy((2**62, 2**62), b""),
        npy((2,), b"\0" * 8, "<f3"),
        npy((2,), b"\0" * 8, "|O"),
        npy((2,), b"\0" * 8).replace(b"{", b"["),
        b"\x93NUMPY\x09\x00",
        b"",
        b"no array",
    ],
)
def test_an_archive_whose_header_lies_is_refused(tmp_path, member):
    path = tmp_path / "a.npz"
    path.write_bytes(npz(X=member, Y=npy((2,), b"\0" * 8)))
    with pytest.raises(nx.NumericsError):
        nx.load_npz(path)
    path.write_bytes(npz(X=npy((2,), b"\0" * 8), Y=npy((2,), b"\0" * 8)))
    assert nx.load_npz(path).X.tolist() == [0, 0]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "raw, message",
    [
        (struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1), "truncated"),
        (struct.pack(">BBBB8I", 0, 0, 14, 8, *8 * [2**32 - 1]), "truncated"),
        (struct.pack(">BBBB", 0, 0, 8, 255) + b"\0\0\0\1" * 255 + b"\0", "255 axes"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "holds nothing"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 2) + b"\0" * 10**7, "too long: 11 bytes or more"),
        (struct.pack(">BBBBI", 0, 0, 7, 1, 2) + b"\0" * 2, "not an IDX file"),
    ],
)
def test_an_idx_file_whose_header_lies_is_refused(tmp_path, pack, raw, message):
    path = tmp_path / "images"
    path.write_bytes(pack(raw))
    with pytest.raises(nx.NumericsError, match=message):
        load_idx(path)
