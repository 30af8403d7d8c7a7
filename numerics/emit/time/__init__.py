"""Recurrences: scans, what is read a step earlier, and checkpoints."""
