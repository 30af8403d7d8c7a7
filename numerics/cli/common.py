"""What the commands share: arguments, errors told in their own words, and writing to a file or the screen."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from derive.language.errors import DeriveError
from numerics import files
from numerics.errors import NumericsError

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A text file, a formula, FILE.py:NAME, a trained folder, or a catalogue name."
    ),
]
Wrt = Annotated[
    str | None,
    typer.Option(metavar="W,c", help="What to differentiate by; otherwise the tensors declared 'parameter'."),
]
Loss = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of a network: the loss (sparse_softmax_cross_entropy by default).")
]
Order = Annotated[int, typer.Option(min=1, max=2, help="1: gradients; 2: all second derivatives (Hessians).")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write here instead of to the screen.")]
Folder = Annotated[Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="The folder; made if need be.")]
Seed = Annotated[int, typer.Option(help="The seed of every random number drawn.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for other programs to read; errors too.")]


def plainly(command):
    """Errors that a user can mend are told in their own words, without a traceback, as JSON where that was asked for."""

    @functools.wraps(command)
    def told(*args, **options):
        try:
            return command(*args, **options)
        except (DeriveError, NumericsError) as error:
            said, kind = str(error), type(error).__name__
        except OSError as error:
            said, kind = f"{error.filename or ''}: {error.strerror or error}", type(error).__name__
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("derive", "numerics"):
                raise
            said, kind = f"this needs {error.name}; pip install 'derive-numerics[train]'", "ModuleNotFoundError"
        typer.echo(f"derive: {said}", err=True)
        if options.get("as_json"):
            write_json({"ok": False, "error": {"kind": kind, "message": said}})
        raise typer.Exit(2)

    return told


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """A line on a terminal while something is being done, gone when it is done; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield
        return
    sys.stderr.write(f"{what} ...")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def write(text: str, out: Path | None) -> None:
    """To the screen, or into a file, which is never left half written."""
    if out is None:
        typer.echo(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write(out, files.lines(text))
    typer.echo(f"wrote {out}", err=True)


def write_json(data: dict, out: Path | None = None) -> None:
    write(json.dumps(data, indent=1, ensure_ascii=False), out)


def names_of(text: str | None) -> list[str] | None:
    """``"W, c"`` as a list; None where nothing was given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
