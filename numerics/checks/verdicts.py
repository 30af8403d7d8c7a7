"""What a cross-check found: a verdict for each tensor, as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import ClassVar

from derive.language.printing import html_table

from .coverage import Coverage
from .report import table

RIGHT = ("ok",)


@dataclass(frozen=True)
class Verdict:
    """One tensor.  ``kind`` is "ok" or the kind of mistake; ``text`` the sentence; ``error`` relative to the leaf."""

    tensor: str
    kind: str
    text: str
    error: float | None = None
    tolerance: float | None = None
    dtype: str = ""

    @property
    def ok(self) -> bool:
        return self.kind in RIGHT


@dataclass(frozen=True)
class CrossReport:
    """One verdict per tensor; ``ok`` only when every one is right and every condition was met both ways.

    ``print`` gives a table, the explanations, and what was seen.
    """

    name: str
    sizes: str
    seed: int
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)

    @property
    def right(self) -> bool:
        """Whether every tensor is right where it was compared."""
        return bool(self.verdicts) and all(v.ok for v in self.verdicts)

    @property
    def ok(self) -> bool:
        return self.right and self.coverage.ok

    @property
    def seen(self) -> tuple[str, ...]:
        """The conditions that the inputs met, each way by itself, and the regimes that they were in."""
        return (*self.coverage.seen, *self.coverage.regimes)

    @property
    def not_seen(self) -> tuple[str, ...]:
        """The conditions that no input met, which leave ``ok`` False; ``coverage.absent`` are the regimes."""
        return self.coverage.missing

    def __getitem__(self, tensor: str) -> Verdict:
        return next(v for v in self.verdicts if v.tensor == tensor)

    def to_json(self) -> str:
        return json.dumps(
            {
                "name": self.name,
                "ok": self.ok,
                "sizes": self.sizes,
                "seed": self.seed,
                "verdicts": [asdict(v) for v in self.verdicts],
                "notes": list(self.notes),
                "coverage": self.coverage.as_dict(),
            },
            indent=1,
            sort_keys=True,
        )

    _head: ClassVar[tuple[str, ...]] = ("tensor", "dtype", "error", "tolerance", "verdict")

    def _body(self) -> list[list[str]]:
        return [
            [
                v.tensor,
                v.dtype,
                "" if v.error is None else f"{v.error:.1e}",
                "" if v.tolerance is None else f"{v.tolerance:.1e}",
                v.kind,
            ]
            for v in self.verdicts
        ]

    def _below(self) -> list[str]:
        """What stands under the table: the explanations, the notes, what was seen."""
        return [
            *(f"{v.tensor}: {v.text}" for v in self.verdicts if v.text),
            *(f"note: {n}" for n in self.notes),
            *self.coverage.lines(),
        ]

    @property
    def _title(self) -> str:
        return f"crosscheck of {self.name}  sizes {self.sizes}  seed {self.seed}"

    def _repr_html_(self) -> str:
        return html_table(self._head, self._body(), self._title, self._below())

    def __str__(self) -> str:
        return "\n".join([self._title, table(list(self._head), self._body()), *self._below()])
