"""Independent forwards: a plain evaluator of definitions, and networks in ``jax.numpy`` and ``jax.nn``."""
