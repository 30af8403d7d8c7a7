"""Derivations as functions of arrays: what was emitted is executed, and checked on what it is given."""
