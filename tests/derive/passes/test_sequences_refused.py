"""Sequences and layers over them that are given in a way that does not fit: what is said."""

import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: L.GRU(4, masked=True)(dv.Input((5, 2))), r"as in L.GRU\(4\)\(\[x, mask\]\)"),
        (lambda: L.LSTM(4, initial_state="input")(dv.Input((5, 2))), r"as in L.LSTM\(4\)\(\[x, h0, c0\]\)"),
        (lambda: L.Bidirectional(L.LSTM(4, masked=True))(dv.Input((5, 2))), r"\(\[x, mask\]\)"),
        (
            lambda: dv.Sequential([L.SimpleRNN(4, masked=True)], input_shape=(5, 2)),
            r"as in L.SimpleRNN\(4\)\(\[x, mask\]\)",
        ),
        (
            lambda: dv.Sequential([L.LSTM(4, return_state=True)], input_shape=(5, 2)),
            r"LSTM with return_state, .* as in y, h, c = L.LSTM\(...\)\(x\)",
        ),
    ],
)
def test_layers_that_take_or_give_more_than_one_symbol_say_how(make, said):
    with pytest.raises(dv.DeriveError, match=said):
        make()


def test_unequal_sequences_are_named_whether_a_list_or_an_array_of_objects():
    model = dv.Sequential([L.GRU(4), L.Dense(1)], input_shape=(5, 2))
    trainer = nx.Trainer(model, loss="mean_squared_error", optimizer=optax.sgd(0.1))
    parts = [np.zeros((n, 2)) for n in (3, 5, 2)]
    boxed = np.empty(3, object)
    boxed[:] = parts
    for given in (parts, boxed):
        with pytest.raises(nx.NumericsError, match=r"X holds sequences of unequal lengths \(2, 3, 5\); nx.pad\(X\)"):
            trainer.fit(given, np.zeros((3, 1)), batch_size=3, epochs=1)
    with pytest.raises(nx.NumericsError, match="X has dtype object; expected are real numbers"):
        trainer.predict(None)


def test_lengths_need_zeros_and_ones():
    with pytest.raises(nx.NumericsError, match=r"mask\[1, 0\] is 2; a mask is 1 where a step counts and 0 elsewhere"):
        nx.lengths([[1, 1, 0], [2, 1, 0]])
    assert nx.lengths(np.array([[1, 1, 0], [0, 0, 0]]) > 0).tolist() == [2, 0]


@pytest.mark.parametrize("ids", [[], [7], [7, 8]])
def test_a_series_shorter_than_its_streams(ids):
    with pytest.raises(nx.NumericsError, match=rf"{len(ids)} elements for 2 streams; .* 7 together"):
        nx.windows(np.array(ids, int), batch=2, steps=3)
