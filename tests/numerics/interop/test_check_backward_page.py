"""docs/check_backward.md runs as it stands, and prints what it says."""

import contextlib
import io
import linecache
import re

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.slow  # four kinds of backward passes, each twice


def test_the_page(root, tmp_path):
    page = (root / "docs" / "check_backward.md").read_text("utf-8")
    names: dict = {"__name__": "kernels"}
    file = tmp_path / "kernels.py"
    code, wrong = "", {}
    for block, said in re.findall(r"```python\n(.*?)```\s*(?:```text\n(.*?)```)?", page, re.S):
        padding = "\n" * code.count("\n")  # one file, as a reader has it
        code += block
        file.write_text(code, "utf-8")
        linecache.checkcache()
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(padding + block, str(file), "exec"), names)
        if _shown(out.getvalue()) != _shown(said):
            wrong[block[:60]] = out.getvalue()
    assert not wrong, "\n\n".join(wrong.values())


def _shown(text):
    """A text without the figures of rounding."""
    return re.sub(r"\d\.\de-1\d", "0", text).split()
