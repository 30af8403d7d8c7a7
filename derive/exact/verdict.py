"""What the exact check found: three verdicts, never two, each with what decided it."""

from __future__ import annotations

from dataclasses import dataclass, field

from derive.language.printing import html_table

PROVED, REFUTED, UNDECIDED = "proved", "refuted", "undecided"


@dataclass(frozen=True)
class Finding:
    """One checked statement.

    ``by`` says what decided: "exact mod 2**61-1" or "50-digit evaluation"; ``detail`` is the evidence in words.
    """

    what: str
    verdict: str
    by: str
    seconds: float = 0.0
    sizes: tuple[dict[str, int], ...] = ()
    seed: int = 0
    detail: str = ""

    def as_dict(self) -> dict[str, object]:
        return {
            "what": self.what,
            "verdict": self.verdict,
            "by": self.by,
            "seconds": round(self.seconds, 4),
            "sizes": [dict(s) for s in self.sizes],
            "seed": self.seed,
            "detail": self.detail,
        }


@dataclass
class Evidence:
    """The result of ``d.check()``: ``rows`` has a :class:`Finding` per gradient, result and step.

    ``ok``: nothing was refuted (nor left without any evidence); ``proved``: everything was proved.  A refuted row never
    gets this far in ``d.check()``, which raises.  Printing gives the table, ``to_json`` plain data.
    """

    name: str
    rows: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def named(self, verdict: str) -> list[str]:
        """What the rows with a verdict are about."""
        return [r.what for r in self.rows if r.verdict == verdict]

    @property
    def undecided(self) -> list[str]:
        return self.named(UNDECIDED)

    @property
    def refuted(self) -> list[str]:
        return self.named(REFUTED)

    @property
    def proved(self) -> bool:
        """Something was checked, and every row is proved."""
        return bool(self.rows) and all(r.verdict == PROVED for r in self.rows)

    @property
    def ok(self) -> bool:
        """Something was checked, nothing was refuted, and all that is undecided agreed in 50-digit reals."""
        return bool(self.rows) and all(
            r.verdict == PROVED or (r.verdict == UNDECIDED and r.by == "50-digit evaluation") for r in self.rows
        )

    def __bool__(self) -> bool:
        return self.ok

    def row(self, what: str) -> Finding:
        return next(r for r in self.rows if r.what == what)

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "proved": len(self.named(PROVED)),
            "undecided": self.undecided,
            "rows": [r.as_dict() for r in self.rows],
        }

    @property
    def _head(self) -> str:
        return (
            f"{self.name}  exact check: {len(self.named(PROVED))} proved, {len(self.undecided)} undecided  "
            f"({self.seconds:.2f} s)"
        )

    def _repr_html_(self) -> str:
        rows = [(r.what, r.verdict, r.by, r.detail) for r in self.rows]
        return html_table(("claim", "verdict", "by", "detail"), rows, self._head)

    def __str__(self) -> str:
        width = max((len(r.what) for r in self.rows), default=0)
        lines = [f"{r.what:<{width}}  {r.verdict:<9}  {r.by}{'  ' + r.detail if r.detail else ''}" for r in self.rows]
        return "\n".join([self._head, *lines])
