"""Pages of the activations that learn, which are layers: PReLU, Maxout and Gaussian units, beside the catalogue's."""

import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Learned:
    """A layer of one input and one unit, at parameters that show its shape."""

    name: str
    layer: type
    arguments: dict
    parameters: dict
    said: str
    caveats: str

    @property
    def rule(self) -> type:
        """What a page takes its definition from: the docstring of the layer without its parameters."""
        text = inspect.getdoc(self.layer)
        head, references = text.split("\nParameters\n")[0], text.split("References\n----------\n")[1]
        return type(self.name, (), {"__doc__": f"{head}\nReferences\n----------\n{references}"})


def entries() -> dict[str, Learned]:
    from derive.networks import layers as L

    return {
        e.name: e
        for e in (
            Learned(
                "prelu",
                L.PReLU,
                {},
                {"slope": [0.25]},
                "the slope being 1/4",
                "The derivative at the kink is the slope. Nothing overflows; a slope may become negative or exceed 1.",
            ),
            Learned(
                "maxout",
                L.Maxout,
                {"units": 1, "pieces": 3},
                {"kernel": [[[-1.0, 0.2, 0.8]]], "bias": [[-1.0, 0.5, 0.0]]},
                "for one unit of three pieces",
                "At a tie the first of the largest pieces gets the gradient. A piece that is never the largest gets none.",
            ),
            Learned(
                "rbf",
                L.RBF,
                {"units": 1},
                {"centres": [[1.0]], "widths": [1.5]},
                "the centre being 1, the width 1.5",
                "Far from every centre value and gradient underflow to 0, in float32 beyond about 14 widths: start the "
                "centres where the data is. A width of 0 has no value.",
            ),
        )
    }


def learned_page(entry: Learned, folder: Path) -> str:
    from catalogue import POINTS, compiled, page, plot

    import derive as dv

    model = dv.Sequential([entry.layer(**entry.arguments)], input_shape=(1,), name=entry.name)
    wrt = [model.input, *(p.tensor for p in model.parameters.values())]
    derived = dv.vjp(model.output, wrt, cotangent="w", name=entry.name)
    at = np.linspace(-6, 6, POINTS, dtype="float32")
    arrays = {f"{model.layers[0].name}_{role}": np.array(a, "float32") for role, a in entry.parameters.items()}
    value, grads = compiled(derived)(x=at[:, None], w=np.ones((POINTS, 1), "float32"), **arrays)
    plot(folder, entry.name, at, np.asarray(value)[:, 0], np.asarray(grads["x"])[:, 0], "x")
    facts = [f"A layer: `L.{entry.layer.__name__}`.", f"Gives {entry.layer.gives}."]
    return page(entry, facts, derived, f"The value and its derivative by the input, {entry.said}.")
