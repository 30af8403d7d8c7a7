"""The switch of the allocator: in force on glibc, nothing elsewhere, and a warning that says so."""

import subprocess
import sys

import pytest

import numerics as nx
from numerics.kernel import allocator

CODE = """
import resource, numpy as np, numerics as nx
{first}
for n in range(4):
    a = np.ones(12_000_000)  # 96 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del a
    b = np.ones(12_000_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    del b
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="no glibc")
def test_freed_memory_stays_in_the_process():
    def faults(first):
        text = subprocess.run(
            [sys.executable, "-c", CODE.format(first=first)], check=True, capture_output=True, text=True
        )
        return max(int(line) for line in text.stdout.split())

    assert faults("assert nx.pin_allocator() and nx.pin_allocator()") * 4 < faults("")


def test_elsewhere_nothing_is_changed_and_it_says_so(monkeypatch):
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    monkeypatch.setattr(allocator, "_PINNED", [])
    with pytest.warns(UserWarning, match="not glibc; nothing is changed"):
        assert nx.pin_allocator() is False
    assert not allocator.pinned()
