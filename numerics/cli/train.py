"""``derive train``: a network trained with derived gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import NumericsError
from .common import Out, Seed, plainly


@plainly
def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help="The data set: digits.")],
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 30,
    hidden: Annotated[str, typer.Option(metavar="128,64", help="Units of the hidden layers.")] = "128,64",
    batch_size: Annotated[int, typer.Option(min=1, help="Examples in one step.")] = 64,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of Adam.")] = 2e-3,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Train a multilayer perceptron with derived gradients, and leave the derivation, source, evidence and a plot.

    The last line printed is the accuracy on the fifth of the data that was held out.

    Examples:

        derive train digits

        derive train digits --epochs 10 --hidden 64,32 --seed 1 -o run/
    """
    if data != "digits":
        raise NumericsError(f"train {data}: the data sets are: digits")
    try:
        units = tuple(int(part) for part in hidden.split(","))
    except ValueError:
        raise NumericsError(f"--hidden {hidden}: whole numbers parted by commas are expected, as in 128,64") from None
    if min(units) < 1:
        raise NumericsError(f"--hidden {hidden}: a layer has at least one unit")
    from ..demo import train_digits

    train_digits(
        epochs=epochs,
        hidden=units,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        out=out or Path("out/digits"),
    )
