"""What the checks found, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from html import escape

from derive.language.printing import html_table

from .coverage import Coverage

OK = ("ok", "convention")


@dataclass(frozen=True)
class Finding:
    """One tensor against the opponents, in one precision and at one set of sizes.

    ``error`` is in the max norm, relative to ``scale``; ``order`` the observed order of the Taylor remainder, or
    "floor" where the remainder is nothing but rounding, or "" where there is none to take.
    """

    tensor: str
    dtype: str
    sizes: str
    domain: str
    opponent: str
    error: float | None
    scale: float | None
    tolerance: float | None
    exact: str = ""
    order: str = ""
    verdict: str = "ok"
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The evidence for one kernel.  ``ok`` is True only when every finding is, there is at least one, and every condition
    of the program was met both ways.

    ``print(report)`` is a table with one row per gradient; ``to_json()`` is the same, complete.
    """

    name: str
    seed: int
    forward: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    versions: dict = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)

    @property
    def ok(self) -> bool:
        return bool(self.findings) and all(f.verdict in OK for f in self.findings) and self.coverage.ok

    @property
    def seen(self) -> tuple[str, ...]:
        """The conditions that the inputs met, each way by itself, and the regimes that they were in."""
        return (*self.coverage.seen, *self.coverage.regimes)

    @property
    def not_seen(self) -> tuple[str, ...]:
        """The conditions that no input met, which leave ``ok`` False; ``coverage.absent`` are the regimes."""
        return self.coverage.missing

    def as_dict(self) -> dict:
        return {
            "name": self.name,
            "ok": self.ok,
            "seed": self.seed,
            "forward": self.forward,
            "findings": [asdict(f) for f in self.findings],
            "notes": list(self.notes),
            "versions": self.versions,
            "coverage": self.coverage.as_dict(),
        }

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), indent=1, sort_keys=True)

    def _tables(self) -> Iterator[tuple[str, list[str], list[list]]]:
        """A title, a head and rows for each precision, sizes, inputs and opponent."""
        groups = dict.fromkeys((f.dtype, f.sizes, f.domain, f.opponent) for f in self.findings)
        for group in groups:
            dtype, sizes, domain, opponent = group
            rows = [f for f in self.findings if (f.dtype, f.sizes, f.domain, f.opponent) == group]
            head = f"{self.name}  {dtype}  sizes {sizes}  inputs {domain}  seed {self.seed}"
            yield head, *_columns(rows, opponent)

    def _foot(self) -> list[str]:
        return [
            f"independent forward: {self.forward}",
            *(f"note: {n}" for n in self.notes),
            *self.coverage.lines(),
            "verdict: " + ("ok" if self.ok else "NOT VERIFIED"),
        ]

    def _repr_html_(self) -> str:
        tables = "".join(html_table(head, body, title) for title, head, body in self._tables())
        return f"<div>{tables}{''.join(f'<p>{escape(line)}</p>' for line in self._foot())}</div>"

    def __str__(self) -> str:
        blocks = [title + "\n" + table(head, body) for title, head, body in self._tables()]
        return "\n\n".join([*blocks, "\n".join(self._foot())])


def _columns(rows: list[Finding], opponent: str) -> tuple[list[str], list[list]]:
    head = ["tensor", opponent, "tolerance"]
    body = [
        [f.tensor, shown_error(f.error, f.scale), "" if f.tolerance is None else f"{f.tolerance:.1e}"] for f in rows
    ]
    for title, values in (("exact", [f.exact for f in rows]), ("Taylor order", [f.order for f in rows])):
        if any(values):
            head.append(title)
            for line, value in zip(body, values, strict=True):
                line.append(value)
    head.append("verdict")
    for line, f in zip(body, rows, strict=True):
        line.append(f.verdict + (f": {f.note}" if f.note else ""))
    return head, body


def shown_error(error: float | None, scale: float | None) -> str:
    """``1.1e-16 of 4.2e-01``: the largest error, absolute, beside the size of what it is an error of."""
    return "" if error is None or scale is None else f"{error * scale:.1e} of {scale:.1e}"


def table(head: Sequence[str], body: Sequence[Sequence]) -> str:
    """Left-aligned columns, two blanks apart."""
    widths = [max(len(str(line[n])) for line in [head, *body]) for n in range(len(head))]
    return "\n".join(
        "  ".join(str(c).ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in [head, *body]
    )
