"""What is proved about index ranges: nested floors of sizes, and nothing that is false."""

import itertools

import pytest
from sympy import Integer, floor

import derive as dv
from derive.language.affine import in_range, nonnegative
from derive.language.index import Size

H = Size("H")
HALF = floor(H / 2)


@pytest.mark.parametrize(
    "e, holds",
    [
        (HALF - 2 * floor(HALF / 2), True),
        (HALF - 3 * floor(HALF / 2), False),  # H = 8: 4 - 6
        (2 * floor(HALF / 2) - HALF, False),  # H = 6: 2 - 3
        (H - 4 * floor(HALF / 2), True),
        (H - floor((H - 1) / 2) - 1, True),
    ],
)
def test_nested_floors(e, holds):
    assert nonnegative(e) is holds
    values = [e.xreplace({H: Integer(n)}) for n in range(1, 20)]
    assert all(v >= 0 for v in values) is holds


@pytest.mark.parametrize("stride, taps, dilation", list(itertools.product((1, 2, 3), (1, 2, 3), (1, 2))))
def test_a_valid_window_stays_inside_and_one_more_does_not(stride, taps, dilation):
    width = dilation * (taps - 1) + 1
    u, r = dv.index("u", floor((H - width) / stride) + 1), dv.index("r", taps)
    assert in_range(stride * u + dilation * r, H)
    assert not in_range(stride * u + dilation * r + 1, H)
    assert not in_range(stride * u + dilation * r - 1, H)
