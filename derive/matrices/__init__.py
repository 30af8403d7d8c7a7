"""Matrices: inverse, determinant and log-determinant as leaves, and what is a sum of products written as one.

    leaves       the nodes and their table: shape, value in any field
    rules        their derivatives, in terms of the inverse
    functions    dv.inverse, logdet, det, solve, trace, norm2, kron
    syntax, shapes, lower, from_sympy, front    matrix formulas, as text and of SymPy, to index notation
    show, notation                              index notation to matrix formulas

Nothing is imported here: the program's equations need the leaves, and the front doors need the whole library.
"""
