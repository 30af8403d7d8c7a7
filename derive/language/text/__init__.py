"""The text language: a grammar, its meaning, ``dv.parse``."""
