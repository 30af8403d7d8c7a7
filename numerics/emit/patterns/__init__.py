"""Patterns that recognise more than one operation: windows, pools, symmetric blocks, affine forms."""
