"""The table of a network: one row per layer, and totals."""

from __future__ import annotations

from collections.abc import Sequence

from derive.language.printing import html_table
from derive.language.tensor import Tensor

from .network import Network

HEAD = ("layer", "output", "parameters", "trainable", "initializers")


class Summary:
    """The table of a network: it shows itself and prints.

    Attributes
    ----------
    total, trained : int
        How many numbers the parameters hold, and how many of them are trained.
    """

    def __init__(self, model: Network, inputs: str, frozen: str | Sequence[str] = ()):
        self.model, self._inputs = model, inputs
        self._moving = {p.name for p in model.trainable(frozen)}
        everything = model.parameters.values()
        self.total = sum(p.size for p in everything)
        self.trained = sum(p.size for p in everything if p.name in self._moving)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Layer, output shape, number of parameters, trainable, initializers (each once, in the order of the parameters)."""
        found = []
        for p in self.model.layers:
            shape = shape_text(self.model, p.output)
            if p.shared:
                found.append((p.name, shape, "shared", "", ""))
                continue
            kinds = {q.name in self._moving for q in p.parameters}
            found.append(
                (
                    p.name,
                    shape,
                    f"{sum(q.size for q in p.parameters):,}",
                    {(): "-", (True,): "yes", (False,): "no"}.get(tuple(sorted(kinds)), "partly"),
                    ", ".join(dict.fromkeys(q.init_name for q in p.parameters)) or "-",
                )
            )
        return found

    def _repr_html_(self) -> str:
        return html_table(HEAD, [*self.rows(), self._last()], f"{self.model.name}: {self._inputs}")

    def _last(self) -> tuple[str, str, str, str, str]:
        moving = f"trainable {self.trained:,}, frozen {self.total - self.trained:,}"
        return "total", "", f"{self.total:,}", moving, ""

    def __str__(self) -> str:
        body = [HEAD, *self.rows()]
        last = self._last()
        widths = [max(len(row[n]) for row in [*body, last if n < 3 else HEAD]) for n in range(4)]
        lines = [
            "  ".join(
                [
                    row[0].ljust(widths[0]),
                    row[1].ljust(widths[1]),
                    row[2].rjust(widths[2]),
                    row[3].ljust(widths[3]),
                    row[4],
                ]
            ).rstrip()
            for row in [*body, last]
        ]
        return "\n".join([f"{self.model.name}: {self._inputs}", *lines])

    __repr__ = __str__


def shape_text(model: Network, t: Tensor) -> str:
    return f"({', '.join(map(str, model.shape(t)))})"
