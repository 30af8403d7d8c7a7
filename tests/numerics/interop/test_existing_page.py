"""docs/existing.md runs as it stands, and prints what it says."""

import contextlib
import importlib.util
import io
import re

from derive.language.errors import DeriveError


def test_the_page(root, tmp_path):
    page = (root / "docs" / "existing.md").read_text("utf-8")
    names: dict = {}
    for n, (code, said) in enumerate(re.findall(r"```python\n(.*?)```\s*(?:```text\n(.*?)```)?", page, re.S)):
        if "import torch" in code and importlib.util.find_spec("torch") is None:
            break  # the section on its modules is the last
        (tmp_path / str(n)).mkdir()
        file = tmp_path / str(n) / "model.py"  # names are read from the lines of a file
        file.write_text(code, "utf-8")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                exec(compile(code, str(file), "exec"), names)
            except DeriveError as error:
                print(f"{type(error).__name__}: {error}")
        assert out.getvalue().split() == said.split()


def test_the_table_has_every_primitive(root):
    import numerics.interop.model  # noqa: F401  the rows enter the table
    from numerics.interop.table import REASONS, known

    page = (root / "docs" / "existing.md").read_text("utf-8")
    assert not [n for n in (*known(), *REASONS) if f"`{n}`" not in page]
