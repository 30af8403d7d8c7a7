"""Splits and IDX files."""

import gzip
import struct

import numpy as np
import pytest

from numerics.data.examples import digits, load_idx, load_mnist, split
from numerics.errors import InputError


def idx(array, kind=8):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_digits_are_split_with_the_classes_in_proportion():
    (X, Y), (Xt, Yt) = digits(seed=0)
    assert X.shape == (1438, 64)
    assert Xt.shape == (359, 64)
    assert X.dtype == np.float32
    assert Y.dtype == np.int32
    assert X.min() == 0
    assert X.max() == 1
    share = np.bincount(Yt) / np.bincount(np.concatenate([Y, Yt]))
    assert np.all(np.abs(share - 0.2) < 0.01)
    assert not np.array_equal(digits(seed=1)[0][1], Y)
    np.testing.assert_array_equal(digits(seed=0)[0][1], Y)


def test_a_split_keeps_every_example_once_with_its_target():
    X = np.arange(50.0)[:, None]
    (x, y), (xh, yh) = split(X, X[:, 0] * 2, 0.3, seed=4)
    assert sorted(np.concatenate([x, xh]).ravel()) == list(range(50))
    np.testing.assert_array_equal(np.concatenate([x, xh]).ravel() * 2, np.concatenate([y, yh]))
    assert len(xh) == 15


def test_impossible_splits_are_refused():
    with pytest.raises(InputError, match="held_out is 1.5"):
        split(np.zeros((4, 1)), np.zeros(4), 1.5)
    with pytest.raises(InputError, match="leaves one side empty"):
        split(np.zeros((2, 1)), np.zeros(2), 0.1)
    with pytest.raises(InputError, match="X has 4 examples and Y 3"):
        split(np.zeros((4, 1)), np.zeros(3))


@pytest.mark.parametrize("pack", [lambda raw: raw, gzip.compress])
def test_idx_files_are_read_gzipped_or_not(tmp_path, pack):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(pack(idx(array)))
    np.testing.assert_array_equal(load_idx(tmp_path / "a"), array)
    wide = np.array([1, -2, 70000], ">i4")
    (tmp_path / "b").write_bytes(pack(idx(wide, 12)))
    found = load_idx(tmp_path / "b")
    np.testing.assert_array_equal(found, wide)
    assert found.dtype == np.dtype("int32")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not an IDX file: it begins with nothing"),
        (b"\x89PNG....", "it begins with 89 50 4e 47"),
        (b"\0\0\x07\x01", "not an IDX file"),
        (b"\0\0\x08\x03\0\0", "truncated in the header: 6 bytes, 16 expected for rank 3"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"truncated: 17 bytes, but the shape \(2, 3\) of uint8 takes 18"),
        (idx(np.zeros((2, 3), np.uint8)) + b"\0", "too long: 19 bytes"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
    ],
)
def test_files_that_are_not_idx_are_refused(tmp_path, raw, message):
    (tmp_path / "bad").write_bytes(raw)
    with pytest.raises(InputError, match=message):
        load_idx(tmp_path / "bad")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_idx(tmp_path / "none")
    with pytest.raises(InputError, match="has none of train-images-idx3-ubyte"):
        load_mnist(tmp_path)


def test_a_folder_of_mnist_files(tmp_path):
    rng = np.random.default_rng(0)
    for part, n, end in (("train", 6, ".gz"), ("t10k", 4, "")):
        images, labels = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8), np.arange(n, dtype=np.uint8)
        pack = gzip.compress if end else bytes
        (tmp_path / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(idx(labels)))
    (X, Y), (Xt, Yt) = load_mnist(tmp_path)
    assert X.shape == (6, 784)
    assert X.max() <= 1
    assert Yt.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(Xt[0, :3] * 255, images[0, 0, :3], rtol=1e-6)


def mnist(folder, **spoiled):
    """Four small files; ``t10k_images=array`` and so on instead of the right one."""
    for part in ("train", "t10k"):
        for kind, name, shape in (("images", "images-idx3", (4, 2, 3)), ("labels", "labels-idx1", (4,))):
            array = spoiled.get(f"{part}_{kind}", np.zeros(shape, np.uint8))
            (folder / f"{part}-{name}-ubyte").write_bytes(idx(array))
    return folder


@pytest.mark.parametrize(
    "spoiled, message",
    [
        ({"train_labels": np.zeros(5, np.uint8)}, r"train has images \(4, 2, 3\) and labels \(5,\)"),
        ({"train_images": np.zeros((4, 6), np.uint8)}, r"train has images \(4, 6\)"),
        ({"t10k_images": np.zeros((4, 3, 3), np.uint8)}, "images of t10k have 3 x 3 pixels, those of train 6 pixels"),
        ({"t10k_labels": np.array([0, 3, 11, 2], np.uint8)}, "t10k has the label 11 at 2; MNIST has 0 to 9"),
    ],
)
def test_mnist_files_that_do_not_belong_together(tmp_path, spoiled, message):
    assert load_mnist(mnist(tmp_path))[0][0].shape == (4, 6)
    with pytest.raises(InputError, match=message):
        load_mnist(mnist(tmp_path, **spoiled))


def test_a_damaged_gzip_file_is_refused_wherever_it_is_damaged(tmp_path):
    array = np.random.default_rng(0).integers(0, 5, (20, 30), dtype=np.uint8)
    whole = gzip.compress(idx(array))
    path = tmp_path / "a.gz"
    for cut in range(2, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="a.gz: "):
            load_idx(path)
    for at in range(10, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with pytest.raises(InputError, match="a.gz: "):
            load_idx(path)
