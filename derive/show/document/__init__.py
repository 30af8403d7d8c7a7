"""Documents: the outline of a derivation as blocks, the same for every format."""
