"""The passes of a derivation, in the order in which :mod:`derive.passes.pipeline` lists them."""
