"""Matrix notation in: text and SymPy's matrices, to index notation."""
