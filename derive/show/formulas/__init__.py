"""Formulas: expressions and equations as layout trees, in index and in matrix notation; LaTeX and MathML of the trees."""
