"""What a check of a backward pass found, in the names and lines of its author."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from derive.derivation.derivation import Derivation
from numerics.checks.verdicts import CrossReport

from .model import JaxModel
from .vjp_names import called, place


@dataclass(frozen=True)
class VjpReport(CrossReport):
    """One verdict per array of the arguments; ``ok`` only when every one is right and every condition was met both ways.

    Attributes
    ----------
    dtypes : tuple of str
        The precisions that it was compared in.
    derivation : Derivation
        The derived product, whose equations the explanations name.
    places : tuple of str
        Where each wrong gradient goes wrong in the backward, and where what an explanation names stands in the forward.
    """

    dtypes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    derivation: Derivation | None = None

    @classmethod
    def of(
        cls,
        report: CrossReport,
        dtypes: tuple[str, ...],
        f: Any,
        model: JaxModel,
        d: Derivation,
        located: Mapping[str, str],
    ) -> VjpReport:
        where = place(f)
        own = {x.name: getattr(report, x.name) for x in fields(CrossReport)}
        own["name"] = called(f) + (f" ({where})" if where else "")
        told = " ".join(v.text for v in report.verdicts if not v.ok)
        read = dict.fromkeys(re.findall(r"\(\d+\) (\w+)", told))
        lines = [f"{n} of the forward: {model.lines[n]}" for n in read if n in model.lines]
        of: dict[str, list[str]] = {}
        for n, said in located.items():
            of.setdefault(said, []).append(n)
        found = [f"{', '.join(names)}: {said}" for said, names in of.items()]
        return cls(**own, dtypes=dtypes, places=(*found, *lines), derivation=d)

    _head: ClassVar[tuple[str, ...]] = ("gradient", "differs by", "verdict")

    @property
    def _title(self) -> str:
        return f"crosscheck of {self.name}  {', '.join(self.dtypes)}  sizes {self.sizes}  seed {self.seed}"

    def _body(self) -> list[list[str]]:
        return [[v.tensor, "" if v.error is None else f"{v.error:.1e}", self._said(v)] for v in self.verdicts]

    def _below(self) -> list[str]:
        return [*self.places, *(f"note: {n}" for n in self.notes), *self.coverage.lines()]

    def _said(self, v: Any) -> str:
        return (
            (f"{v.kind}: {v.text}" if v.text else v.kind) if not v.ok else v.kind + (f" ({v.text})" if v.text else "")
        )
