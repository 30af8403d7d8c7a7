"""A folder of pages for one model: what was written, what was derived from it, the program, and the evidence."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template

from derive.derivation import Derivation
from derive.errors import DerivationError
from derive.examples import Model

from .kernel import Kernel, compile
from .verify import verify

_PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.55 Georgia, "Times New Roman", serif;
       color: #1b1b1b; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
pre { background: #f6f6f4; border: 1px solid #e4e4e0; border-radius: 4px; padding: .8rem 1rem; overflow-x: auto;
      font: .82rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
.ok { color: #1a6b2f; } .wrong { color: #a11; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #181818; } pre { background: #222; border-color: #333; } a { color: #8ab4f8; }
  .ok { color: #7fd492; } .wrong { color: #ff8a80; } }
</style></head><body>
<h1>$title</h1>
<p>$summary</p>
<p class="$verdict_class">$verdict</p>
<h2>The model</h2>
<pre>$model</pre>
<h2>The derivation</h2>
<p><a href="derivation.html">Every step</a>, with the reasons; as <a href="derivation.tex">LaTeX</a> to put into a
paper, as <a href="derivation.txt">text</a>. The equations it ends in:</p>
<pre>$equations</pre>
<h2>The program</h2>
<p><a href="$module">$module</a> runs where only JAX is installed; each line carries the number of its equation.</p>
<pre>$source</pre>
<h2>The evidence</h2>
<p>Also as <a href="evidence.json">JSON</a>.</p>
<pre>$report</pre>
<details><summary>$exact_head</summary>
<pre>$exact</pre>
</details>
</body></html>
""")


def write_pages(model: Model, folder: Path, seed: int = 0) -> bool:
    """Derive, compile, check and write everything about a model from the text language; returns whether it holds."""
    derivation = model.backprop()
    return write_folder(derivation, compile(derivation), folder, title=model.name, text=model.text, seed=seed)


def write_folder(derivation: Derivation, kernel: Kernel, folder: Path, title: str, text: str, seed: int = 0) -> bool:
    """Write ``index.html`` and the files it links: derivation (HTML, LaTeX, text), module, evidence.

    Parameters
    ----------
    derivation, kernel
        What the pages are about.
    folder : Path
        Made if missing; files of an earlier run are replaced.
    title, text : str
        The heading, and the model as its author wrote it.
    seed : int
        Of the checks.

    Returns
    -------
    bool
        Whether the exact check and the numeric checks accept the program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    exact, found = exact_check(derivation, seed)
    report = verify(kernel, seed=seed)
    ok = found["ok"] and report.ok
    module = f"{title}.py"
    kernel.save(folder / module)
    files = {
        "derivation.html": derivation.to_html(),
        "derivation.tex": derivation.to_latex(),
        "derivation.txt": derivation.to_text(),
        "evidence.json": json.dumps({"ok": ok, "exact": found, "verify": report.as_dict()}, indent=1),
        "evidence.txt": f"{exact}\n\n{report}",
        "index.html": _PAGE.substitute(
            title=escape(title),
            summary=escape(summary(derivation)),
            verdict="Checked: every rewrite and the compiled program." if ok else "NOT verified: see the evidence.",
            verdict_class="ok" if ok else "wrong",
            model=escape(text.strip()),
            equations=escape("\n".join(f"({e.number})  {e}" for e in derivation.program)),
            module=escape(module, quote=True),
            source=escape(kernel.source),
            exact_head=escape(exact.splitlines()[0]),
            exact=escape(exact),
            report=escape(str(report)),
        ),
    }
    for name, content in files.items():
        (folder / name).write_text(content if content.endswith("\n") else content + "\n", encoding="utf-8")
    return ok


def exact_check(derivation: Derivation, seed: int = 0) -> tuple[str, dict]:
    """The exact check as text and as plain data with an entry ``ok``; a refutation is told, not raised."""
    try:
        found = derivation.check(seed=seed)
    except DerivationError as refuted:
        return f"refuted: {refuted}", {"ok": False, "refuted": str(refuted)}
    return str(found), found.to_json()


def brief(exact: str) -> str:
    """The first line of an exact check, and the lines that are not proofs."""
    head, *rows = exact.splitlines()
    return "\n".join([head, *(r for r in rows if "  proved  " not in r)])


def summary(derivation: Derivation) -> str:
    """One line: what was differentiated by what, and how many equations it took."""
    by = ", ".join(t.name for t in derivation.wrt)
    forward, total = len(derivation.source), len(derivation.program)
    return (
        f"The gradients of {derivation.loss.name} by {by}, derived from {forward} forward definitions in "
        f"{len(derivation.steps)} steps; {total} equations in all."
    )
