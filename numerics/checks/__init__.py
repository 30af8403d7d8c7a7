"""Compiled programs against independent opponents: autodiff, a plain evaluator, Taylor remainders, other people's gradients."""
