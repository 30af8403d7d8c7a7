"""What functions and their places are called in a report."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any


def called(f: Any) -> str:
    """A function's own name; of a lambda, that it is one."""
    name = str(getattr(f, "__name__", None) or getattr(getattr(f, "func", None), "__name__", type(f).__name__))
    return "function" if name == "<lambda>" else name


def place(f: Any) -> str:
    """``model.py:31``, where a function is defined; nothing where that is not known."""
    code = inspect.unwrap(getattr(f, "backward", f) if isinstance(f, type) else f)  # of a torch.autograd.Function
    code = getattr(code, "func", code)
    try:
        _, line = inspect.getsourcelines(code)
        return f"{Path(inspect.getsourcefile(code) or '').name}:{line}"
    except (OSError, TypeError):
        return ""
