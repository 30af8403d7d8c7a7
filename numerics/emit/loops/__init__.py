"""Programs as plain loops over flat arrays, for languages that have nothing else: a tree of statements and a printer.

    equations -> tree (:mod:`.program`, :mod:`.equations`, :mod:`.scalars`) -> text (:mod:`.javascript`)
    groups of equations over the same rows (:mod:`.rows`) -> tree (:mod:`.by_row`, :mod:`.joining`) -> text (:mod:`.c`)

The tree holds no word of the language it is printed in: functions go by the names of the table of scalar functions and
of the helpers, operators by those of this package.
"""
