"""CSV, npz and standardization: the arrays, and errors that name the line, the column, the key."""

import pickle
import zipfile

import numpy as np
import pytest

import numerics as nx
from numerics.errors import InputError


@pytest.fixture
def csv(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "data.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


FLOWERS = 'length,width,"the species"\n5.1,3.5,setosa\n\n6.25, -2e0 ,virginica\n4.9,3.0,"setosa"\n'


def test_a_table_with_a_header_and_labels_of_text(csv):
    found = nx.load_csv(csv(FLOWERS), target="the species")
    assert (
        found.X.dtype == np.float32 and found.X.tolist() == np.array([[5.1, 3.5], [6.25, -2], [4.9, 3]], "f4").tolist()
    )
    assert found.Y.dtype == np.int32 and found.Y.tolist() == [0, 1, 0]
    assert found.names == ("length", "width") and found.classes == ("setosa", "virginica")
    assert nx.load_csv(csv(FLOWERS), target=-1).Y.tolist() == [0, 1, 0]


def test_targets_are_labels_values_or_none(csv):
    path = csv("1,2,3\n4,5,6.5\n")
    assert nx.load_csv(path).X.tolist() == [[1, 2, 3], [4, 5, 6.5]] and nx.load_csv(path).Y is None
    whole = nx.load_csv(path, target=0)
    assert whole.Y.dtype == np.int32 and whole.Y.tolist() == [1, 4] and whole.names == ("1", "2")
    value = nx.load_csv(path, target=2)
    assert value.Y.dtype == np.float32 and value.Y.tolist() == [[3], [6.5]]
    several = nx.load_csv(path, target=[0, 2])
    assert several.Y.tolist() == [[1, 3], [4, 6.5]] and several.X.tolist() == [[2], [5]]


def test_other_dialects(csv):
    assert nx.load_csv(csv("a;b\n1;2\n"), delimiter=";").X.tolist() == [[1, 2]]
    assert nx.load_csv(csv("\ufeffa,b\r\n1,2\r\n")).names == ("a", "b")
    assert nx.load_csv(csv("é\n1\n", "latin-1"), encoding="latin-1").names == ("é",)
    assert nx.load_csv(csv("1,2\n3,4\n"), header=True).names == ("1", "2")
    with pytest.raises(InputError, match="line 1, column 1 .0.: 'a' is not a number"):
        nx.load_csv(csv("a,b\n1,2\n"), header=False)


@pytest.mark.parametrize(
    "text, options, message",
    [
        ("a,b\n1,2\n\n3,x\n", {}, r"data.csv, line 4, column 2 \(b\): 'x' is not a number"),
        ("a,b\n1,2\n3\n", {}, r"data.csv, line 3: 1 fields, but the header has 2"),
        ("1,2\n1,2,3\n", {}, r"data.csv, line 2: 3 fields, but the first row has 2"),
        ("a,b\n1,\n", {}, r"line 2, column 2 \(b\): empty; a number is expected"),
        ("a,b\n1,nan\n", {}, r"line 2, column 2 \(b\): 'nan' is not finite"),
        ("a,b\n1,1e999\n", {}, "'1e999' is not finite"),
        ("a,b\n", {}, "there is a header and no row below it"),
        ("", {}, "data.csv: empty"),
        (
            "length,b\n1,2\n",
            {"target": "lenght"},
            "no column 'lenght'; did you mean 'length'.; it has length, b, or -2 to 1",
        ),
        ("a,b\n1,2\n", {"target": ["a", "b"]}, "every column is a target"),
        ("a,kind\n1,red\n2,\n", {"target": "kind"}, r"line 3, column 2 \(kind\): empty; a label is expected"),
        ("a,kind\n1,red\n2,7\n", {"target": "kind"}, r"line 2, column 2 \(kind\): 'red' is not a number"),
        ('a,b\n1,"2\n', {}, "data.csv, line 2: unexpected end of data"),
    ],
)
def test_bad_rows_are_named(csv, text, options, message):
    with pytest.raises(InputError, match=message):
        nx.load_csv(csv(text), **options)


def test_what_is_no_text_and_what_is_not_there(csv, tmp_path):
    with pytest.raises(InputError, match="not text in utf-8-sig: .* at byte 2"):
        nx.load_csv(csv("a\né\n", "latin-1"))
    with pytest.raises(InputError, match="nowhere.csv: cannot be read: No such file"):
        nx.load_csv(tmp_path / "nowhere.csv")


def test_npz(tmp_path):
    path = tmp_path / "d.npz"
    X, Y = np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([1, 0])
    np.savez(path, x_train=X, y_train=Y)
    found = nx.load_npz(path, "x_train", "y_train")
    assert found.X.dtype == np.uint8 and np.array_equal(found.X, X) and np.array_equal(found.Y, Y)
    assert nx.load_npz(path, "x_train", None).Y is None
    with pytest.raises(InputError, match="no array 'x_trian'; did you mean 'x_train'.; it has x_train, y_train"):
        nx.load_npz(path, "x_trian")


class Bomb:
    """Unpickling one would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_are_never_loaded(tmp_path):
    path, mark = tmp_path / "d.npz", tmp_path / "mark"
    np.savez(path, X=np.array([Bomb(mark)], dtype=object), Y=np.zeros(1))
    with pytest.raises(InputError, match="holds pickled Python objects, which are never loaded"):
        nx.load_npz(path)
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match="d.npz: "):
        nx.load_npz(path)
    assert not mark.exists()


def test_broken_archives(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, X=np.random.default_rng(0).normal(size=(40, 3)), Y=np.zeros(40))
    whole = path.read_bytes()
    for cut in (1, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="d.npz: "):
            nx.load_npz(path)
    flipped = bytearray(whole)
    for n in range(200, 260):
        flipped[n] ^= 0xFF
    path.write_bytes(bytes(flipped))
    with pytest.raises(InputError, match="d.npz: cannot be read"):
        nx.load_npz(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match="a single array, not an archive"):
        nx.load_npz(tmp_path / "one.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", b"no array at all")
    with pytest.raises(InputError, match="d.npz: "):
        nx.load_npz(path)
    with pytest.raises(InputError, match="gone.npz: cannot be read"):
        nx.load_npz(tmp_path / "gone.npz")


def test_standardizing_uses_the_training_part_alone():
    rng = np.random.default_rng(0)
    X, test = rng.normal(3, 5, (50, 4)), rng.normal(100, 1, (9, 4))
    X[:, 2] = test[:, 2] = 0.1
    scaled = nx.Standardizer.fit(X)
    out = scaled(X)
    assert out.dtype == np.float32 and np.abs(out.mean(0)).max() < 1e-6
    assert out.std(0) == pytest.approx([1, 1, 0, 1], abs=1e-5)
    assert scaled(test)[:, 0] == pytest.approx((test[:, 0] - X[:, 0].mean()) / X[:, 0].std(), rel=1e-5)
    assert scaled.inverse(scaled(test)) == pytest.approx(test, rel=1e-5)


def test_standardizing_images_by_channel():
    X = np.random.default_rng(0).normal([0, 10, -3], [1, 2, 3], (20, 4, 5, 3))
    scaled = nx.Standardizer.fit(X, channels=True)
    assert scaled.mean.shape == (3,) and np.abs(scaled(X).mean((0, 1, 2))).max() < 1e-5
    assert scaled(X[:, :2]).shape == (20, 2, 5, 3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nx.Standardizer.fit(np.zeros(3)), r"X has shape \(3,\); expected are finite examples \(N, ...\)"),
        (lambda: nx.Standardizer.fit(np.zeros((0, 3))), r"shape \(0, 3\)"),
        (lambda: nx.Standardizer.fit(np.full((2, 3), np.nan)), "finite"),
        (
            lambda: nx.Standardizer.fit(np.zeros((2, 3)))(np.zeros((2, 4))),
            r"shape \(2, 4\); it was fitted to \(N, ..., 3\)",
        ),
    ],
)
def test_standardizing_what_does_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call()
