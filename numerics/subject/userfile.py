"""A function or model out of a user's own Python file, named ``file.py:name`` on the command line."""

from __future__ import annotations

import functools
import importlib.util
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

from derive.language.hints import did_you_mean
from numerics.errors import NumericsError


def function_from_file(spec: str) -> Callable:
    """The function named by ``path/to/file.py:function``.

    The file is run, as ``python file.py`` would.  What goes wrong inside it is told with its own line number.

    Raises
    ------
    NumericsError
        A spec without a colon, a file that is missing or fails, a name that the file lacks or that is no function.
    """
    found, module = _found(spec, "--against", "FUNCTION")
    path, _, name = spec.rpartition(":")
    if not callable(found):
        have = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
        raise NumericsError(f"--against {spec}: {path} has no function {name!r}; it has {', '.join(have) or 'none'}")
    return _told(found, Path(path))


def object_from_file(spec: str, option: str):
    """Whatever ``path/to/file.py:name`` names; a function is called by whoever asked, with its errors told too."""
    found, module = _found(spec, option, "NAME")
    path, _, name = spec.rpartition(":")
    if found is None:
        have = sorted(n for n in vars(module) if not n.startswith("_"))
        raise NumericsError(
            f"{option} {spec}: {path} has no {name!r}{did_you_mean(name, have)}; it has {', '.join(have) or 'nothing'}"
        )
    return _told(found, Path(path)) if isinstance(found, FunctionType) else found


def _found(spec: str, option: str, wanted: str):
    """The module that a file makes, run once, and what a name in it stands for."""
    path, colon, name = spec.rpartition(":")
    example = "mine.py:gradients" if wanted == "FUNCTION" else "net.py:model"
    if not colon or not path or not name:
        raise NumericsError(f"{option} {spec}: expected FILE.py:{wanted}, as in {example}")
    file = Path(path)
    if not file.is_file():
        raise NumericsError(f"{option} {spec}: there is no file {path}")
    loaded = importlib.util.spec_from_file_location(f"user_{file.stem}", file)
    if loaded is None or loaded.loader is None:
        raise NumericsError(f"{option} {spec}: {path} is not a Python file")
    module = importlib.util.module_from_spec(loaded)
    try:
        loaded.loader.exec_module(module)
    except Exception as error:
        raise NumericsError(f"{option} {spec}: {_where(error, file)}") from error
    return getattr(module, name, None), module


def _told(function: Callable, file: Path) -> Callable:
    @functools.wraps(function)
    def called(*args, **inputs):
        try:
            return function(*args, **inputs)
        except Exception as error:
            raise NumericsError(_where(error, file)) from error

    return called


def _where(error: Exception, file: Path) -> str:
    """The error with the last line of the user's file that it passed through."""
    if isinstance(error, SyntaxError):
        return f"{file.name}:{error.lineno}: SyntaxError: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == file.name]
    place = f"{file.name}:{lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {error}"
