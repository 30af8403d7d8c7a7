"""How derivations are shown: one layout tree per formula and one outline per document, drawn by every format.

formulas/       letters, names and layout trees; index equations and their matrix form; LaTeX and MathML of the trees
document/       the outline of a derivation as blocks: title, tables, chapters, worked example, drawings
pictures/       convolutions on grids, recurrences unrolled, equations written out in numbers
text.py latex.py markdown.py html.py   blocks and formulas, written
matrix_notation.py                     a whole derivation in matrix notation
"""
