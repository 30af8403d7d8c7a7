"""docs/extending.md runs as it stands, and what its comments say is what is printed."""

import re

import pytest


@pytest.fixture
def page(root):
    return (root / "docs" / "extending.md").read_text()


def test_the_page_runs_and_prints_what_it_says(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 9
    names: dict = {"__name__": "extending"}
    for block in blocks:
        exec(compile(block, "docs/extending.md", "exec"), names)
    out = capsys.readouterr().out
    said = re.findall(r"^print\(.*\)\s+# (.*)$", page, re.MULTILINE)
    assert len(said) >= 2
    for line in said:
        assert line in out, line
    assert "d_gated_1_gate[i,j] = " in out
