"""What the operations of a ``torch.export`` graph are in JAX: a row for each, which :mod:`numerics.interop` then reads."""
