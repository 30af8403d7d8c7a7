"""Ratios of derived programs against autodiff, side by side in one run: ``make bench``."""
