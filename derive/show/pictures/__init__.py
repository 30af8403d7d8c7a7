"""Drawings of convolutions and recurrences, and equations written out in numbers."""
