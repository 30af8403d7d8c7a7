"""docs/matrices.md runs as it stands, and what its comments say is what is printed."""

import re


def test_the_page_runs_and_prints_what_it_says(root, capsys):
    page = (root / "docs" / "matrices.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 8
    names: dict = {"__name__": "matrices"}
    for block in blocks:
        exec(compile(block, "docs/matrices.md", "exec"), names)
    out = capsys.readouterr().out
    code = "\n".join(blocks)
    said = [*re.findall(r"^print\(.*\)\s+# (.*)$", code, re.MULTILINE), *re.findall(r"^# (.*)$", code, re.MULTILINE)]
    assert len(said) >= 20
    for line in said:
        assert line in out, line
