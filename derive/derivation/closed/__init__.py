"""Closed forms: a gradient as one expression of matrices in the inputs, proved equal to the derivation."""

from .form import ClosedForm, closed_form, equation_asked

__all__ = ["ClosedForm", "closed_form", "equation_asked"]
