"""Mutation score: mistakes planted in gradients, sources, equations and steps, and whether the checks refuse them.

``PYTHONPATH=tests python -m mutants`` (``make mutants``) prints the table of docs/evidence.md.

    catalogue    the models, and a draw of inputs in every regime
    equations    mistakes in an equation of a program, in a step, a fact, a result
    gradients    mistakes in a gradient somebody wrote by hand     -> ``nx.crosscheck``
    sources      mistakes in an emitted module                     -> the first check, ``nx.verify``
    derivations  mistakes in equations and steps                   -> ``d.check()``
    equivalent   whether a survivor is another function at all
    table        tried, refused, survivors
"""
