"""Logs of epochs: what stands in them, when, and how a resumed fit goes on."""

import json
from types import SimpleNamespace

import pytest

from numerics.errors import InputError
from numerics.pages.plots import curves
from numerics.training.log import Log, read_log


def run(log, rows, start=0):
    """The calls that a fit makes."""
    trainer = SimpleNamespace(epoch=start)
    log.on_fit_begin(trainer, {})
    for row in rows:
        trainer.epoch += 1
        log.on_epoch_end(trainer, row)


@pytest.mark.parametrize("suffix", ["jsonl", "tsv"])
def test_a_line_an_epoch_is_written_at_once_and_read_back(suffix, tmp_path):
    path = tmp_path / "deep" / f"log.{suffix}"
    log, trainer = Log(path), SimpleNamespace(epoch=0)
    log.on_fit_begin(trainer, {})
    for epoch, loss in ((1, 0.5), (2, 0.25)):
        trainer.epoch = epoch
        log.on_epoch_end(trainer, {"loss": loss, "val_loss": 2 * loss, "seconds": 0.1})
        assert read_log(path)["epoch"] == list(range(1, epoch + 1)), "flushed after the epoch"
    assert read_log(path) == {"epoch": [1, 2], "loss": [0.5, 0.25], "val_loss": [1.0, 0.5], "seconds": [0.1, 0.1]}
    assert len(curves(read_log(path)).axes) == 1


def test_the_text_of_both_formats(tmp_path):
    run(Log(tmp_path / "log.jsonl"), [{"loss": 0.5, "accuracy": 1.0}])
    assert (tmp_path / "log.jsonl").read_text() == '{"epoch": 1, "loss": 0.5, "accuracy": 1.0}\n'
    run(Log(tmp_path / "log.tsv"), [{"loss": 0.5, "accuracy": 1.0}])
    assert (tmp_path / "log.tsv").read_text() == "epoch\tloss\taccuracy\n1\t0.5\t1.0\n"


@pytest.mark.parametrize("suffix", ["jsonl", "tsv"])
def test_a_resumed_fit_goes_on_where_its_trainer_is(suffix, tmp_path):
    path = tmp_path / f"log.{suffix}"
    run(Log(path), [{"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0}])
    with path.open("a") as f:
        f.write('{"epoch": 4, "lo' if suffix == "jsonl" else "4\t0.")  # cut off by a kill
    run(Log(path), [{"loss": 1.5, "val_loss": 1.6}], start=2)  # the checkpoint was of epoch 2
    assert read_log(path)["loss"] == [3.0, 2.0, 1.5]
    assert read_log(path)["epoch"] == [1, 2, 3]
    assert read_log(path)["val_loss"] == [None, None, 1.6]
    run(Log(path), [{"loss": 9.0}])
    assert read_log(path) == {"epoch": [1], "loss": [9.0]}, "a new run begins a new file"


def test_what_is_not_finite_is_null(tmp_path):
    run(Log(tmp_path / "log.jsonl"), [{"loss": float("nan")}])
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"epoch": 1, "loss": None}


def test_what_is_no_log_is_told(tmp_path):
    with pytest.raises(InputError, match=r"ends in '.csv'; accepted are .jsonl and .tsv"):
        Log(tmp_path / "log.csv")
    with pytest.raises(InputError, match="there is no file"):
        read_log(tmp_path / "log.tsv")
    (tmp_path / "a.jsonl").write_text('{"epoch": 1}\nnonsense\n')
    with pytest.raises(InputError, match="a.jsonl, line 2: not JSON"):
        read_log(tmp_path / "a.jsonl")
    (tmp_path / "b.tsv").write_text("epoch\tloss\n1\t2\t3\n")
    with pytest.raises(InputError, match="b.tsv, line 2: 3 cells, but the header names 2"):
        read_log(tmp_path / "b.tsv")
    (tmp_path / "c.tsv").write_text("name\nword\n")
    with pytest.raises(InputError, match="line 2: 'word' holds something that is no number"):
        read_log(tmp_path / "c.tsv")
