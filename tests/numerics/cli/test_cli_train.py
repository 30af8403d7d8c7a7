"""``derive train``: data sets, networks, checkpoints, logs, JSON; what is wrong is told with code 2."""

import gzip
import json
import struct

import numpy as np
import pytest

import numerics as nx
from numerics.cli import run

QUICK = ["--epochs", "2", "--hidden", "16", "--no-pages"]


def told(arguments, capsys):
    """Exit code and what was written to either stream."""
    code = run(["train", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def as_json(arguments, capsys):
    code, out, _ = told([*arguments, "--json"], capsys)
    return code, json.loads(out)


def flowers(path, n=60):
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'rose' if a > b else 'lily'}" for a, b in rng.normal(size=(n, 2))]
    path.write_text("length,width,species\n" + "\n".join(rows) + "\n")
    return path


def test_digits_as_json_with_a_log_and_checkpoints(tmp_path, capsys):
    out = tmp_path / "run"
    code, found = as_json(["digits", *QUICK, "-o", out, "--log", out / "log.jsonl"], capsys)
    assert code == 0 and found["ok"] is None and found["epochs"] == 2 and found["parameters"] == 64 * 16 + 16 + 170
    assert 0.2 < found["test"]["accuracy"] <= 1
    assert len(found["history"]["loss"]) == len(found["history"]["val_loss"]) == 2
    assert {"trainer.json", "training.png", "confusion.png", "log.jsonl", "program.py"} <= set(found["files"])
    assert nx.read_log(out / "log.jsonl")["loss"] == pytest.approx(found["history"]["loss"])


@pytest.mark.slow
def test_a_resumed_run_is_the_one_that_was_never_interrupted(tmp_path, capsys):
    _, whole = as_json(["digits", *QUICK, "--epochs", "3", "-o", tmp_path / "a"], capsys)
    log = ["--log", tmp_path / "b.tsv"]
    as_json(["digits", *QUICK, "--epochs", "2", "-o", tmp_path / "b", *log], capsys)
    code, found = as_json(["digits", *QUICK, "--epochs", "3", "-o", tmp_path / "b", "--resume", *log], capsys)
    assert code == 0 and found["epochs"] == 3
    assert found["history"]["loss"] == whole["history"]["loss"] and found["test"] == whole["test"]
    assert nx.read_log(tmp_path / "b.tsv")["loss"] == pytest.approx(whole["history"]["loss"])


@pytest.mark.slow
def test_another_run_in_the_folder_is_kept_unless_asked(tmp_path, capsys):
    out = tmp_path / "run"
    assert told(["digits", *QUICK, "-o", out], capsys)[0] == 0
    code, _, err = told(["digits", *QUICK, "-o", out], capsys)
    assert code == 2 and "holds another run; --resume goes on with it, --overwrite begins anew" in err
    assert told(["digits", *QUICK, "-o", out, "--overwrite", "--seed", "1"], capsys)[0] == 0
    code, _, err = told(["digits", *QUICK, "--resume", "-o", tmp_path / "nowhere"], capsys)
    assert code == 2 and "holds no run" in err
    code, _, err = told(["digits", *QUICK, "--hidden", "17", "-o", out, "--resume"], capsys)
    assert code == 2 and "16" in err and "17" in err


@pytest.mark.slow
def test_a_convolutional_network_that_is_moved_and_stopped_early(tmp_path, capsys):
    code, out, _ = told(
        [
            "digits",
            "--model",
            "cnn",
            "--epochs",
            "1",
            "--shift",
            "1",
            "--patience",
            "1",
            "--no-pages",
            "-o",
            tmp_path / "run",
        ],
        capsys,
    )
    assert code == 0 and "conv2d_1" in out
    assert out.strip().splitlines()[-1].startswith("test accuracy: 0.")


@pytest.mark.slow
def test_csv_columns_of_text_are_classes_and_of_numbers_are_values(tmp_path, capsys):
    path = flowers(tmp_path / "flowers.csv")
    code, found = as_json(
        [
            "--data",
            "csv",
            "--data-dir",
            path,
            "--target",
            "species",
            "--epochs",
            "20",
            "--no-pages",
            "--model",
            "linear",
            "--learning-rate",
            "0.1",
            "-o",
            tmp_path / "a",
        ],
        capsys,
    )
    assert code == 0 and found["test"]["accuracy"] > 0.7 and found["parameters"] == 2 * 2 + 2
    rows = path.read_text().replace("rose", "1.5").replace("lily", "-0.5")
    path.write_text(rows)
    code, found = as_json(["csv", "--data-dir", path, *QUICK, "-o", tmp_path / "b"], capsys)
    assert code == 0 and {"mae", "r2"} <= set(found["test"])


@pytest.mark.slow
def test_arrays_and_image_folders(tmp_path, capsys):
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 2, 40)
    X = (rng.random((40, 6, 6, 1)) * 0.2 + Y[:, None, None, None] * 0.7).astype(np.float32)
    np.savez(tmp_path / "a.npz", X=X, Y=Y)
    code, found = as_json(
        [
            "npz",
            "--data-dir",
            tmp_path / "a.npz",
            "--epochs",
            "2",
            "--no-pages",
            "--model",
            "cnn",
            "-o",
            tmp_path / "a",
        ],
        capsys,
    )
    assert code == 0 and found["data"] == "a"
    image = pytest.importorskip("PIL.Image")
    for n, (x, y) in enumerate(zip(X, Y, strict=True)):
        folder = tmp_path / "images" / f"class{y}"
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray((x[..., 0] * 255).astype(np.uint8)).save(folder / f"{n}.png")
    code, found = as_json(["images", "--data-dir", tmp_path / "images", *QUICK, "-o", tmp_path / "b"], capsys)
    assert code == 0 and found["parameters"] == 36 * 16 + 16 + 34


def test_mnist_files_are_read_and_checked(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for part, n in (("train", 64), ("t10k", 32)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        header = struct.pack(">HBB3I", 0, 8, 3, *images.shape)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        labels = (np.arange(n) % 10).astype(np.uint8)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, n) + labels.tobytes())
    code, found = as_json(["--data", "mnist", "--data-dir", tmp_path, *QUICK, "-o", tmp_path / "run"], capsys)
    assert code == 0 and found["parameters"] == 784 * 16 + 16 + 170
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-3])
    code, _, err = told(["mnist", "--data-dir", tmp_path, *QUICK, "-o", tmp_path / "other"], capsys)
    assert code == 2 and "truncated" in err and "t10k-labels" in err


@pytest.mark.slow
def test_a_network_of_one_s_own(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "import derive as dv\nfrom derive import layers as L\n"
        "def build():\n    return dv.Sequential([L.Flatten(), L.Dense(10)], input_shape=(8, 8, 1), name='mine')\n"
    )
    out = tmp_path / "run"
    code, found = as_json(
        ["digits", "--model", f"{tmp_path / 'net.py'}:build", "--epochs", "1", "--no-pages", "-o", out], capsys
    )
    assert code == 0 and found["model"] == "mine"
    code, again = as_json(["digits", "--model", out, "--epochs", "1", "--no-pages", "-o", tmp_path / "b"], capsys)
    assert code == 0 and again["test"] == found["test"], "the network that a folder holds"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["letters"], "the data sets are: digits, mnist, csv, npz, images"),
        (["digit"], "did you mean 'digits'?"),
        (["mnist"], "--data-dir says where it is: the folder of the four IDX files"),
        (["digits", "--data", "mnist"], "name one data set"),
        (["digits", "--model", "mpl"], "did you mean 'mlp'?"),
        (["digits", "--model", "lenet5"], "an example has shape (64,), and the network reads (28, 28, 1)"),
        (["digits", "--hidden", "a,b"], "whole numbers parted by commas"),
        (["digits", "--hidden", "0"], "at least one unit"),
        (["digits", "--model", "cnn", "--hidden", "8"], "--hidden is for --model mlp or lstm"),
        (["digits", "--target", "species"], "--target is for --data csv"),
        (["digits", "--optimizer", "adan"], "did you mean 'adam'?"),
        (["digits", "--loss", "mse_loss", "--no-pages"], "mse_loss"),
        (["digits", "--log", "log.csv", "--no-pages"], "accepted are .jsonl and .tsv"),
        (["csv", "--data-dir", "nowhere.csv"], "nowhere.csv"),
        (["csv", "--data-dir", "nowhere.csv", "--model", "cnn"], "nowhere.csv"),
    ],
)
def test_what_is_wrong_is_told(arguments, says, tmp_path, capsys):
    code, _, err = told([*arguments, "-o", tmp_path / "run"], capsys)
    assert code == 2 and says in err
    code, out, _ = told([*arguments, "-o", tmp_path / "run", "--json"], capsys)
    assert code == 2
    assert says in json.loads(out)["error"]["message"]


def test_a_program_that_the_checks_refuse_is_code_1(tmp_path, capsys, monkeypatch):
    import numerics.cli.runs

    monkeypatch.setattr(numerics.cli.runs, "_checked", lambda run, trainer, pictures: False)
    code, _, err = told(["digits", "--epochs", "1", "--hidden", "4", "-o", tmp_path / "run"], capsys)
    assert code == 1 and "the checks refused the program" in err
