"""Numeric evidence: autodiff of an independent forward, Taylor remainders, hand-written gradients."""
