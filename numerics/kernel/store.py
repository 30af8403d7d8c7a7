"""A folder of JSON in which a later process finds what an earlier one made, by a key that says all that it was made of.

An entry is its key, its content and their checksum.  It is written beside and renamed, so it is whole or not there; what does
not read as written, or belongs to somebody else, is not an entry.  Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

from numerics import files
from numerics.errors import NumericsError

VARIABLE = "DERIVE_CACHE"  # a folder, or "off"
KEPT = 256  # entries; the oldest go first
ENTRY = re.compile(r"[0-9a-f]{40}\.json")
_TOLD: set[Path] = set()


class CacheWarning(UserWarning):
    """A folder that nothing can be kept in; the work goes on without."""


class Store:
    """A folder of entries.

    Parameters
    ----------
    folder : Path
        Made when something is first kept there, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, cache: Any) -> Store | None:
        """Where ``cache`` says: a folder; False for nowhere; None for ``DERIVE_CACHE``, else the user's cache folder."""
        if cache is None or cache is True:
            named = os.environ.get(VARIABLE, "")
            if named.lower() in ("off", "0", "false"):
                return None
            own = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
            folder = os.path.expanduser(named or os.path.join(own, "derive"))
            return cls(Path(folder)) if named or folder[0] != "~" else None  # a user without a home keeps nothing
        if cache is False:
            return None
        if not isinstance(cache, str | os.PathLike) or not os.fspath(cache):
            raise NumericsError(
                f"cache={cache!r}: give a folder, or False to keep nothing; without it {VARIABLE} decides"
            )
        return cls(Path(os.path.expanduser(cache)))

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"

    def get(self, key: str) -> dict[str, Any] | None:
        """The content kept under a key, or None."""
        path = self._path(key)
        try:
            if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
                return None
            found = json.loads(path.read_text(encoding="utf-8"))
            whole = found["key"] == key and found["checksum"] == _checksum(key, found["content"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return found["content"] if whole and isinstance(found["content"], dict) else None

    def put(self, key: str, content: dict[str, Any]) -> None:
        """Keep a content under a key; a folder that cannot be written is told of once."""
        entry = {"key": key, "checksum": _checksum(key, content), "content": content}
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.write(self._path(key), json.dumps(entry))
            self._forget()
        except (OSError, ValueError) as error:  # ValueError: a path that is none
            if self.folder not in _TOLD:
                _TOLD.add(self.folder)
                why = getattr(error, "strerror", None) or error
                said = f"nothing is kept in {self.folder}: {why}; cache=False keeps nothing"
                warnings.warn(CacheWarning(said), stacklevel=2)

    def _forget(self) -> None:
        """Remove the oldest entries; what else is in the folder is somebody's own."""
        with os.scandir(self.folder) as files_in:
            entries = sorted((_age(f), f.path) for f in files_in if ENTRY.fullmatch(f.name))
        for _, path in entries[: max(0, len(entries) - KEPT)]:
            Path(path).unlink(missing_ok=True)


def _age(entry: os.DirEntry[str]) -> float:
    """When an entry was written; of one that another process has just removed, never."""
    try:
        return entry.stat().st_mtime
    except OSError:
        return 0.0


def _checksum(key: str, content: Any) -> str:
    return hashlib.sha256(f"{key}\0{json.dumps(content, sort_keys=True)}".encode()).hexdigest()
