"""From a program to the source of one JAX module; one file a pattern, and the dense fallback they are tested against.

It makes text only: nothing here imports JAX or NumPy.

source/      the code tree and its one printer; values with labelled axes; scopes, names, sizes, header, choices, and the
             functions that modules copy
terms/       scalar expressions, reads, sums of products, scatters; the plan of one term
patterns/    windows and pools, affine forms, symmetric blocks, ...: what is more than one operation
time/        recurrences as scans, what is read a step earlier, checkpoints
equation.py  one equation: the ordered lists of patterns, and how they are gone through
dense.py     the generic fallback
module.py    the whole module: header, imports, one function
request.py   what is asked for, checked; targets.py: nx.source

Imports go up this list only: a room knows nothing of those below it here.
"""
