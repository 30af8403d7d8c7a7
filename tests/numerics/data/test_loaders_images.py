"""Folders of images, a class for each subfolder; and augmentation."""

import numpy as np
import pytest

import numerics as nx
from numerics.errors import InputError

Image = pytest.importorskip("PIL.Image")


def picture(path, shape=(4, 5), mode="L", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    found = np.random.default_rng(seed).integers(0, 256, (*shape, *depth), dtype=np.uint8)
    Image.fromarray(found).save(path)
    return found


@pytest.fixture
def folder(tmp_path):
    picture(tmp_path / "dog" / "1.png", seed=1)
    picture(tmp_path / "cat" / "b.png", seed=2)
    picture(tmp_path / "cat" / "a.png", seed=3)
    (tmp_path / "cat" / ".hidden").write_text("no image")
    return tmp_path


def test_a_folder(folder):
    X, Y, names, classes = nx.load_images(folder)
    assert X.shape == (3, 4, 5, 1) and X.dtype == np.float32 and Y.tolist() == [0, 0, 1] and Y.dtype == np.int32
    assert names == ("cat/a.png", "cat/b.png", "dog/1.png") and classes == ("cat", "dog")
    with Image.open(folder / "dog" / "1.png") as image:
        assert np.array_equal(X[2, ..., 0], np.asarray(image, np.float32) / np.float32(255))


def test_colours_and_sizes(folder):
    wanted = picture(folder / "dog" / "2.png", (4, 5), "RGB", seed=4)
    X = nx.load_images(folder, channels=3).X
    assert X.shape == (4, 4, 5, 3) and np.array_equal(X[3], wanted / np.float32(255))
    assert np.array_equal(X[0, ..., 0], X[0, ..., 2])
    assert nx.load_images(folder, size=(2, 3)).X.shape == (4, 2, 3, 1)
    assert nx.load_images(folder).X.shape[-1] == 1  # as the first is


def test_deep_grey_images(folder):
    deep = np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000
    Image.fromarray(deep).save(folder / "dog" / "2.png")
    assert nx.load_images(folder).X[3, ..., 0] == pytest.approx(deep / 65535, rel=1e-6)


def test_an_odd_size_is_named_and_skipped_on_request(folder):
    picture(folder / "dog" / "2.png", (4, 6))
    with pytest.raises(
        InputError, match=r"dog/2.png: 4 x 6 pixels, but cat/a.png has 4 x 5; give size=.height, width. to"
    ):
        nx.load_images(folder)
    with pytest.warns(UserWarning, match=r"1 files left out: .*dog/2.png: 4 x 6"):
        found = nx.load_images(folder, skip=True)
    assert found.names == ("cat/a.png", "cat/b.png", "dog/1.png")
    assert nx.load_images(folder, size=(4, 5)).X.shape == (4, 4, 5, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:50]),
        lambda path: path.write_bytes(path.read_bytes()[:-400]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no image"),
    ],
)
def test_a_corrupt_file_is_named_and_skipped_on_request(folder, spoil):
    picture(folder / "cat" / "b.png", (40, 50))
    picture(folder / "cat" / "a.png", (40, 50))
    picture(folder / "dog" / "1.png", (40, 50))
    spoil(folder / "cat" / "b.png")
    with pytest.raises(InputError, match="cat/b.png: cannot be read as an image: .*skip=True leaves such files out"):
        nx.load_images(folder)
    with pytest.warns(UserWarning, match="cat/b.png"):
        assert nx.load_images(folder, skip=True).Y.tolist() == [0, 1]


def test_folders_that_are_none(tmp_path):
    with pytest.raises(
        InputError, match="gone: no such folder; expected is a folder with a subfolder of images for each"
    ):
        nx.load_images(tmp_path / "gone")
    with pytest.raises(InputError, match="no subfolders"):
        nx.load_images(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="no images in cat"):
        nx.load_images(tmp_path)


def test_shifts_move_by_whole_pixels_and_fill_with_zero():
    x = np.arange(1.0, 13).reshape(1, 3, 4, 1).repeat(200, 0)
    out = nx.Augment(shift=(1, 2))(x, np.random.default_rng(0))
    seen = set()
    for image in out[..., 0]:
        places = [
            (p, q) for p in (-1, 0, 1) for q in (-2, -1, 0, 1, 2) if np.array_equal(image, moved(x[0, ..., 0], p, q))
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 15


def moved(x, down, right):
    out = np.zeros_like(x)
    h, w = x.shape
    out[max(down, 0) : h + min(down, 0), max(right, 0) : w + min(right, 0)] = x[
        max(-down, 0) : h + min(-down, 0), max(-right, 0) : w + min(-right, 0)
    ]
    return out


def test_flips_are_half_and_the_seed_decides():
    x = np.random.default_rng(1).normal(size=(300, 3, 4, 2)).astype(np.float32)
    out = nx.Augment(flip=True)(x, np.random.default_rng(5))
    same, mirrored = (out == x).all((1, 2, 3)), (out == x[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all() and 0.4 < mirrored.mean() < 0.6 and out.dtype == np.float32
    assert np.array_equal(out, nx.Augment(flip=True)(x, np.random.default_rng(5)))
    assert np.array_equal(nx.Augment()(x, np.random.default_rng(0)), x)


def test_augmenting_what_does_not_fit():
    with pytest.raises(InputError, match=r"Augment: x has shape \(3, 4\); expected are images"):
        nx.Augment(shift=1)(np.zeros((3, 4)), np.random.default_rng(0))
    for wrong in (-1, 0.5, True, (1, 2, 3)):
        with pytest.raises(InputError, match="accepted is a whole number from 0, or two of them"):
            nx.Augment(shift=wrong)
