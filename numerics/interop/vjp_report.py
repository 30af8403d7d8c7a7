"""What a check of a backward pass found, in the names and lines of its author."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from numerics.checks.report import table
from numerics.checks.verdicts import CrossReport

from .model import JaxModel
from .vjp_names import called, place
from .vjp_rules import Rule


@dataclass(frozen=True)
class VjpReport(CrossReport):
    """One verdict per array of the arguments; ``ok`` only when every one is right and every condition was met both ways.

    Attributes
    ----------
    dtypes : tuple of str
        The precisions that it was compared in.
    lines : dict of str to str
        Where a tensor that an explanation names is computed in the forward, as "model.py:31".
    """

    dtypes: tuple[str, ...] = ()
    lines: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, report: CrossReport, dtypes: tuple[str, ...], f: Any, rule: Rule, model: JaxModel) -> VjpReport:
        where = place(f)
        own = {x.name: getattr(report, x.name) for x in fields(CrossReport)}
        own["name"] = called(f) + (f" ({where})" if where else "")
        told = " ".join(v.text for v in report.verdicts if not v.ok)
        read = re.findall(r"\(\d+\) (\w+)", told)
        lines = tuple((n, model.lines[n]) for n in dict.fromkeys(read) if n in model.lines)
        return cls(**own, dtypes=dtypes, lines=lines)

    def __str__(self) -> str:
        head = f"crosscheck of {self.name}  {', '.join(self.dtypes)}  sizes {self.sizes}  seed {self.seed}"
        body = [[v.tensor, "" if v.error is None else f"{v.error:.1e}", self._said(v)] for v in self.verdicts]
        rest = [f"{n} stands at {line}" for n, line in self.lines]
        rest += [f"note: {n}" for n in self.notes]
        return "\n".join([head, table(["gradient", "differs by", "verdict"], body), *rest, *self.coverage.lines()])

    def _said(self, v: Any) -> str:
        return (
            (f"{v.kind}: {v.text}" if v.text else v.kind) if not v.ok else v.kind + (f" ({v.text})" if v.text else "")
        )
