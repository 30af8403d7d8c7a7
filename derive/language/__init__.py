"""What people write: indices, sizes, tensors, definitions, and the few nodes added to SymPy."""
