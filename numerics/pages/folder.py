"""A folder of pages for one model: what was written, what was derived from it, the program, and the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from derive.derivation.derivation import Derivation
from derive.language.errors import DerivationError
from derive.show.document.blocks import Block, Equations, Heading
from derive.show.document.formulas import Formulas
from derive.show.document.options import Options
from derive.show.document.outline import outline
from derive.show.html import blocks_article
from numerics import files
from numerics.checks.report import Report, shown_error
from numerics.checks.verify import verify
from numerics.kernel.kernel import Kernel

from .frame import cards, page, source, table

DEFINING = ("The network", "What is given", "The definitions")  # sections of the outline


def write_folder(
    derivation: Derivation,
    kernel: Kernel,
    folder: Path,
    title: str,
    text: str,
    seed: int = 0,
    pictures: Sequence[tuple[str, str]] = (),
) -> bool:
    """Write the pages (overview, definitions, derivation, source, evidence) and what they link.

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
    pictures : sequence of (file, caption)
        Shown on the overview; the files are put into the folder by whoever asks.

    Returns
    -------
    bool
        Whether the exact check and the numeric checks accept the program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    exact, found = exact_check(derivation, seed)
    report = verify(kernel, seed=seed)
    ok = bool(found["ok"] and report.ok)
    module = f"{title}.py"
    kernel.save(folder / module)
    blocks = outline(derivation, Options())
    pages = {
        "index.html": page(title, "index.html", _overview(derivation, title, module, ok, found, pictures)),
        "definitions.html": page(title, "definitions.html", _definitions(derivation, blocks, text)),
        "derivation.html": page(title, "derivation.html", blocks_article(blocks)),
        "source.html": page(title, "source.html", _source(derivation, kernel, module)),
        "evidence.html": page(title, "evidence.html", _evidence(found, report, ok)),
        "derivation.tex": derivation.to_latex(),
        "derivation.md": derivation.to_markdown(),
        "derivation.txt": derivation.to_text(),
        "evidence.json": json.dumps({"ok": ok, "exact": found, "verify": report.as_dict()}, indent=1),
        "evidence.txt": f"{exact}\n\n{report}",
    }
    for name, content in pages.items():
        files.write(folder / name, files.lines(content))
    return ok


def _overview(
    d: Derivation, title: str, module: str, ok: bool, found: Mapping[str, Any], pictures: Sequence[tuple[str, str]]
) -> str:
    f = Formulas(d, Options())
    results = [
        e
        for e in d.program
        if e.name in {t.name for g, v in d.results[1:] if hasattr(v, "values") for t in v.values()} | {d.loss.name}
    ]
    said = "Checked: every rewrite and the compiled program" if ok else "NOT verified: see the evidence"
    shown = "".join(
        f'<figure><img src="{escape(name, quote=True)}" alt="{escape(caption, quote=True)}" '
        f'style="max-width:100%;max-height:26rem"><figcaption>{escape(caption)}</figcaption></figure>'
        for name, caption in pictures
    )
    return "\n".join(
        [
            f"<h1>{escape(title)}</h1>",
            f"<p>{escape(summary(d))}</p>",
            f'<p><span class="verdict {"ok" if ok else "wrong"}">{said}</span></p>',
            cards(
                (
                    ("definitions.html", "Definitions", f"{len(d.source)} equations, as they were written"),
                    ("derivation.html", "Derivation", f"{len(d.steps)} steps, each with its reason"),
                    ("source.html", "Source", "the JAX program, each line with the number of its equation"),
                    (
                        "evidence.html",
                        "Evidence",
                        f"{found.get('proved', 0)} statements proved, and what autodiff says",
                    ),
                )
            ),
            shown,
            "<h2>The result</h2>",
            blocks_article((Equations(tuple(f.line(e) for e in results), boxed=True),)),
            "<h2>To take away</h2>",
            cards(
                (
                    (module, module, "runs where only JAX is installed"),
                    ("derivation.tex", "derivation.tex", "for a paper"),
                    ("derivation.md", "derivation.md", "for a notebook"),
                    ("derivation.txt", "derivation.txt", "for a terminal"),
                    ("evidence.json", "evidence.json", "for other programs"),
                )
            ),
        ]
    )


def _definitions(d: Derivation, blocks: Sequence[Block], text: str) -> str:
    """The sections of the outline that say what was given."""
    kept: list[Block] = [Heading(1, "Definitions")]
    inside = False
    for block in blocks:
        if isinstance(block, Heading) and block.level <= 2:
            inside = block.text in DEFINING
        if inside:
            kept.append(block)
    own = f"<h2>As it was written</h2><pre>{escape(text.strip())}</pre>" if text.strip() else ""
    return blocks_article(kept) + own


def _source(d: Derivation, kernel: Kernel, module: str) -> str:
    rows = [(t.name, "(" + ", ".join(map(str, t.axes)) + ")", t.dtype, t.role) for t in kernel.inputs]
    choices = [(rule, f"({number})" if number else "", why) for rule, number, why in kernel.choices]
    parts = [
        "<h1>Source</h1>",
        f'<p><a href="{escape(module, quote=True)}">{escape(module)}</a> runs where only JAX is '
        "installed. The numbers lead to the derivation of the equation that a line computes.</p>",
        "<h2>Inputs</h2>",
        table(("name", "shape", "type", "role"), rows),
    ]
    if choices:
        parts += ["<h2>Choices made</h2>", table(("what", "equation", "why"), choices)]
    return "\n".join([*parts, "<h2>The module</h2>", source(kernel.source, known={e.number for e in d.program})])


def _evidence(found: Mapping[str, Any], report: Report, ok: bool) -> str:
    parts = [
        "<h1>Evidence</h1>",
        f'<p><span class="verdict {"ok" if ok else "wrong"}">'
        f"{'All checks accept this program' if ok else 'Something was refused'}</span></p>",
        "<h2>The compiled program</h2>",
        f"<p>Independent forward: {escape(report.forward)}. Seed {report.seed}.</p>",
    ]
    for group in dict.fromkeys((f.dtype, f.sizes, f.domain, f.opponent) for f in report.findings):
        dtype, sizes, domain, opponent = group
        mine = [f for f in report.findings if (f.dtype, f.sizes, f.domain, f.opponent) == group]
        columns = {
            "tensor": [f.tensor for f in mine],
            "error": [shown_error(f.error, f.scale) for f in mine],
            "tolerance": ["" if f.tolerance is None else f"{f.tolerance:.1e}" for f in mine],
            "exact": [f.exact for f in mine],
            "Taylor order": [f.order for f in mine],
            "verdict": [f.verdict + (f": {f.note}" if f.note else "") for f in mine],
        }
        columns = {name: cells for name, cells in columns.items() if any(cells)}
        parts += [
            f"<h3>{escape(dtype)}, {escape(opponent)}</h3>",
            f"<p>Sizes {escape(sizes)}; inputs {escape(domain)}.</p>",
            table(tuple(columns), list(zip(*columns.values(), strict=True)), verdict=len(columns) - 1),
        ]
    parts += ["<ul>", *(f"<li>{escape(n)}</li>" for n in (*report.notes, *report.coverage.lines())), "</ul>"]
    parts.append("<h2>The derivation, exactly</h2>")
    if "refuted" in found:
        return "\n".join([*parts, f'<p class="refuted">refuted: {escape(found["refuted"])}</p>'])
    parts.append(
        "<p>Both sides of every statement are evaluated on random values modulo the prime 2<sup>61</sup> − 1, at "
        "several sizes; an identity that fails is refuted for certain.</p>"
    )
    rows = [(r["what"], r["verdict"], r["by"], r["detail"]) for r in found["rows"]]
    return "\n".join([*parts, table(("statement", "verdict", "by", ""), rows, verdict=1)])


def exact_check(derivation: Derivation, seed: int = 0) -> tuple[str, dict[str, Any]]:
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
    what = {
        "hessian": "The gradients and second derivatives",
        "vjp": "The vector-Jacobian product",
        "jacobian": "The Jacobian",
    }.get(derivation.kind, "The gradients")
    forward, total = len(derivation.source), len(derivation.program)
    return (
        f"{what} of {derivation.loss.name} by {by}, derived from {forward} forward definitions in "
        f"{len(derivation.steps)} steps; {total} equations in all."
    )
