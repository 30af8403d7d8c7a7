"""The rows of the attention family: the same loss three times over, and nothing is timed where one differs."""

from dataclasses import replace

import pytest

from benchmarks import attention, attention_torch

FAMILY = ("attention", "block", "GPT", "LM head", "cross", "rotary", "grouped", "patches", "InfoNCE", "word2vec", "CTC")


def test_every_member_of_the_family_has_its_row():
    assert all(any(member in name for name in attention.CASES) for member in (*FAMILY, "factorization"))


@pytest.mark.parametrize("name", ["word2vec", "factorization machine", "CTC"])
def test_the_rows_of_a_case(name):
    rows = attention.measure(True, name)
    assert rows[0].measure == "step time" and rows[0].floor == 0.95 and rows[0].values["error"] < 1e-5
    assert all(row.ratio > 0 for row in rows)


def test_another_forward_is_refused():
    work = attention.CASES["word2vec"](True)
    other = replace(work, forward=lambda a: 1.01 * work.forward(a))
    with pytest.raises(ValueError, match="word2vec: the gradients differ from autodiff by .*; nothing was timed"):
        attention.compare("word2vec", other, 1)


def test_another_function_in_torch_is_refused():
    pytest.importorskip("torch")
    work = attention.CASES["factorization machine"](True)
    other = replace(work, torch=lambda a: 1.01 * work.torch(a))
    with pytest.raises(ValueError, match="torch computes other gradients"):
        attention.compare("factorization machine", other, 1)


def test_without_torch_there_are_no_rows_of_it(monkeypatch):
    monkeypatch.setattr(attention_torch, "torch", None)
    assert not any("torch" in row.measure for row in attention.measure(True, "word2vec"))
