"""From a program to the source of one JAX module: one file per pattern, and the dense fallback they are tested against.

It makes text only: nothing here imports JAX or NumPy.

equation.py     one equation: its terms planned, grouped and added
pointwise.py    scalar expressions by broadcasting; the table of functions
reads.py        slices, pads, gathers; out of range is zero
contraction.py  @, einsum, .sum
scatter.py      the adjoint of a gather
scan.py         recurrences; earlier.py: members read a step earlier only are stacked as they are carried in
dense.py        the generic fallback
module.py       the function and what is around it
request.py      what is asked for, checked; targets.py: nx.source
source/         header, sizes, and the functions that modules copy
value.py        source with labelled axes
"""
