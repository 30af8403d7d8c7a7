"""How derivations are shown: one layout tree per formula and one outline per document, drawn by every renderer.

letters.py      which letter an index is shown as (its own, or primed on a clash; never a uid)
names.py        which symbol a tensor is shown as (Greek, labels, adjoint marks)
layout.py       the layout tree: what stands over, under and beside what
expressions.py  SymPy expression -> layout tree
equations.py    terms and equations -> layout tree (common factors, coefficients, conditions under the sum)
matrix.py       the matrix form of an equation, where it has one
tex.py mathml.py  layout tree -> LaTeX, MathML (text: derive/show/text.py)
chapters.py worked.py graph.py svg.py  parts of the document
outline.py      Derivation -> title, tables, chapters, equations; the same for all formats
"""
