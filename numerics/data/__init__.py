"""Data sets that dependencies ship, files, images, sequences; metrics."""
