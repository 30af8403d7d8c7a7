"""Torch's rows beside the image layers: measured only after its gradients were seen to be the same."""

from dataclasses import replace

import pytest

from benchmarks import images, images_torch

BY_NAME = {case.name: case for case in images.CASES}


def test_every_image_layer_has_its_eager_forward():
    assert all(case.torch is not None for case in images.CASES)


def test_torch_stands_beside_in_the_same_run():
    pytest.importorskip("torch")
    rows = images.one_case(BY_NAME["max pool 3/2"], 2, 1)
    beside = [row for row in rows if row.measure == "step time, torch eager"]
    assert len(beside) == 1 and beside[0].ratio > 0 and beside[0].values["torch_s"] > 0
    assert beside[0].verdict == ""  # shown, held to nothing


def test_another_function_in_torch_is_refused():
    pytest.importorskip("torch")
    case = replace(BY_NAME["batch norm"], torch=lambda p, x: 1.01 * images_torch.batch_norm(p, x))
    with pytest.raises(ValueError, match="torch computes another gradient: its norm is"):
        images.one_case(case, 2, 1)


def test_without_torch_there_are_no_rows_of_it(monkeypatch):
    monkeypatch.setattr(images_torch, "torch", None)
    rows = images.one_case(BY_NAME["max pool 2/2"], 2, 1)
    assert [row.measure for row in rows][0] == "step time"
    assert not any("torch" in row.measure for row in rows)
