"""A run folder is what was saved, whole, by one writer at a time."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import optax
import pytest
from safetensors.numpy import load_file, save
from trainers import blobs, small

from numerics import files
from numerics.errors import NumericsError
from numerics.training import saving
from numerics.training.loading import load
from numerics.training.lock import locked


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    t = small()
    t.fit(*blobs(), batch_size=8, epochs=1, verbose=False, checkpoint=folder)
    return folder


def edited(folder, change, sign=True):
    """The index after a change, with a checksum that fits, as somebody could write who knows how."""
    described = json.loads((folder / "trainer.json").read_text())
    change(described)
    if sign:
        described["checksum"] = saving.checksum(described)
    (folder / "trainer.json").write_text(json.dumps(described))


def refused(folder, match):
    with pytest.raises(NumericsError, match=match):
        load(folder, optax.adam(1e-2))
    with pytest.raises(NumericsError, match=match):
        small().fit(*blobs(), batch_size=8, epochs=2, verbose=False, checkpoint=folder, resume=True)


def test_an_edited_index_is_refused_however_it_is_laid_out(run):
    edited(run, lambda d: None, sign=False)
    assert load(run, optax.adam(1e-2)).epoch == 1, "only the layout differs"
    edited(run, lambda d: d.update(epoch=7), sign=False)
    refused(run, "trainer.json: its content is not what was saved")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' * 50_000, "\x00", "nan", '"' + "x" * 10])
def test_what_is_no_index_is_refused(run, text):
    (run / "trainer.json").write_text(text)
    refused(run, "trainer.json")


WRONG = [None, -1, 1.5, True, "x", [], ["x"], {}, {"x": "y"}, [[]], [{"loss": "low"}], "../../etc/passwd", {"done": 1}]


@pytest.mark.parametrize("field", sorted(saving.FIELDS))
def test_every_field_is_checked(run, field):
    right = json.loads((run / "trainer.json").read_text())
    for value in WRONG:
        if saving.FIELDS[field][0](value):
            continue
        edited(run, lambda d, value=value: d.update({field: value}))
        with pytest.raises(NumericsError, match=f"trainer.json: {field} is .*; expected is"):
            load(run, optax.adam(1e-2))
    if field not in saving.OPTIONAL:
        edited(run, lambda d: d.pop(field))
        with pytest.raises(NumericsError, match=f"{field} is missing"):
            load(run, optax.adam(1e-2))
    (run / "trainer.json").write_text(json.dumps(right))
    load(run, optax.adam(1e-2))


@pytest.mark.parametrize(
    "spoil", [lambda a: a.astype(np.float64), lambda a: a.astype(np.int32), lambda a: a[None], lambda a: a[:0]]
)
@pytest.mark.parametrize("group", ["params/", "optimizer/"])
def test_arrays_of_another_dtype_or_shape_are_refused(run, group, spoil):
    path = next(run.glob("arrays-*"))
    arrays = load_file(path)
    name = next(n for n in sorted(arrays) if n.startswith(group) and arrays[n].ndim)
    raw = save({**arrays, name: np.ascontiguousarray(spoil(arrays[name]))})
    path.write_bytes(raw)
    import hashlib

    edited(run, lambda d: d.update(sha256=hashlib.sha256(raw).hexdigest()))
    refused(run, "expected")


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    with locked(tmp_path / "run"):
        with pytest.raises(NumericsError, match="another run is writing to this folder"):
            small().save(tmp_path / "run")
        with pytest.raises(NumericsError, match="another run is writing to this folder"):
            small().fit(*blobs(), batch_size=8, verbose=False, checkpoint=tmp_path / "run")
    small().save(tmp_path / "run")
    assert load(tmp_path / "run", optax.adam(1e-2)).epoch == 0
    with pytest.raises(NumericsError, match="cannot be made a folder"):
        small().save(tmp_path / "run" / "program.py")


def test_the_lock_ends_with_the_process_that_holds_it(tmp_path):
    script = f"""
        import os
        from pathlib import Path
        from numerics.training.lock import locked
        with locked(Path({str(tmp_path)!r})):
            print("held", flush=True)
            os.read(0, 1)
            os.abort()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(NumericsError, match="another run"):
            small().save(tmp_path)
        holder.stdin.write("x")
        holder.stdin.close()
        holder.wait(60)
    small().save(tmp_path)


def test_a_failed_save_leaves_nothing_behind_and_says_what_stays(tmp_path, monkeypatch):
    t = small()
    t.save(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    t.fit(*blobs(), batch_size=8, epochs=1, verbose=False)
    write = files.write

    def full(path, raw):
        if path.name == "trainer.json":
            raise OSError(28, "No space left on device")
        return write(path, raw)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(NumericsError, match="No space left on device; what was saved before stays as it was"):
        t.save(tmp_path)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert load(tmp_path, optax.adam(1e-2)).epoch == 0
