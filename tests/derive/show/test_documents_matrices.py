"""What a document says of matrices: the convention for symmetric ones, an example whose matrix has an inverse."""

import pytest

import derive as dv


def logdet(facts):
    p, q = dv.indices("p q", size="N")
    S = dv.tensor("S", p, q, facts=facts)
    return dv.backprop(dv.define("f", (), dv.logdet(S)), wrt=[S])


@pytest.mark.parametrize("fact", [dv.symmetric, dv.positive_definite])
def test_the_convention_for_symmetric_matrices_is_said(fact):
    text = " ".join(logdet([fact]).to_text().split())
    assert "Convention for S, declared symmetric: all its entries are differentiated as independent ones" in text
    assert "no convention was needed" not in text


def test_no_convention_is_said_where_none_is_needed():
    text = " ".join(logdet([]).to_text().split())
    assert "no convention was needed" in text and "declared symmetric" not in text


@pytest.mark.parametrize("facts", [[], [dv.symmetric], [dv.positive_definite]])
def test_the_matrix_of_a_worked_example_has_an_inverse(facts):
    text = logdet(facts).to_text()
    assert "S = [[6, 1]," in text and "There is none on paper" not in text
    assert "S_inv = [[6/35, -1/35], [-1/35, 6/35]]" in text or not facts and "S_inv = [[1/6, -1/36], [0, 1/6]]" in text
