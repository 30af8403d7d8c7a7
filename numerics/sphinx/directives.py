"""The four directives; see :mod:`numerics.sphinx`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from derive.derivation.derivation import Derivation
from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.program.program import Equation
from derive.show.document import blocks as B
from derive.show.document.formulas import Formulas
from derive.show.document.options import Choices, read_options
from derive.show.document.outline import outline
from derive.show.formulas.tex import render
from derive.show.latex import display_rows
from numerics.checks.report import shown_error
from numerics.checks.verify import verify
from numerics.emit.targets import source as emit
from numerics.errors import NumericsError

from .document import Nodes, folded, table
from .document import number as shown_number
from .subjects import Shown, Subjects

FLAG = directives.flag
_BUILDS: WeakKeyDictionary[BuildEnvironment, dict[Path, Subjects]] = WeakKeyDictionary()


class Subjected(SphinxDirective):
    """A directive about a model: which, by what, by which loss, of which order."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "wrt": directives.unchanged_required,
        "loss": directives.unchanged_required,
        "order": directives.positive_int,
        "folded": directives.unchanged_required,
        "remark": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        try:
            shown = self.shown(self._subject())
            if "remark" in self.options:
                shown.append(nodes.paragraph("", "", *self.parse_inline(self.options["remark"])[0]))
            return list(folded(self.options["folded"], shown)) if "folded" in self.options else shown
        except (DeriveError, NumericsError, ExtensionError) as error:
            raise ExtensionError(f"{self.get_location()}: directive {self.name}: {error}") from error

    def _subject(self) -> Shown:
        text = "\n".join(self.content)
        source = self.arguments[0].strip() if self.arguments else ""
        if bool(source) == bool(text.strip()):
            raise DeriveError("say a model as the argument, or definitions as the content: one of them")
        wrt = self.options.get("wrt")
        order = self.options.get("order", 1)
        if order not in (1, 2):
            raise DeriveError(f":order: {order}: 1 gives the gradients, 2 all second derivatives")
        names = None if wrt is None else tuple(n.strip() for n in wrt.split(",") if n.strip())
        return self._subjects.get(source, text, names, self.options.get("loss"), order)

    @property
    def _subjects(self) -> Subjects:
        """Those of this build, which files are looked for beside this page."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        return _BUILDS.setdefault(self.env, {}).setdefault(here, Subjects(here))

    def shown(self, of: Shown) -> list[nodes.Node]:
        raise NotImplementedError

    def numbered(self, drawn: Nodes) -> None:
        """Every numbered equation can be referred to from any page, as ``:ref:`softmax-regression-14```."""
        standard: Any = self.env.get_domain("std")
        for address, number in drawn.anchors.items():
            self.state.document.ids[address] = self.state.document
            if address not in standard.labels:
                standard.anonlabels[address] = self.env.docname, address
                standard.labels[address] = self.env.docname, address, f"({shown_number(number)})"


class DerivationDirective(Subjected):
    """The document of a derivation: what is given, the steps, the results, how it was proved.

    ``:name: steps`` makes the addresses of its equations ``steps-1``, ``steps-2``, ...; without it they begin with the
    model's name.
    """

    option_spec = Subjected.option_spec | {
        "notation": directives.unchanged_required,
        "adjoint": directives.unchanged_required,
        "example": FLAG,
        "results": FLAG,
        "sections": directives.unchanged_required,
        "name": directives.unchanged_required,
    }

    def shown(self, of: Shown) -> list[nodes.Node]:
        choices: Choices = {"example": "example" in self.options}
        for option in ("notation", "adjoint"):
            if option in self.options:
                choices[option] = self.options[option]  # type: ignore[literal-required]
        shown: Sequence[B.Block] = outline(of.derivation, read_options(choices))
        if "results" in self.options:
            shown = _results(shown)
        elif "sections" in self.options:
            shown = _sections(shown, [s.strip() for s in self.options["sections"].split(",")])
        drawn = Nodes(self.options.get("name", of.derivation.name), self.state.document.ids)
        made = drawn.blocks(shown)
        self.numbered(drawn)
        return [nodes.container("", *made, classes=["derivation"])]


def _results(blocks: Sequence[B.Block]) -> Sequence[B.Block]:
    """The displays that are set off as results, without the way to them."""
    found = [b for b in blocks if isinstance(b, B.Equations) and b.boxed]
    return found or [b for b in blocks if isinstance(b, B.Equations)][-1:]


def _sections(blocks: Sequence[B.Block], wanted: Sequence[str]) -> Sequence[B.Block]:
    """The sections of a document with these headings, in their order; of one section alone the heading is left out.

    Raises
    ------
    DeriveError
        For a heading that the document lacks, with those it has.
    """
    found: dict[str, list[B.Block]] = {}
    part: list[B.Block] = []
    for block in blocks:
        if isinstance(block, B.Heading) and block.level <= 2:
            part = found.setdefault(block.text, [])
        part.append(block)
    for name in wanted:
        if name not in found:
            raise DeriveError(f":sections: {name}: the document has {', '.join(found)}")
    return found[wanted[0]][1:] if len(wanted) == 1 else [b for name in wanted for b in found[name]]


class EquationDirective(Subjected):
    """One equation: a gradient by the name of what it is taken by, or any other by its tensor or its number."""

    option_spec = Subjected.option_spec | {
        "of": directives.unchanged_required,
        "closed": FLAG,
        "label": directives.unchanged,
    }

    def shown(self, of: Shown) -> list[nodes.Node]:
        d = of.derivation
        asked = self.options.get("of")
        if asked is None:
            if len(d.wrt) != 1:
                raise DeriveError(f":of: is needed: which of {', '.join(t.name for t in d.wrt)}, or another tensor?")
            asked = d.wrt[0].name
        f, equation = Formulas(d, read_options({})), found(d, asked)  # in the letters of the document
        if "closed" in self.options:
            tex = f"{render(f.sides(equation)[0])} = {d.closed_form(asked).to_latex()}"
        else:
            rows = [row for line in f.lines(equation, aside=False) for row in display_rows(line)]
            tex = rows[0].replace(" &= ", " = ", 1) if len(rows) == 1 else " \\\\\n".join(rows)
        node = nodes.math_block(tex, tex, number=None, label=self.options.get("label"), **{"no-wrap": False})
        node["docname"] = self.env.docname
        self.set_source_info(node)
        out: list[nodes.Node] = [node]
        if node["label"]:
            domain: Any = self.env.get_domain("math")
            domain.note_equation(self.env.docname, node["label"], location=node)
            node["number"] = domain.get_equation_number_for(node["label"])
            target = nodes.target("", "", ids=[nodes.make_id(f"equation-{node['label']}")])
            self.state.document.note_explicit_target(target)
            out.insert(0, target)
        return out


def found(d: Derivation, asked: str) -> Equation:
    """An equation of a derivation: a gradient, or one of the program, by a tensor's name or by its number.

    Raises
    ------
    DeriveError
        For what there is not, with the nearest name.
    """
    if asked.isdigit():
        if not 1 <= int(asked) <= len(d.program.equations):
            raise DeriveError(f":of: {asked}: the program has the equations 1 to {len(d.program.equations)}")
        return d.program.equations[int(asked) - 1]
    own = d.program.equation(asked)
    if asked in dict(d.adjoints) or own is None:
        names = [*dict(d.adjoints), *(e.name for e in d.program.equations)]
        if asked not in names:
            raise DeriveError(f":of: {asked}: there is no such tensor{did_you_mean(asked, names)}")
        return d.gradient(asked)
    return own


class KernelDirective(Subjected):
    """The generated module, as a listing: JAX, or JavaScript."""

    option_spec = Subjected.option_spec | {
        "target": directives.unchanged_required,
        "caption": directives.unchanged,
        "linenos": FLAG,
    }

    def shown(self, of: Shown) -> list[nodes.Node]:
        target = self.options.get("target", "jax")
        kern = (
            of.subject.compile(of.derivation) if target == "jax" else None
        )  # which runs it once against its equations
        text = kern.source if kern is not None else emit(of.derivation, target=target, sizes=of.subject.sizes or None)
        listing = nodes.literal_block(text, text, language="python" if target == "jax" else "javascript")
        listing["linenos"] = "linenos" in self.options
        if "caption" not in self.options:
            return [listing]
        caption = nodes.caption("", self.options["caption"])
        return [nodes.container("", caption, listing, literal_block=True, classes=["literal-block-wrapper"])]


class EvidenceDirective(Subjected):
    """The tables of the exact check and, with ``:numeric:``, of the compiled kernel against autodiff."""

    option_spec = Subjected.option_spec | {"numeric": FLAG, "steps": FLAG, "seed": directives.nonnegative_int}

    def shown(self, of: Shown) -> list[nodes.Node]:
        rows = [r for r in of.evidence.rows if "steps" in self.options or not r.what.startswith("step ")]
        steps = len(of.evidence.rows) - len(rows)
        body = [[[nodes.literal("", r.what)], [nodes.Text(r.verdict)], [nodes.Text(r.by)]] for r in rows]
        out: list[nodes.Node] = [table(("claim", "verdict", "by"), body)]
        if steps:
            proved = sum(r.verdict == "proved" for r in of.evidence.rows) - sum(r.verdict == "proved" for r in rows)
            out.append(nodes.paragraph("", f"And {proved} of {steps} steps proved."))
        if "numeric" in self.options:
            out += self._numeric(of)
        return out

    def _numeric(self, of: Shown) -> list[nodes.Node]:
        report = verify(of.subject.compile(of.derivation), seed=self.options.get("seed", 0))
        if not report.ok:
            raise NumericsError(f"{of.derivation.name} is not verified\n{report}")
        cells = [
            [f.tensor, f.dtype, f.sizes, f.opponent, shown_error(f.error, f.scale), f.verdict] for f in report.findings
        ]
        body = [[[nodes.literal("", c) if n == 0 else nodes.Text(c)] for n, c in enumerate(row)] for row in cells]
        return [
            table(("tensor", "dtype", "sizes", "against", "largest error", "verdict"), body),
            nodes.paragraph("", f"Independent forward: {report.forward}."),
        ]


def _styled(app: Sphinx) -> None:
    """The style sheet that lies beside this module, with the pages of HTML."""
    app.config.html_static_path.append(str(Path(__file__).with_name("derivation.css")))
    app.add_css_file("derivation.css")


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls for ``extensions = ["numerics.sphinx"]``."""
    app.connect("builder-inited", _styled)
    app.add_directive("derivation", DerivationDirective)
    app.add_directive("equation", EquationDirective)
    app.add_directive("kernel", KernelDirective)
    app.add_directive("evidence", EvidenceDirective)
    return {"version": version("derive-numerics"), "parallel_read_safe": True, "parallel_write_safe": True}
