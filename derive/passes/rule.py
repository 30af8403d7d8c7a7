"""The record of a rewriting rule; each is declared where its rewrite is written, and listed by the pass that uses it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A kind of step: what it is called, where a document tells it, why one would take it, and what it claims.

    ``claim`` is what the exact check decides of each use (see :class:`~derive.program.program.Step`).  A rule may also name
    new tensors for its own needs, as hoisting names a sum; of those steps nothing is claimed, whatever the rule claims.
    """

    name: str
    chapter: str  # the title that its steps stand under, shared by rules that are parts of one idea
    idea: str = ""  # the sentence that opens the chapter; empty where the title says it all
    claim: str = "equal"
