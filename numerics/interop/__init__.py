"""Functions that exist already, brought in: from JAX to definitions in index notation."""
