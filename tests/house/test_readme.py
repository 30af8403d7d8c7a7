"""The code on the front page runs, in order, as a reader would type it."""

import re

import pytest


def section(root, name: str) -> str:
    text = (root / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->(.*?)<!-- /{name} -->", text, re.DOTALL)
    assert found, f"README.md has no section {name!r}"
    return found.group(1)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_quick_start_runs(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks(section(root, "quickstart"), "python")
    assert len(code) >= 5
    names = {"__name__": "quickstart"}
    for n, block in enumerate(code):
        exec(compile(block, f"README.md, block {n + 1}", "exec"), names)
    printed = capsys.readouterr().out
    assert "dW[i,k] = sum_b x[b,i] dz[b,k]" in printed
    assert "1/B" in printed, "the crosscheck names the missing factor"


def squeezed(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


def test_what_the_pitch_shows_is_what_comes_out(root):
    import numerics as nx
    from derive.networks.examples import load

    model = load("softmax_regression")
    derivation = model.backprop()
    written, derived, emitted = map(squeezed, blocks(section(root, "pitch"), ""))
    assert len(written) == len(derived) == len(emitted) == 3
    assert set(written) <= set(squeezed(model.text))
    assert set(derived) <= {str(equation) for equation in derivation.program}
    assert set(emitted) <= set(squeezed(nx.compile(derivation).source))


def commands(root) -> list[str]:
    text = (root / "README.md").read_text(encoding="utf-8")
    return [line for block in blocks(text, "bash") for line in block.splitlines() if line.startswith("derive ")]


def test_the_commands_shown_are_commands(root, capsys):
    from numerics.cli import run

    shown = {line.split()[1] for line in commands(root)}
    assert shown == {"show", "emit", "check", "train", "docs"}
    for line in commands(root):
        name, *words = line.split("#")[0].split()[1:]
        assert run([name, "--help"]) == 0
        page = capsys.readouterr().out
        assert all(word in page for word in words if word.startswith("--")), line


def test_every_make_target_shown_exists(root):
    made = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"\bmake ([a-z]+)\b", (root / "README.md").read_text(encoding="utf-8")))
    assert {"demo", "test", "docs", "bench", "check"} <= shown
    assert shown <= made


@pytest.mark.parametrize("path", ["docs", "."])
def test_links_between_pages_lead_somewhere(root, path):
    pages = sorted((root / path).glob("*.md"))
    assert pages
    for page in pages:
        text = re.sub(r"^(`{3,}).*?^\1$|`[^`]+`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#:\s]+)\)", text):
            if not target.startswith("generated/"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
