"""The commands put together, and running them without leaving Python."""

from __future__ import annotations

import typer

from . import check, docs, show, train

app = typer.Typer(
    name="derive",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Derive the gradients of a model from its forward definitions, show every step, run and check them.\n\n"
    'A MODEL is a text file of equations (.dv, .txt); a formula in matrix notation ("x\'*A*x"); a Python file and a name '
    "in it (net.py:model); a folder that training left; or a name of the catalogue: a text (softmax_regression, attention, "
    "...), a network (lenet5, ...), an activation or a loss (gelu, huber, ...).\n\n"
    "Exit codes: 0 right, 1 wrong (a check refused something), 2 not understood. Every command takes --json.",
)
app.command()(show.show)
app.command()(show.emit)
app.command()(check.check)
app.command()(train.train)
app.command()(docs.docs)


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code instead of leaving Python."""
    try:
        app(arguments, prog_name="derive")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else (0 if done.code is None else 2)
    return 0
