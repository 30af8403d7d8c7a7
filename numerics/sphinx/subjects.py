"""What a directive is about, derived and proved once in a build, however many directives show it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path

from sphinx.errors import ExtensionError

from derive.derivation.derivation import Derivation
from derive.exact.verdict import Evidence
from derive.language.errors import DeriveError
from numerics.errors import NumericsError
from numerics.subject.find import Subject, find, of_object, of_text


@dataclass(frozen=True)
class Shown:
    """A derivation that passed its exact check, and what it was made from."""

    subject: Subject
    derivation: Derivation
    evidence: Evidence


@dataclass
class Subjects:
    """The derivations of one build; the key is what the directives said."""

    folder: Path
    made: dict[tuple, Shown] = field(default_factory=dict)

    def get(self, source: str, text: str, wrt: tuple[str, ...] | None, loss: str | None, order: int) -> Shown:
        """Derive and prove, or remember.

        Raises
        ------
        ExtensionError
            For a model that cannot be read or derived, and for one whose check refutes or cannot decide something
            without any evidence: the build ends.
        """
        key = (source, text, wrt, loss, order)
        if key not in self.made:
            try:
                subject = self._subject(source, text, wrt, loss)
                d = subject.derive(order)
                evidence = d.check()
            except (DeriveError, NumericsError) as error:
                raise ExtensionError(f"{source or 'the definitions'}: {error}") from error
            if not evidence.ok:
                raise ExtensionError(f"{source or d.name}: not everything is proved\n{evidence}")
            self.made[key] = Shown(subject, d, evidence)
        return self.made[key]

    def _subject(self, source: str, text: str, wrt: tuple[str, ...] | None, loss: str | None) -> Subject:
        by = None if wrt is None else list(wrt)
        if text:
            return of_text(text, by)
        module, colon, name = source.partition(":")
        if colon and not module.endswith(".py") and all(part.isidentifier() for part in module.split(".")):
            return of_object(_imported(module, name), source, by, loss)
        path, colon, name = source.partition(".py:")
        if colon:
            return find(f"{self.folder / path}.py:{name}", by, loss)
        local = self.folder / source
        return find(str(local) if local.is_file() else source, by, loss)


def _imported(module: str, name: str) -> object:
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise DeriveError(f"{module}:{name}: {error}; expected is an importable module and a name in it") from error
    return found
