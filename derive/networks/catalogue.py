"""What activations and losses share: entries of a catalogue, found by name, with options, saved as data.

An entry is registered where its forward definition is written; whatever lists entries reads the catalogue.  The options
of an entry are the parameters with defaults of its definition.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.networks import elsewhere

E = TypeVar("E", bound="Entry")

# what an activation says of its values, and so what a loss may be given
GIVES = ("values", "nonnegative", "positive", "bits", "probabilities")


def import_all(package: str, folder: Iterable[str]) -> None:
    """Import every module of a package, so that what a new file registers is in the catalogue without a list elsewhere.

    By name, because the order in which a file system lists files differs between machines, and that of a catalogue is
    seen: in messages, tables and pages.
    """
    for name in sorted(m.name for m in pkgutil.iter_modules(folder)):
        importlib.import_module(f"{package}.{name}")


def option_names(rule: Callable, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """The options of a rule and their defaults: its parameters that have one.

    >>> option_names(lambda u, alpha=2: alpha*u)
    {'alpha': 2}
    """
    try:
        found = inspect.signature(rule).parameters.values()
    except (TypeError, ValueError):  # a builtin or a SymPy class: it has none
        return {}
    return {p.name: p.default for p in found if p.default is not p.empty and p.name not in but}


def option_values(what: str, rule: Callable, given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The given options, checked against those of the rule, without those that are the default."""
    known = option_names(rule)
    for name, value in given.items():
        if name not in known:
            accepted = f"it takes {', '.join(known)}" if known else "it takes none"
            raise DeriveError(f"{what}: unknown option {name!r}{did_you_mean(name, known)}; {accepted}")
        if (
            isinstance(value, bool)
            or not hasattr(value, "__float__")
            or float(value) != float(value)
            or abs(float(value)) == float("inf")
        ):
            raise DeriveError(f"{what}: the option {name} is {value!r}; accepted is a finite number")
    return tuple((n, given[n]) for n in known if n in given and given[n] != known[n])


@dataclass(frozen=True)
class Entry:
    """An entry of a catalogue: a name and its forward definition; subclasses add ``options`` and what else they need."""

    name: str
    rule: Callable

    what: ClassVar[str] = "entry"  # how messages call it
    short: ClassVar[Mapping[str, str]] = {}  # names that are as good
    others: ClassVar[elsewhere.Names] = {}  # what other libraries call them

    @classmethod
    def catalogue(cls) -> dict[str, Self]:
        """All built-in entries by name."""
        raise NotImplementedError

    def accepted(self) -> dict[str, tuple[str, ...]]:
        """What an entry of the catalogue has to say of itself, by field; the values it may take, or () for any text."""
        raise NotImplementedError

    def option_pairs(self) -> tuple[tuple[str, Any], ...]:
        """The options that differ from the defaults of the rule."""
        raise NotImplementedError

    def with_options(self, **options: Any) -> Self:
        """The same entry with other numbers in it."""
        raise NotImplementedError

    def chosen(self, options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """The options so far and these, checked against those of the rule."""
        return option_values(f"{self.what} {self.name!r}", self.rule, {**dict(self.option_pairs()), **options})

    @property
    def built_in(self) -> bool:
        """Whether it is of the catalogue, not a function of your own."""
        known = self.catalogue().get(self.name)
        return known is not None and known.rule is self.rule

    def config(self) -> str | dict[str, Any]:
        """The name, or a dict of the name and the options, from which the entry is found again.

        Raises
        ------
        DeriveError
            For a function of your own: code is not saved as data.
        """
        if not self.built_in:
            raise DeriveError(f"{self.what} {self.name!r} is a function of your own; code is not saved as data")
        found = self._saved()
        return {"name": self.name, **found} if found else self.name

    def _saved(self) -> dict[str, Any]:
        return dict(self.option_pairs())


def enter(entry: Entry) -> None:
    """Put an entry into its catalogue.

    Raises
    ------
    DeriveError
        Naming what was forgotten, or whose name it has.
    """
    table, said = entry.catalogue(), f"{entry.what} {entry.name!r} of {entry.rule.__module__}"
    if entry.name in table:
        raise DeriveError(f"{said}: the name is taken by that of {table[entry.name].rule.__module__}; give it another")
    if not inspect.getdoc(entry.rule):
        raise DeriveError(f"{said} has no docstring; its first line is its formula, in tables and on its page")
    for field, values in entry.accepted().items():
        given = getattr(entry, field)
        if not given:
            form = f"one of {', '.join(values)}" if values else "a sentence for its page"
            raise DeriveError(f"{said} does not say {field}; write {field}=..., {form}")
        if values and given not in values:
            raise DeriveError(
                f"{said}: {field} is {given!r}{did_you_mean(given, values)}; accepted are {', '.join(values)}"
            )
    table[entry.name] = entry


def table(heads: tuple[str, ...], entries: Iterable[Entry], row: Callable[[Any], tuple[str, ...]]) -> str:
    """A table of entries as reStructuredText: the name, what ``row`` gives, and the first line of the docstring."""
    rows = [(e.name, *row(e), (inspect.getdoc(e.rule) or "").splitlines()[0]) for e in entries]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = "  ".join("=" * w for w in widths)
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip() for r in (heads, *rows)]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def find(
    given: Any, kind: type[E], own: Callable[[Callable], E], form: str, options: Mapping[str, Any], where: str = ""
) -> E:
    """The entry that was asked for: by name, as a dict of name and options, an entry, or a function of your own.

    Parameters
    ----------
    own : callable
        ``function -> entry`` for a function that is no entry.
    form : str
        What such a function looks like, for messages.
    where : str
        What an error should say it is about.
    """
    table, where = kind.catalogue(), f"{where}: " if where else ""
    accepted = f"accepted are {', '.join(table)} or {form}"
    if isinstance(given, dict):
        options = {**{k: v for k, v in given.items() if k != "name"}, **options}
        given = given.get("name")
    if isinstance(given, str):
        named = given if given in table else kind.short.get(given, given)
        if named not in table:
            raise DeriveError(
                f"{where}unknown {kind.what} {given!r}{elsewhere.hint(given, table, kind.others)}; {accepted}"
            )
        given = table[named]
    elif not isinstance(given, kind):
        if not callable(given):
            raise DeriveError(f"{where}{kind.what} {given!r} is {type(given).__name__}; {accepted}")
        given = own(given)
    return given.with_options(**options) if options else given


def own_name(function: Callable) -> str:
    """What a function of your own is called."""
    return getattr(function, "__name__", "custom").strip("<>")
