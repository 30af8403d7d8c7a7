"""A log of epochs: JSON lines or tab-separated, one line an epoch, flushed at once, continued by a resumed fit."""

from __future__ import annotations

import json
import math
from pathlib import Path

from numerics import files
from numerics.errors import InputError

from .callbacks import Callback

SUFFIXES = (".jsonl", ".tsv")


class Log(Callback):
    """Writes a line after every epoch: its number, the loss, the metrics, the rate, the seconds.

    A trainer that has trained no epoch yet begins a new file.  One that goes on keeps the lines of the epochs it has and
    drops those after them, which a run that was interrupted wrote after its last checkpoint.

    Parameters
    ----------
    path : path-like
        Ends in ``.jsonl`` (an object a line) or ``.tsv`` (a header, then columns).

    Examples
    --------
    ``t.fit(X, Y, epochs=10, callbacks=[nx.Log("run/log.tsv")])``
    """

    def __init__(self, path):
        self.path = Path(path)
        if self.path.suffix not in SUFFIXES:
            raise InputError(f"Log: {path} ends in {self.path.suffix!r}; accepted are {' and '.join(SUFFIXES)}")
        self.rows: list[dict] = []

    def on_fit_begin(self, trainer, row):
        self.rows = [] if trainer.epoch == 0 else [r for r in _rows(self.path) if r["epoch"] <= trainer.epoch]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._rewrite()

    def on_epoch_end(self, trainer, row):
        known = self._columns()
        self.rows.append({"epoch": trainer.epoch, **{n: _plain(v) for n, v in row.items() if n != "epoch"}})
        if self.path.suffix == ".tsv" and self._columns() != known:
            self._rewrite()
            return
        with self.path.open("a", encoding="utf-8") as f:
            f.write(self._line(self.rows[-1]))
            f.flush()

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(n for r in self.rows for n in r))

    def _line(self, row: dict) -> str:
        if self.path.suffix == ".jsonl":
            return json.dumps(row) + "\n"
        return "\t".join("" if row.get(n) is None else str(row[n]) for n in self._columns()) + "\n"

    def _rewrite(self) -> None:
        head = "\t".join(self._columns()) + "\n" if self.path.suffix == ".tsv" and self.rows else ""
        files.write(self.path, head + "".join(map(self._line, self.rows)))


def read_log(path) -> dict[str, list]:
    """A log as columns, as ``trainer.history`` is: ``curves(read_log("run/log.tsv"))`` draws it.

    A last line that was cut off is left out; any other that cannot be read is an error that names it.

    Returns
    -------
    dict of str to list
        An entry is None where an epoch has no such number.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"read_log: {path} ends in {path.suffix!r}; accepted are {' and '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"read_log: there is no file {path}")
    rows = _rows(path)
    return {n: [r.get(n) for r in rows] for n in dict.fromkeys(n for r in rows for n in r)}


def _rows(path: Path) -> list[dict]:
    """The whole lines of a log; a last line without its end was cut off."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    if path.suffix == ".jsonl":
        return [_object(path, n, line) for n, line in enumerate(lines, 1)]
    names = lines[0].split("\t") if lines else []
    found = []
    for n, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(names):
            raise InputError(f"{path}, line {n}: {len(cells)} cells, but the header names {len(names)} columns")
        try:
            found.append({k: _number(c) for k, c in zip(names, cells, strict=True) if c})
        except ValueError:
            raise InputError(f"{path}, line {n}: {line!r} holds something that is no number") from None
        _epoch(path, n, found[-1])
    return found


def _object(path: Path, n: int, line: str) -> dict:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}, line {n}: not JSON: {error}") from None
    _epoch(path, n, row)
    return row


def _epoch(path: Path, n: int, row) -> None:
    if not isinstance(row, dict) or not isinstance(row.get("epoch"), int):
        raise InputError(f"{path}, line {n}: no whole number 'epoch' in it; this is not a log of epochs")


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _plain(value):
    """A number that JSON has; what is not finite is null."""
    value = value if isinstance(value, int) and not isinstance(value, bool) else float(value)
    return value if math.isfinite(value) else None
