"""Derivations in Sphinx documents, proved while the pages are built.

With ``extensions = ["numerics.sphinx"]`` in ``conf.py`` (Sphinx is needed only there) four directives stand ready, in
reStructuredText and in MyST.  Each takes what ``derive show`` takes: a name of the catalogue (``softmax_regression``,
``lenet5``, ``gelu``), a file of definitions, a formula in matrix notation, ``package.module:object`` or ``file.py:object``;
without an argument its content is a text of definitions.

.. code-block:: rst

   .. derivation::
      :notation: both

      x: float[b,i]
      label: int[b] < K
      W: float[i,k] parameter
      z[b,k] = sum[i](x[b,i]*W[i,k])
      loss = mean over b of ...

   .. equation:: softmax_regression
      :of: W

   .. kernel:: softmax_regression

   .. evidence:: softmax_regression
      :numeric:

``derivation``  the whole document: definitions, steps, results (``:results:`` leaves the steps out)
``equation``    one gradient, or any equation of the program by its tensor's name or number; ``:closed:`` in the inputs
``kernel``      the generated module; ``:target: javascript`` the ES module
``evidence``    the table of the exact check; ``:numeric:`` adds the comparison of the compiled kernel with autodiff

What a page shows has passed ``d.check()`` in the same build; a check that refutes something stops the build with the
step's name, as does a text that does not parse, with its line.  Mathematics is written as the builder wants it: MathJax,
MathML or LaTeX.
"""

from .directives import setup

__all__ = ["setup"]
