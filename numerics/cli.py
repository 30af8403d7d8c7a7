"""The command line: ``derive show|emit|check|train|docs``.

Exit codes: 0 right, 1 wrong (a check refused something), 2 not understood (usage, a file, a model text).
"""

from __future__ import annotations

import functools
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from derive.errors import DeriveError
from derive.examples import Model, load

from .errors import NumericsError

app = typer.Typer(
    name="derive",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Derive the gradients of a model from its forward definitions, show every step, run and check them.\n\n"
    "A MODEL is a text file of equations (.dv, .txt), or one of the names in the catalogue: "
    "attention, layer_norm, mlp, rnn, softmax_regression.",
)


class Format(StrEnum):
    """The forms a derivation is shown in."""

    text = "text"
    latex = "latex"
    markdown = "markdown"
    html = "html"


ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A .dv or .txt file of equations, or a name in the catalogue.")
]
Wrt = Annotated[
    str | None,
    typer.Option(metavar="W,c", help="What to differentiate by; otherwise the tensors declared 'parameter'."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write here instead of to the screen.")]
Seed = Annotated[int, typer.Option(help="The seed of every random number drawn.")]


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code instead of leaving Python."""
    try:
        app(arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else (0 if done.code is None else 2)
    return 0


def plainly(command):
    """Errors that a user can mend are told in their own words, without a traceback."""

    @functools.wraps(command)
    def told(*args, **options):
        try:
            return command(*args, **options)
        except (DeriveError, NumericsError) as error:
            typer.echo(f"derive: {error}", err=True)
        except OSError as error:
            typer.echo(f"derive: {error.filename or ''}: {error.strerror or error}", err=True)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("derive", "numerics"):
                raise
            typer.echo(f"derive: this needs {error.name}; pip install 'derive-numerics[train]'", err=True)
        raise typer.Exit(2)

    return told


def _model(source: str, wrt: str | None) -> Model:
    return load(source, None if wrt is None else [name.strip() for name in wrt.split(",") if name.strip()])


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    typer.echo(f"wrote {out}", err=True)


@app.command()
@plainly
def show(
    model: ModelArgument,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.text,
    wrt: Wrt = None,
    out: Out = None,
) -> None:
    """Show the derivation of the gradients, step by step.

    Examples:

        derive show softmax_regression

        derive show model.dv --format html -o derivation.html

        derive show mlp --wrt W1,c1 --format latex
    """
    derivation = _model(model, wrt).backprop()
    _write(getattr(derivation, f"to_{format.value}")(), out)


@app.command()
@plainly
def emit(model: ModelArgument, wrt: Wrt = None, out: Out = None) -> None:
    """Write the JAX module that computes the loss and all gradients; it runs where only JAX is installed.

    Examples:

        derive emit softmax_regression

        derive emit model.dv -o my_gradients.py
    """
    from .kernel import compile

    _write(compile(_model(model, wrt).backprop()).source, out)


@app.command()
@plainly
def check(
    model: ModelArgument,
    wrt: Wrt = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:FUNCTION", help="A gradient written by hand: fn(**inputs) -> {name: array}."),
    ] = None,
    seed: Seed = 0,
    steps: Annotated[bool, typer.Option("--steps", help="List the exact check of every step.")] = False,
) -> None:
    """Check the derivation exactly and the compiled program numerically; exit code 1 if anything is refused.

    With --against, also compare a gradient that you wrote with the derived one, and say what is wrong with it.

    Examples:

        derive check attention

        derive check softmax_regression --against mine.py:gradients
    """
    from .crosscheck import crosscheck
    from .kernel import compile
    from .pages import brief, exact_check
    from .userfile import function_from_file
    from .verify import verify

    # read the user's file first: a wrong path should not wait for the derivation
    written = None if against is None else function_from_file(against)
    derivation = _model(model, wrt).backprop()
    exact, found = exact_check(derivation, seed)
    typer.echo(exact if steps else brief(exact))
    kernel = compile(derivation)
    reports = [verify(kernel, seed=seed)]
    if written is not None:
        reports.append(crosscheck(kernel, written))
    for report in reports:
        typer.echo(f"\n{report}")
    if not (found["ok"] and all(report.ok for report in reports)):
        raise typer.Exit(1)


@app.command()
@plainly
def docs(model: ModelArgument, wrt: Wrt = None, out: Out = None, seed: Seed = 0) -> None:
    """Write a folder of pages for a model: the derivation, the generated source and the evidence; no network needed.

    Examples:

        derive docs softmax_regression

        derive docs model.dv -o site/
    """
    from .pages import write_pages

    found = _model(model, wrt)
    folder = out or Path(f"{found.name}_docs")
    ok = write_pages(found, folder, seed=seed)
    typer.echo(f"wrote {folder / 'index.html'}")
    if not ok:
        typer.echo("the checks refused this program: see the evidence", err=True)
        raise typer.Exit(1)


@app.command()
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
    from .demo import train_digits

    train_digits(
        epochs=epochs,
        hidden=units,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        out=out or Path("out/digits"),
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
