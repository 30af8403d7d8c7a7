"""Whether masks leave something to every max: where they do not, a softmax has no value and a log-sum-exp is -oo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.language.index import Size
from derive.program.infinite import may_be_infinite
from derive.program.program import Program
from numerics.errors import InputError

from .matrix_values import computed


def check_masks(program: Program, arrays: Mapping[str, Any], sizes: Mapping[Size, int]) -> list[str]:
    """A line for each largest value that a mask may have left without an element.

    Raises
    ------
    numerics.InputError
        Where a mask leaves nothing: the equation, and the place.
    """
    infinite = may_be_infinite(program.equations)
    done = []
    for e in program.equations:
        if e.reduce != "max" or e.name not in infinite:
            continue
        found, missing = computed(program, e.tensor, arrays, sizes)
        if found is None:
            done.append(f"{e.name}: not checked in {e}: {missing} is not given")
            continue
        empty = np.isinf(found)
        if empty.any():
            spot = np.argwhere(empty)[0]
            where = f"{e.name}[{', '.join(str(int(n)) for n in spot)}]" if e.tensor.rank else e.name
            raise InputError(
                f"in {e}\n  {where} is {found[tuple(spot)]}: the mask leaves nothing there ({int(empty.sum())} of {empty.size} "
                f"are so), a log-sum-exp over it is -inf and a softmax NaN; leave one element in, or drop these rows"
            )
        done.append(f"{e.name}: the mask leaves an element everywhere")
    return done
